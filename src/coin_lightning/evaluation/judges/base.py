"""`Judge`: whoever grades answers. It is given requests and yields replies; keeping them is `judging`'s work."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.judges.parsing import parser
from coin_lightning.evaluation.judges.prompts import Message, prompt_sha
from coin_lightning.evaluation.records import AnswerRecord

PRINTED = "printed"
"""Name and kind of the judge of an imported run: whoever it was, only the score is known that a script has printed."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PROTOCOL = ("judge", "model", "version", "temperature", "seed", "variant", "prompt_sha", "settings")
"""Fields of an identity, in the order in which they are shown."""


@dataclass(frozen=True)
class JudgeRequest:
    """One answer to be graded.

    Attributes:
        record: question, answer and ground truth.
        messages: the same as a chat, from `prompts.build_messages`.
    """

    record: AnswerRecord
    messages: tuple[Message, ...]


class Reply(NamedTuple):
    """What came back for request number `at`: the text, untouched, and the model version that a server states."""

    at: int
    text: str
    version: str = ""


class Judge(ABC):
    """Grades answers from 0 to 10. Making one is cheap: models and connections come with the first question.

    Args:
        model: what is asked; part of the identity.
        name: folder and column name of its replies; null makes one from kind, model and variant.
        variant: how replies are read, see `parsing`.

    Raises:
        ConfigError: an unknown variant, or a name that cannot be a folder.
    """

    kind: ClassVar[str]

    def __init__(self, model: str, name: str | None = None, variant: str = "strict") -> None:
        self.parse = parser(variant)
        self.model, self.variant = model, variant
        self.name = self.default_name() if name is None else name
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"judge.name={self.name!r}: use letters, digits, point, dash and underscore")

    def default_name(self) -> str:
        """`<kind>_<model>`, and `_reference` behind it in that variant."""
        model = re.sub(r"[^A-Za-z0-9._-]+", "-", self.model.rstrip("/").rsplit("/", 1)[-1])
        return f"{self.kind}_{model}" + ("_reference" if self.variant == "reference" else "")

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """`version`, `temperature`, `seed`, and under `settings` all else that a reply depends on. JSON values. A judge
        that reads no prompt says `prompt_sha` None."""

    def identity(self) -> dict[str, Any]:
        """Who judges, and how: equal for equal replies. Fields as in `PROTOCOL`; `version` is null when only the
        replies tell it.

        Raises:
            JudgeError: the model cannot be found.
        """
        known = {"judge": self.kind, "model": self.model, "variant": self.variant, "prompt_sha": prompt_sha()}
        fields = known | self.settings()
        return {name: fields[name] for name in PROTOCOL}

    def content(self, request: JudgeRequest) -> Any:
        """All of a request that the reply depends on, as a JSON value: equal contents are asked once."""
        return list(request.messages)

    @abstractmethod
    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Reply]:
        """Ask, and yield each reply as soon as it is there, in any order.

        Raises:
            JudgeError: no more replies will come; those already yielded are good.
        """

    def close(self) -> None:  # noqa: B027  (most judges hold nothing)
        """Free memory and connections; the next `judge` gets them again."""


def no_judge() -> None:
    """What `judge=none` builds."""

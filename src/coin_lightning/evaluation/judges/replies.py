"""The file that keeps a judge's replies: `judged/<judge>/<task>.jsonl`, only ever appended to.

A line is `{"key", "question_id", "reply", "score"}`, `version` where a server states one, and `crc32`, the checksum of
these. The key says what was asked of whom, so that a reply is used again wherever the same would be asked.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any
from zlib import crc32

from coin_lightning.json_files import BROKEN

NOT_ASKED = ("variant", "prompt_sha")
"""Fields of an identity that do not change a reply: how it is read afterwards, and the wording that the key's content
holds anyway."""


@dataclass(frozen=True)
class Judged:
    """One line: the reply to one question's answer, and the score read from it when it was written."""

    key: str
    question_id: str
    reply: str
    score: float | None
    version: str = ""

    def to_line(self) -> str:
        """JSON with its end of line; the version only where there is one."""
        fields = {"key": self.key, "question_id": self.question_id, "reply": self.reply, "score": self.score}
        fields |= {"version": self.version} if self.version else {}
        return json.dumps(fields | {"crc32": _checksum(fields)}, ensure_ascii=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Judged | None":
        """The line's content, or None when a kill cut it off, a bit of it has changed or it is something else."""
        try:
            data = json.loads(line)
            if data.pop("crc32", None) not in (None, _checksum(data)):
                return None
            key, question_id, reply = data["key"], data["question_id"], data["reply"]
        except (*BROKEN, KeyError, TypeError, AttributeError):
            return None
        if not all(isinstance(each, str) for each in (key, question_id, reply)):
            return None
        return cls(key, question_id, reply, data.get("score"), str(data.get("version", "")))


def _checksum(fields: Mapping[str, Any]) -> int:
    """Of a line's fields as pure ASCII, in which a lone surrogate is the same before and after it was written."""
    return crc32(json.dumps(fields).encode())


def request_key(identity: Mapping[str, Any], content: Any) -> str:
    """sha256 of who is asked what. `variant` is not part of it: replies can be read again in the other one."""
    asked = {name: value for name, value in identity.items() if name not in NOT_ASKED}
    return hashlib.sha256(json.dumps([asked, content], sort_keys=True).encode()).hexdigest()


def read_replies(file: Path) -> Iterator[Judged]:
    """Lines in their order; one that cannot be read is left out, so that its question is asked again."""
    if not file.exists():
        return
    with file.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        for line in stream:
            judged = Judged.from_line(line)
            if judged is not None:
                yield judged


class ReplyWriter:
    """Appends lines, each given to the operating system at once: a kill loses at most the one being written."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stream: TextIOWrapper | None = None

    def __enter__(self) -> "ReplyWriter":
        return self

    def write(self, lines: Iterable[Judged]) -> None:
        """Append."""
        if self._stream is None:
            self._stream = self._open()
        # a lone surrogate becomes \udXXX, which inside a JSON string is its own escape
        self._stream.write("".join(line.to_line() for line in lines))
        self._stream.flush()

    def _open(self) -> TextIOWrapper:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        cut = self.file.exists() and not self.file.read_bytes().endswith(b"\n") and self.file.stat().st_size > 0
        stream = self.file.open("a", encoding="utf-8", errors="backslashreplace", newline="\n")
        if cut:
            stream.write("\n")
        return stream

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

"""What a sample of CoIN's files is (`coin_reference.md` section 3.2): classes, parsing, what is wrong with it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from coin_lightning.backbones.prompts import IMAGE, Turn, without_placeholders
from coin_lightning.tasks.reference_fields import READ_FIELDS

SPEAKERS = ("human", "gpt")
OWN_FIELDS = frozenset({"id", "question_id", "image"})
TRAIN_FIELDS = OWN_FIELDS | {"conversations"}
TEST_FIELDS = OWN_FIELDS | {"text"} | READ_FIELDS
"""What is read of a sample; whatever else it has is counted."""
NO_PAIRS = "field 'conversations' must be a list of question and answer pairs"
_MEDIA = re.compile("image|img|picture|photo|video", re.IGNORECASE)


class Media(NamedTuple):
    """Something shown beside the text: its path below the image root, and what it is."""

    path: str
    kind: str = "image"


class Shown:
    """What samples of both kinds have."""

    media: tuple[Media, ...]

    @property
    def image(self) -> str | None:
        """The first image."""
        return self.media[0].path if self.media else None


@dataclass(frozen=True)
class TrainSample(Shown):
    """A conversation to learn from, whose turns say how many of the media they show, in order.

    `where` names file and sample for messages, `task` the task that it was read for.
    """

    id: str
    turns: tuple[Turn, ...]
    media: tuple[Media, ...]
    where: str
    task: str = ""

    def pictured(self) -> list[tuple[Media, ...]]:
        """What each turn is about: the media that it shows, or else those shown last."""
        found: list[tuple[Media, ...]] = []
        start = 0
        for turn in self.turns:
            end = start + turn.images
            found.append(self.media[start:end] or (found[-1] if found else ()))
            start = end
        return found


@dataclass(frozen=True)
class TestSample(Shown):
    """A question to answer, with all its media. `fields` are the data set's own sample fields without text and id."""

    __test__ = False  # not a pytest class

    id: str
    text: str
    media: tuple[Media, ...]
    fields: dict[str, Any]
    where: str
    task: str = ""


Sample = TypeVar("Sample", bound=TrainSample | TestSample)


def identity(raw: dict[str, Any]) -> str | None:
    """`question_id` or else `id` as text; numbers are allowed."""
    for key in ("question_id", "id"):
        value = raw.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value):
            return str(value)
    return None


def sample_problems(raw: Any) -> list[str]:
    """Why a value is no sample at all."""
    if not isinstance(raw, dict):
        return [f"must be an object, found {type(raw).__name__}"]
    return [] if identity(raw) else ["field 'question_id' or 'id' is missing or empty"]


def train_problems(raw: dict[str, Any]) -> list[str]:
    """What is wrong with the conversation of a training sample, the whole list."""
    parts = raw.get("conversations")
    if not isinstance(parts, list) or not parts:
        return [NO_PAIRS]
    lines = [
        f"conversations[{at}] {problem}" for at, part in enumerate(parts) if (problem := _part_problem(part, at % 2))
    ]
    if (lines or len(parts) % 2) and (others := _other_speakers(parts)):
        return [others]
    if len(parts) % 2:
        return [NO_PAIRS]
    return lines or media_problems(raw, [part["value"] for part in parts[::2]], needed=True)


def _other_speakers(parts: list[Any]) -> str | None:
    """One sentence about turns in the form of other projects."""
    said = [part for part in parts if isinstance(part, dict)]
    if any("role" in part and "from" not in part for part in said):
        return "field 'conversations' has turns with a 'role'; write {'from': 'human' or 'gpt', 'value': text}"
    speakers = list(dict.fromkeys(part.get("from") for part in said if isinstance(part.get("from"), str)))
    if "system" in speakers:
        return "field 'conversations' has a system turn; remove it: what the system says is part of the prompt"
    if others := [speaker for speaker in speakers if speaker not in SPEAKERS]:
        return f"field 'conversations' has speakers {', '.join(map(repr, others))}; write 'human' and 'gpt'"
    return None


def media_problems(raw: dict[str, Any], questions: Sequence[str], needed: bool) -> list[str]:
    """How the placeholders of a sample and its images disagree.

    Args:
        raw: the sample.
        questions: its texts in which `<image>` may stand.
        needed: whether every image must have one, as in CoIN's training samples; its test samples mostly have none
            (`coin_reference.md` section 3.2).
    """
    count, images = sum(text.count(IMAGE) for text in questions), len(written_images(raw))
    if not images:
        lines = [
            f"field {name!r} is not read: paths of a sample's images belong in field 'image'"
            for name in raw
            if name != "image" and _MEDIA.search(str(name)) and isinstance(raw[name], str | list | dict) and raw[name]
        ]
        if count:
            lines.append(f"has {count} {IMAGE}, but no image; name its path in field 'image', or remove {IMAGE}")
        return lines
    if needed and not count and images == 1:
        return [f"has an image, but no {IMAGE}; put it in front of the first question, or remove field 'image'"]
    if count != images and (needed or count):
        return [
            f"has {count} {IMAGE}, but field 'image' names {images} image{'s' * (images > 1)}; "
            f"give each image one {IMAGE} in front of the question that shows it"
        ]
    if any(IMAGE in without_placeholders(text) for text in questions):
        return [f"has {IMAGE} within a text; put it in front of the question that shows the image"]
    return []


def written_images(raw: dict[str, Any]) -> list[Any]:
    """What a sample has in its field `image`: nothing, a path, or a list of paths."""
    found = raw.get("image")
    return [] if found is None else found if isinstance(found, list) else [found]


def image_problems(raw: dict[str, Any]) -> list[str]:
    """What in the field `image` is no path."""
    lines = []
    for written in written_images(raw):
        if not isinstance(written, str) or not written:
            holds = "the image itself" if isinstance(written, dict | bytes) else ascii(written)[:80]
            lines.append(f"field 'image' must be a path below the image folder or a list of paths, found {holds}")
    return lines


def _part_problem(part: Any, position: int) -> str | None:
    speaker = SPEAKERS[position]
    if not isinstance(part, dict) or part.get("from") != speaker or not isinstance(part.get("value"), str):
        return f"must be {{'from': {speaker!r}, 'value': text}}"
    if not part["value"].strip():
        return f"has an empty {('question', 'answer')[position]}"
    if position and IMAGE in part["value"]:
        return f"has {IMAGE} in an answer; only a question can show one"
    return None


def question_problems(raw: dict[str, Any]) -> list[str]:
    """What is wrong with the question of a test sample."""
    text = raw.get("text")
    if not isinstance(text, str) or not text.strip():
        return ["field 'text' is missing or empty"]
    return media_problems(raw, [text], needed=False)


def train_sample(raw: dict[str, Any], media: tuple[Media, ...], where: str, task: str = "") -> TrainSample:
    """The sample of a value without problems; `media` have their paths below the image root."""
    parts = raw["conversations"]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return TrainSample(identity(raw) or "", tuple(_turn(*pair) for pair in pairs), media, where, task)


def _turn(question: dict[str, str], answer: dict[str, str]) -> Turn:
    text = question["value"]
    return Turn(without_placeholders(text), answer["value"].strip(), images=text.count(IMAGE))


def question_sample(raw: dict[str, Any], media: tuple[Media, ...], where: str, task: str = "") -> TestSample:
    """As `train_sample`."""
    fields = {key: value for key, value in raw.items() if key not in ("question_id", "id", "text", "image")}
    return TestSample(identity(raw) or "", without_placeholders(raw["text"]), media, fields, where, task)

"""What a row of CoIN's files is (`coin_reference.md` section 3.2): its classes, its parsing, what is wrong with it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from coin_lightning.backbones.prompts import IMAGE, Turn, without_placeholder
from coin_lightning.tasks.reference_fields import READ_FIELDS

SPEAKERS = ("human", "gpt")
OWN_FIELDS = frozenset({"id", "question_id", "image"})
TRAIN_FIELDS = OWN_FIELDS | {"conversations"}
TEST_FIELDS = OWN_FIELDS | {"text"} | READ_FIELDS
"""What is read of a row; whatever else it has is counted."""
_MEDIA = re.compile("image|img|picture|photo|video", re.IGNORECASE)


@dataclass(frozen=True)
class TrainRow:
    """A conversation to learn from. `where` names file and row for messages, `task` the task that it was read for."""

    id: str
    turns: tuple[Turn, ...]
    image: str | None
    where: str
    task: str = ""


@dataclass(frozen=True)
class TestRow:
    """A question to answer. `fields` are the data set's own row fields without text and id."""

    __test__ = False  # not a pytest class

    id: str
    text: str
    image: str | None
    fields: dict[str, Any]
    where: str
    task: str = ""


Row = TypeVar("Row", bound=TrainRow | TestRow)


class Facts(NamedTuple):
    """What is kept of every row: id, and picture as the file writes it."""

    id: str
    image: str | None


def identity(raw: dict[str, Any]) -> str | None:
    """`question_id` or else `id` as text; numbers are allowed."""
    for key in ("question_id", "id"):
        if isinstance(raw.get(key), str | int) and str(raw[key]):
            return str(raw[key])
    return None


def row_problems(raw: Any) -> list[str]:
    """Why a value is no row at all."""
    if not isinstance(raw, dict):
        return [f"must be an object, found {type(raw).__name__}"]
    return [] if identity(raw) else ["field 'question_id' or 'id' is missing or empty"]


def train_problems(raw: dict[str, Any]) -> list[str]:
    """What is wrong with the conversation of a training row, the whole list."""
    parts = raw.get("conversations")
    if isinstance(parts, list) and (problem := _other_speakers(parts)):
        return [problem]
    if not isinstance(parts, list) or not parts or len(parts) % 2:
        return ["field 'conversations' must be a list of question and answer pairs"]
    found = ((at, _part_problem(part, at % 2)) for at, part in enumerate(parts))
    lines = [f"conversations[{at}] {problem}" for at, problem in found if problem]
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
    """How the placeholders of a row and its picture disagree.

    Args:
        raw: the row.
        questions: its texts in which `<image>` may stand.
        needed: whether a picture must have one, as in CoIN's training rows; its test rows mostly have none
            (`coin_reference.md` section 3.2).
    """
    count, pictured = sum(text.count(IMAGE) for text in questions), raw.get("image") is not None
    if not pictured:
        lines = [
            f"field {name!r} is not read: the path of a row's one picture belongs in field 'image'"
            for name in raw
            if name != "image" and _MEDIA.search(str(name)) and isinstance(raw[name], str | list | dict) and raw[name]
        ]
        if count:
            lines.append(f"has {count} {IMAGE}, but no picture; name its path in field 'image', or remove {IMAGE}")
        return lines
    if count > 1:
        return [f"has {count} {IMAGE}, but shows one picture; several in one row are not supported, make rows of one"]
    if needed and not count:
        return [f"has a picture, but no {IMAGE}; put it in front of the first question, or remove field 'image'"]
    if count and IMAGE in without_placeholder(questions[0]) + "".join(questions[1:]):
        return [f"has {IMAGE} within a text or behind the first question; put it in front of the first question"]
    return []


def _part_problem(part: Any, position: int) -> str | None:
    speaker = SPEAKERS[position]
    if not isinstance(part, dict) or part.get("from") != speaker or not isinstance(part.get("value"), str):
        return f"must be {{'from': {speaker!r}, 'value': text}}"
    if not part["value"].strip():
        return f"has an empty {('question', 'answer')[position]}"
    if position and IMAGE in part["value"]:
        return f"has {IMAGE} in an answer; only a question can show one"
    return "has half a character (a lone surrogate); write the text anew" if is_broken(part["value"]) else None


def question_problems(raw: dict[str, Any]) -> list[str]:
    """What is wrong with the question of a test row."""
    text = raw.get("text")
    if not isinstance(text, str) or not text.strip():
        return ["field 'text' is missing or empty"]
    if is_broken(text):
        return ["field 'text' has half a character (a lone surrogate); write it anew"]
    return media_problems(raw, [text], needed=False)


def is_broken(text: str) -> bool:
    """Whether a text cannot be written as UTF-8: JSON can escape one half of a pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def train_row(raw: dict[str, Any], image: str | None, where: str, task: str = "") -> TrainRow:
    """The row of a value without problems; `image` is its path below the image root."""
    parts = raw["conversations"]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    turns = tuple(Turn(question["value"], answer["value"].strip()) for question, answer in pairs)
    return TrainRow(identity(raw) or "", turns, image, where, task)


def question_row(raw: dict[str, Any], image: str | None, where: str, task: str = "") -> TestRow:
    """As `train_row`."""
    fields = {key: value for key, value in raw.items() if key not in ("question_id", "id", "text", "image")}
    return TestRow(identity(raw) or "", raw["text"], image, fields, where, task)


_SPEAKERS_OF = {count: list(SPEAKERS) * count for count in range(1, 100)}


def train_facts(raw: Any) -> Facts | None:
    """Facts of a training row of the usual form; None leaves it to `train_problems`.

    A file has hundreds of thousands of rows; this looks at a row in the time that its parsing takes.
    """
    try:
        parts = raw["conversations"]
        count = len(parts) // 2
        if type(parts) is not list or [part["from"] for part in parts] != _SPEAKERS_OF.get(count):
            return None
        said = [part["value"].strip() for part in parts]
    except (KeyError, TypeError, AttributeError):
        return None
    return _facts(raw, said, TRAIN_FIELDS)


def question_facts(raw: Any) -> Facts | None:
    """As `train_facts`."""
    try:
        said = [raw["text"].strip()]
    except (KeyError, TypeError, AttributeError):
        return None
    return _facts(raw, said, TEST_FIELDS)


def _facts(raw: dict[str, Any], said: list[str], fields: frozenset[str]) -> Facts | None:
    id_, image = raw.get("question_id", raw.get("id")), raw.get("image")
    if type(id_) not in (str, int) or id_ == "" or not (image is None or (type(image) is str and image)):
        return None
    if not all(said) or (image is None and not raw.keys() <= fields):
        return None
    marked = IMAGE in said[0]
    if marked != (image is not None) and (marked or fields is TRAIN_FIELDS):
        return None
    if marked:
        said[0] = without_placeholder(said[0])
    text = "".join(said)
    if IMAGE in text:
        return None
    return Facts(str(id_), image) if text.isascii() or not is_broken(text) else None

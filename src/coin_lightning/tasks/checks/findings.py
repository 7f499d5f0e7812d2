"""What a check has found: kinds with their level, and a collector that counts all and keeps a few examples."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from coin_lightning.errors import ConfigError

ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)
"""An error keeps a run from starting or makes its scores worthless; a warning has to be known; a note is a fact."""
EXAMPLES = 20
"""Kept per finding; everything is counted."""


class Kind(NamedTuple):
    """Level of a kind of finding, and the words for `n` cases of it (`s`, `es`: the plural's ending)."""

    level: str
    text: str


KINDS = {
    "samples": Kind(ERROR, "{n} problem{s} for which a run refuses the file"),
    "truth": Kind(ERROR, "{n} test sample{s} without usable ground truth"),
    "image": Kind(ERROR, "{n} image{s} missing or broken"),
    "shared_question": Kind(ERROR, "{n} test sample{s} with a question that training asks about the same image"),
    "shared_text": Kind(ERROR, "{n} test sample{s} without an image and with the text of a training sample"),
    "box_unreadable": Kind(ERROR, "{n} box{es} of test samples not of four numbers"),
    "box_outside": Kind(ERROR, "{n} box{es} outside the frame (0 to 1) or with swapped corners"),
    "long_sample": Kind(ERROR, "{n} sample{s} too long for the backbone's context"),
    "count": Kind(WARNING, "not the number of samples that this data set was built with"),
    "published_count": Kind(WARNING, "none of the published numbers of samples"),
    "shared_id": Kind(WARNING, "{n} id{s} in both files"),
    "shared_image": Kind(WARNING, "{n} image{s} of test samples used in training, too"),
    "long_answer": Kind(WARNING, "{n} answer{s} longer than max_new_tokens: a model can never give the whole"),
    "empty_answer": Kind(WARNING, "{n} test sample{s} with an empty answer"),
    "truth_differs": Kind(WARNING, "{n} test sample{s} with another answer than the ground-truth file"),
    "box_answer": Kind(WARNING, "{n} answer{s} of training samples no box, as the test samples' are"),
    "box_flat": Kind(WARNING, "{n} box{es} without area: no prediction can hit"),
    "box_in_padding": Kind(WARNING, "{n} box{es} reaching from the image into its padding: is the frame right?"),
    "box_frames": Kind(WARNING, "{n} sample{s} whose answer_bbox and origin_answer_bbox are not the same place"),
    "image_size": Kind(WARNING, "{n} sample{s} whose size is not the image's [width, height]"),
    "image_warning": Kind(WARNING, "{n} image{s} that Pillow reads, but warns of"),
    "unread_field": Kind(WARNING, "{n} field{s} that nothing reads"),
    "no_image": Kind(NOTE, "{n} sample{s} without an image in a task that has images"),
    "repeated_question": Kind(NOTE, "{n} question{s} asked again about the same image in the same file"),
    "rounded_count": Kind(NOTE, "far from the number of samples that is remembered for this data set"),
    "not_checked": Kind(NOTE, "only part of the checks made, because a file could not be read"),
}


@dataclass
class Finding:
    """All cases of one kind in one split: how many, and the first few as `file sample n: what`."""

    level: str
    kind: str
    split: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The words with the number of cases."""
        one = self.count == 1
        return KINDS[self.kind].text.format(n=self.count, s="" if one else "s", es="" if one else "es")


class Findings:
    """Collects cases by kind and split.

    Args:
        tolerate: kinds of errors that count as warnings here.

    Raises:
        ConfigError: a tolerated kind does not exist or is no error.
    """

    def __init__(self, tolerate: Collection[str] = ()) -> None:
        errors = [name for name, kind in KINDS.items() if kind.level == ERROR]
        if wrong := [name for name in tolerate if name not in errors]:
            raise ConfigError(f"tolerate={','.join(wrong)}: no such kind of error; choose from {', '.join(errors)}")
        self.tolerate = frozenset(tolerate)
        self._found: dict[tuple[str, str], Finding] = {}

    def add(self, kind: str, split: str, example: str, count: int = 1) -> None:
        """Count a case; `example` says where, or gives the figures."""
        finding = self._of(kind, split)
        finding.count += count
        if len(finding.examples) < EXAMPLES:
            finding.examples.append(example)

    def add_all(self, kind: str, split: str, count: int, examples: Sequence[str]) -> None:
        """Count cases of which only some are given as examples."""
        if count:
            finding = self._of(kind, split)
            finding.count += count
            finding.examples += examples[: EXAMPLES - len(finding.examples)]

    def _of(self, kind: str, split: str) -> Finding:
        level = WARNING if kind in self.tolerate else KINDS[kind].level
        return self._found.setdefault((kind, split), Finding(level, kind, split))

    def listed(self) -> list[Finding]:
        """Errors first, then in the order of `KINDS`."""
        order = list(KINDS)
        found = [finding for finding in self._found.values() if finding.count]
        return sorted(found, key=lambda finding: (LEVELS.index(finding.level), order.index(finding.kind)))

    def count(self, level: str) -> int:
        """Number of findings of a level."""
        return sum(finding.level == level for finding in self.listed())

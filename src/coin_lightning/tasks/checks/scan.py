"""One pass over the samples of a file: whatever later checks need, in a few bytes per sample."""

import random
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from coin_lightning.backbones.family import Grid
from coin_lightning.backbones.prompts import Rendered
from coin_lightning.errors import DataError
from coin_lightning.tasks.checks.boxes import Boxes, BoxSample, frame_problem, read_box, read_size
from coin_lightning.tasks.checks.findings import Findings
from coin_lightning.tasks.checks.questions import Questions, hash64
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.sample_format import TestSample, TrainSample
from coin_lightning.tasks.sample_sequence import SampleFile, SampleList
from coin_lightning.tasks.sample_table import Problems

Sample = TrainSample | TestSample
TOGETHER = 500
"""Samples per call of the tokenizer."""


@dataclass
class Scan:
    """What a file holds.

    Attributes:
        samples, refused, without_image: how many there are, those that a run refuses, those without an image.
        ids, id_samples: 64-bit hashes of the ids, and where they stand.
        answers, answer_sample: how often each is given, and where first.
        shown: samples to show, see `shown_sample`.
    """

    split: str
    samples: int = 0
    refused: int = 0
    without_image: int = 0
    ids: "array[int]" = field(default_factory=lambda: array("Q"))
    id_samples: "array[int]" = field(default_factory=lambda: array("I"))
    questions: Questions = field(default_factory=Questions)
    answers: Counter[str] = field(default_factory=Counter)
    answer_sample: dict[str, int] = field(default_factory=dict)
    boxes: Boxes = field(default_factory=lambda: Boxes(""))
    has_boxes: bool = False
    shown: list[dict[str, Any]] = field(default_factory=list)

    def take_answer(self, answer: str, sample: int) -> None:
        """Count an answer."""
        self.answers[answer] += 1
        self.answer_sample.setdefault(answer, sample)


class Reservoir:
    """Keeps `size` of the samples that pass, all with the same chance, drawn with a fixed seed; in the file's order."""

    def __init__(self, size: int) -> None:
        self.size, self.seen = size, 0
        self.items: list[Sample] = []
        self._draw = random.Random(0)

    def offer(self, sample: Sample) -> None:
        """Keep it, perhaps, in place of an earlier one (Vitter 1985, algorithm R)."""
        self.seen += 1
        if self.seen > self.size:
            place = self._draw.randrange(self.seen)
            if place >= self.size:
                return
            del self.items[place]
        self.items.append(sample)


class Scanner:
    """Goes over the samples of one task.

    Args:
        encoder: gives the text and the tokens that the backbone gets for a sample.
        answer_room: tokens of the context that are kept free behind a test question.
        shown: samples kept per file, drawn from all.
    """

    def __init__(self, encoder: Encoder, answer_room: int, findings: Findings, shown: int) -> None:
        self.backbone, self.encoder, self.findings = encoder.backbone, encoder, findings
        self.answer_room, self.shown = answer_room, shown
        self._pages: list[tuple[Sample, Rendered, list[Grid]]] = []

    def scan(
        self, split: str, samples: SampleFile[Any] | SampleList[Any], problems: Problems, has_boxes: bool | None = None
    ) -> Scan:
        """Look at every sample once.

        Args:
            split: `train` or `test`.
            samples: of a file.
            problems: what is wrong with some of them.
            has_boxes: whether answers are boxes; None asks the samples themselves.
        """
        scan = Scan(split, has_boxes=bool(has_boxes), boxes=Boxes(split))
        kept = Reservoir(self.shown)
        for index in range(len(samples)):
            scan.samples += 1
            if index in problems:
                scan.refused += 1
                lines = [f"{samples.where(index)}: {line}" for line in problems[index]]
                self.findings.add_all("samples", split, len(lines), lines)
                continue
            sample = samples[index]
            if has_boxes is None and isinstance(sample, TestSample):
                scan.has_boxes |= "answer_bbox" in sample.fields
            self._sample(scan, index, sample)
            kept.offer(sample)
        self._count(split)
        scan.shown = [shown_sample(split, sample, scan.has_boxes) for sample in kept.items]
        return scan

    def _sample(self, scan: Scan, index: int, sample: Sample) -> None:
        scan.without_image += sample.image is None
        scan.ids.append(hash64(sample.id))
        scan.id_samples.append(index)
        self._render(scan.split, sample)
        if isinstance(sample, TestSample):
            scan.questions.add(sample.text, [media.path for media in sample.media], index)
            self._test_sample(scan, index, sample)
            return
        for turn, shown in zip(sample.turns, sample.pictured(), strict=True):
            scan.questions.add(turn.question, [media.path for media in shown], index)
            scan.take_answer(turn.answer or "", index)
            if scan.has_boxes:
                about = shown[0].path if len(shown) == 1 else None
                self._box(scan, sample, BoxSample(index, about, (0, 0, 0, 0)), turn.answer)

    def _test_sample(self, scan: Scan, index: int, sample: TestSample) -> None:
        answer = given_answer(sample)
        scan.take_answer(answer, index)
        if not answer.strip():
            self.findings.add("empty_answer", scan.split, sample.where)
        if "answer_bbox" in sample.fields:
            entry = BoxSample(index, sample.image, (0, 0, 0, 0), size=read_size(sample.fields.get("size")))
            if "origin_answer_bbox" in sample.fields:
                entry.origin = read_box(sample.fields["origin_answer_bbox"])
                if entry.origin is None:
                    self._unreadable(scan, sample, sample.fields["origin_answer_bbox"])
            self._box(scan, sample, entry, sample.fields["answer_bbox"])

    def _box(self, scan: Scan, sample: Sample, entry: BoxSample, value: Any) -> None:
        box = read_box(value)
        if box is None:
            self._unreadable(scan, sample, value)
            return
        if kind := frame_problem(box):
            self.findings.add(kind, scan.split, f"{sample.where}: {value}")
        if kind == "box_outside":
            return
        entry.box = box
        scan.boxes.samples.append(entry)

    def _unreadable(self, scan: Scan, sample: Sample, value: Any) -> None:
        kind = "box_unreadable" if isinstance(sample, TestSample) else "box_answer"
        self.findings.add(kind, scan.split, f"{sample.where}: {str(value)[:80]!r}")

    def _render(self, split: str, sample: Sample) -> None:
        """Put a sample's prompt aside; some hundreds together are counted faster than each alone."""
        try:
            page = self.backbone.prompt.render(self.encoder.turns(sample))
            self._pages.append((sample, page, self.encoder.grids(sample)))
        except DataError as error:  # a box cannot be converted: the image whose size it needs is broken
            self.findings.add_all("samples", split, len(error.problems), error.problems)
        if len(self._pages) >= TOGETHER:
            self._count(split)

    def _count(self, split: str) -> None:
        pages, self._pages = self._pages, []
        counts = self.backbone.token_counts([page for _, page, _ in pages], [grids for _, _, grids in pages])
        for (sample, _, _), needed in zip(pages, counts, strict=True):
            if needed > self.backbone.max_length - (self.answer_room if isinstance(sample, TestSample) else 0):
                free = f" less {self.answer_room} for the answer" if isinstance(sample, TestSample) else ""
                line = f"{sample.where}: {needed} tokens, backbone.max_length={self.backbone.max_length}{free}"
                self.findings.add("long_sample", split, line)


def given_answer(sample: TestSample) -> str:
    """The sample's own answer: its box where it has one, else `answer`; empty when it has neither."""
    value = sample.fields.get("answer_bbox", sample.fields.get("answer"))
    return "" if value is None else str(value)


def shown_sample(split: str, sample: Sample, has_boxes: bool) -> dict[str, Any]:
    """A sample as the page shows it: split, id, image, question, answer, box (padded frame) or None, further turns."""
    if isinstance(sample, TestSample):
        question, answer, more = sample.text, given_answer(sample), 0
    else:
        question, answer, more = sample.turns[0].question, sample.turns[0].answer or "", len(sample.turns) - 1
    return {
        "split": split, "id": sample.id, "image": sample.image, "question": question, "answer": answer,
        "box": answer if has_boxes else None, "more": more,
    }  # fmt: skip

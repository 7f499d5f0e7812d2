"""One pass over the rows of a file: whatever later checks need, in a few bytes per row."""

import random
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from coin_lightning.backbones.prompts import Rendered
from coin_lightning.errors import DataError
from coin_lightning.tasks.checks.boxes import Boxes, BoxRow, frame_problem, read_box, read_size
from coin_lightning.tasks.checks.findings import Findings
from coin_lightning.tasks.checks.questions import NO_IMAGE, Questions, hash64
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.row_format import TestRow, TrainRow
from coin_lightning.tasks.row_sequence import RowFile, RowList
from coin_lightning.tasks.sample_table import Problems

Row = TrainRow | TestRow
TOGETHER = 500
"""Rows per call of the tokenizer."""


@dataclass
class Scan:
    """What a file holds.

    Attributes:
        rows, refused, without_image: how many there are, those that a run refuses, those without an image.
        ids, id_rows: 64-bit hashes of the ids, and where they stand.
        answers, answer_row: how often each is given, and where first.
        samples: rows to show, see `sample`.
    """

    split: str
    rows: int = 0
    refused: int = 0
    without_image: int = 0
    ids: "array[int]" = field(default_factory=lambda: array("Q"))
    id_rows: "array[int]" = field(default_factory=lambda: array("I"))
    questions: Questions = field(default_factory=Questions)
    answers: Counter[str] = field(default_factory=Counter)
    answer_row: dict[str, int] = field(default_factory=dict)
    boxes: Boxes = field(default_factory=lambda: Boxes(""))
    has_boxes: bool = False
    samples: list[dict[str, Any]] = field(default_factory=list)

    def take_answer(self, answer: str, row: int) -> None:
        """Count an answer."""
        self.answers[answer] += 1
        self.answer_row.setdefault(answer, row)


class Reservoir:
    """Keeps `size` of the rows that pass, all with the same chance, drawn with a fixed seed; in the file's order."""

    def __init__(self, size: int) -> None:
        self.size, self.seen = size, 0
        self.items: list[Row] = []
        self._draw = random.Random(0)

    def offer(self, row: Row) -> None:
        """Keep it, perhaps, in place of an earlier one (Vitter 1985, algorithm R)."""
        self.seen += 1
        if self.seen > self.size:
            place = self._draw.randrange(self.seen)
            if place >= self.size:
                return
            del self.items[place]
        self.items.append(row)


class Scanner:
    """Goes over the rows of one task.

    Args:
        encoder: gives the text and the tokens that the backbone gets for a row.
        answer_room: tokens of the context that are kept free behind a test question.
        samples: rows kept per file, drawn from all.
    """

    def __init__(self, encoder: Encoder, answer_room: int, findings: Findings, samples: int) -> None:
        self.backbone, self.encoder, self.findings = encoder.backbone, encoder, findings
        self.answer_room, self.samples = answer_room, samples
        self._pages: list[tuple[Row, Rendered]] = []

    def scan(
        self, split: str, rows: RowFile[Any] | RowList[Any], problems: Problems, has_boxes: bool | None = None
    ) -> Scan:
        """Look at every row once.

        Args:
            split: `train` or `test`.
            rows: of a file.
            problems: what is wrong with some of them.
            has_boxes: whether answers are boxes; None asks the rows themselves.
        """
        scan = Scan(split, has_boxes=bool(has_boxes), boxes=Boxes(split))
        kept = Reservoir(self.samples)
        for index in range(len(rows)):
            scan.rows += 1
            if index in problems:
                scan.refused += 1
                lines = [f"{rows.where(index)}: {line}" for line in problems[index]]
                self.findings.add_all("rows", split, len(lines), lines)
                continue
            row = rows[index]
            if has_boxes is None and isinstance(row, TestRow):
                scan.has_boxes |= "answer_bbox" in row.fields
            self._row(scan, index, row)
            kept.offer(row)
        self._count(split)
        scan.samples = [sample(split, row, scan.has_boxes) for row in kept.items]
        return scan

    def _row(self, scan: Scan, index: int, row: Row) -> None:
        scan.without_image += row.image is None
        scan.ids.append(hash64(row.id))
        scan.id_rows.append(index)
        image, *more = [scan.questions.image_of(media.path, index) for media in row.media] or [NO_IMAGE]
        also = "".join(f"{number} " for number in more)  # a question about several images is another than about one
        self._render(scan.split, row)
        if isinstance(row, TestRow):
            scan.questions.add(also + row.text, image, index)
            self._test_row(scan, index, row)
            return
        for turn in row.turns:
            scan.questions.add(also + turn.question, image, index)
            scan.take_answer(turn.answer or "", index)
            if scan.has_boxes:
                self._box(scan, row, BoxRow(index, row.image, (0, 0, 0, 0)), turn.answer)

    def _test_row(self, scan: Scan, index: int, row: TestRow) -> None:
        answer = given_answer(row)
        scan.take_answer(answer, index)
        if not answer.strip():
            self.findings.add("empty_answer", scan.split, row.where)
        if "answer_bbox" in row.fields:
            entry = BoxRow(index, row.image, (0, 0, 0, 0), size=read_size(row.fields.get("size")))
            if "origin_answer_bbox" in row.fields:
                entry.origin = read_box(row.fields["origin_answer_bbox"])
                if entry.origin is None:
                    self._unreadable(scan, row, row.fields["origin_answer_bbox"])
            self._box(scan, row, entry, row.fields["answer_bbox"])

    def _box(self, scan: Scan, row: Row, entry: BoxRow, value: Any) -> None:
        box = read_box(value)
        if box is None:
            self._unreadable(scan, row, value)
            return
        if kind := frame_problem(box):
            self.findings.add(kind, scan.split, f"{row.where}: {value}")
        if kind == "box_outside":
            return
        entry.box = box
        scan.boxes.rows.append(entry)

    def _unreadable(self, scan: Scan, row: Row, value: Any) -> None:
        kind = "box_unreadable" if isinstance(row, TestRow) else "box_answer"
        self.findings.add(kind, scan.split, f"{row.where}: {str(value)[:80]!r}")

    def _render(self, split: str, row: Row) -> None:
        """Put a row's prompt aside; some hundreds together are counted faster than each alone."""
        try:
            self._pages.append((row, self.backbone.prompt.render(self.encoder.turns(row))))
        except DataError as error:  # a box cannot be converted: the image whose size it needs is broken
            self.findings.add_all("rows", split, len(error.problems), error.problems)
        if len(self._pages) >= TOGETHER:
            self._count(split)

    def _count(self, split: str) -> None:
        pages, self._pages = self._pages, []
        for (row, _), needed in zip(pages, self.backbone.token_counts([page for _, page in pages]), strict=True):
            if needed > self.backbone.max_length - (self.answer_room if isinstance(row, TestRow) else 0):
                free = f" less {self.answer_room} for the answer" if isinstance(row, TestRow) else ""
                line = f"{row.where}: {needed} tokens, backbone.max_length={self.backbone.max_length}{free}"
                self.findings.add("long_row", split, line)


def given_answer(row: TestRow) -> str:
    """The row's own answer: its box where it has one, else `answer`; empty when it has neither."""
    value = row.fields.get("answer_bbox", row.fields.get("answer"))
    return "" if value is None else str(value)


def sample(split: str, row: Row, has_boxes: bool) -> dict[str, Any]:
    """A row as the page shows it: split, id, image, question, answer, box (padded frame) or None, further turns."""
    if isinstance(row, TestRow):
        question, answer, more = row.text, given_answer(row), 0
    else:
        question, answer, more = row.turns[0].question, row.turns[0].answer or "", len(row.turns) - 1
    return {
        "split": split, "id": row.id, "image": row.image, "question": question, "answer": answer,
        "box": answer if has_boxes else None, "more": more,
    }  # fmt: skip

"""Where a test row's ground truth comes from: the row itself, or the data set's own annotation file.

Each class is called with all test rows of a task and gives one reference per row (`AnswerRecord.reference`).
Paths are relative to the image root (`coin_reference.md` section 3.1).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.tasks.checks.boxes import SLACK, read_box, read_size
from coin_lightning.tasks.json_files import load_object
from coin_lightning.tasks.rows import TestRow

Reference = dict[str, Any]


class RowFields:
    """The truth stands in the row, by default in `answer`.

    Args:
        required: fields every row must have.
    """

    def __init__(self, required: Sequence[str] = ("answer",)) -> None:
        self.required = tuple(required)

    def __call__(self, rows: Sequence[TestRow], images: Path) -> list[Reference]:
        """References of the rows.

        Raises:
            DataError: rows that lack a required field, all listed.
        """
        references, problems = [], []
        for row in rows:
            problems += [f"{row.where}: {line}" for line in self.problems(row)]
            references.append(_with_image(self.reference(row), row))
        if problems:
            raise DataError(problems)
        return references

    def problems(self, row: TestRow) -> list[str]:
        """What is wrong with the truth of a row."""
        return [f"field {name!r} is missing" for name in self.required if row.fields.get(name) in (None, "")]

    def reference(self, row: TestRow) -> Reference:
        """The truth of a row, without its picture."""
        return dict(row.fields)


class BoxFields(RowFields):
    """The truth is a box in the padded square: `answer_bbox`, `"[x1,y1,x2,y2]"` or a list, beside the picture's `size`.

    References always have it as text, as the published files do.
    """

    BOXES = ("answer_bbox", "origin_answer_bbox")

    def __init__(self, required: Sequence[str] = ("answer_bbox", "size")) -> None:
        super().__init__(required)

    def problems(self, row: TestRow) -> list[str]:
        """Missing fields, numbers that cannot be read, and a box that lies outside of the square."""
        missing = super().problems(row)
        if missing:
            return missing
        wrong = [
            f"field {name!r} is no box of four numbers: {row.fields[name]!r}"
            for name in self.BOXES
            if name in row.fields and read_box(row.fields[name]) is None
        ]
        if read_size(row.fields["size"]) is None:
            wrong.append(f"field 'size' must be [width, height], found {row.fields['size']!r}")
        x1, y1, x2, y2 = box = read_box(row.fields["answer_bbox"]) or (0, 0, 1, 1)
        if min(box) < -SLACK or max(box) > 1 + SLACK or x2 < x1 or y2 < y1:
            wrong.append(f"field 'answer_bbox' lies outside its picture or has swapped corners: {list(box)}")
        return wrong

    def reference(self, row: TestRow) -> Reference:
        """The row's own fields with boxes as text."""
        boxes = {name: row.fields[name] for name in self.BOXES if isinstance(row.fields.get(name), list)}
        return {**row.fields, **{name: f"[{','.join(map(str, box))}]" for name, box in boxes.items()}}


class ScienceQAProblems:
    """Choices and the right index from `problems.json`, the test ids from `pid_splits.json`."""

    LETTERS = "ABCDE"

    def __init__(
        self, problems: str = "ScienceQA/problems.json", splits: str = "ScienceQA/pid_splits.json", split: str = "test"
    ) -> None:
        self.problems, self.splits, self.split = problems, splits, split

    def __call__(self, rows: Sequence[TestRow], images: Path) -> list[Reference]:
        """See `RowFields`; raises when an id is not in the split, or a problem has no valid answer index."""
        problems = load_object(images / self.problems)
        allowed = set(map(str, load_object(images / self.splits).get(self.split, [])))
        references, wrong = [], []
        for row in rows:
            problem = problems.get(row.id)
            if not isinstance(problem, dict) or row.id not in allowed:
                wrong.append(
                    f"{row.where}: id {row.id!r} is not in {self.problems} and split {self.split!r} of {self.splits}"
                )
                continue
            choices, index = problem.get("choices"), problem.get("answer")
            if not isinstance(choices, list) or not isinstance(index, int) or not 0 <= index < min(len(choices), 5):
                wrong.append(f"{images / self.problems} id {row.id!r}: answer {index!r} is no index into its choices")
                continue
            reference = {
                "answer": self.LETTERS[index],
                "choices": choices,
                "answer_index": index,
                "subject": problem.get("subject", ""),
                **_for_the_breakdown(problem),
            }
            references.append(_with_image(reference, row))
        if wrong:
            raise DataError(wrong)
        return references


def _for_the_breakdown(problem: dict[str, Any]) -> Reference:
    """Whether there is a hint, and the grade: ScienceQA's authors divide their results by them."""
    hint = {"hint": bool(str(problem["hint"] or "").strip())} if "hint" in problem else {}
    return hint | ({"grade": problem["grade"]} if problem.get("grade") else {})


class TextVQAAnswers:
    """The ten annotators' answers from `TextVQA_0.5.1_val.json`, joined by `question_id`."""

    def __init__(self, annotations: str = "TextVQA/TextVQA_0.5.1_val.json") -> None:
        self.annotations = annotations

    def __call__(self, rows: Sequence[TestRow], images: Path) -> list[Reference]:
        """See `RowFields`; raises when an id does not join or has not ten answers."""
        data = load_object(images / self.annotations).get("data", [])
        answers = {str(item.get("question_id")): item.get("answers") for item in data if isinstance(item, dict)}
        complete = {id_ for id_, found in answers.items() if isinstance(found, list) and len(found) == 10}
        wrong = [
            f"{row.where}: id {row.id!r} has no ten answers in {self.annotations}"
            for row in rows
            if row.id not in complete
        ]
        if wrong:
            raise DataError(wrong)
        return [_with_image({"answer": row.fields.get("answer", ""), "answers": answers[row.id]}, row) for row in rows]


class GQAAnswers:
    """The answer from `testdev_balanced_questions.json`, keyed by question id."""

    def __init__(self, questions: str = "GQA/testdev_balanced_questions.json") -> None:
        self.questions = questions

    def __call__(self, rows: Sequence[TestRow], images: Path) -> list[Reference]:
        """See `RowFields`; raises when an id does not join."""
        questions = load_object(images / self.questions)
        wrong = [
            f"{row.where}: id {row.id!r} is not in {self.questions}"
            for row in rows
            if not isinstance(questions.get(row.id), dict) or "answer" not in questions[row.id]
        ]
        if wrong:
            raise DataError(wrong)
        return [_with_image({"answer": questions[row.id]["answer"]}, row) for row in rows]


def _with_image(reference: Reference, row: TestRow) -> Reference:
    return reference if row.image is None else {**reference, "image": row.image}

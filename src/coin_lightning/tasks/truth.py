"""Where a test sample's ground truth comes from: the sample itself, or the data set's own annotation file.

Each class is called with all test samples of a task and gives one reference per sample (`AnswerRecord.reference`).
Paths are relative to the image root (`coin_reference.md` section 3.1). What is read beside the samples is named in
`files`: a run does not go on with others.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from coin_lightning.backbones.box_formats import in_frame
from coin_lightning.errors import DataError
from coin_lightning.json_files import list_in, load_object
from coin_lightning.tasks.checks.boxes import read_box, read_size
from coin_lightning.tasks.reference_fields import ANNOTATORS, Reference, converted, is_blank
from coin_lightning.tasks.samples import TestSample

Found = tuple[Reference, list[str]]
"""The truth of a sample, and what is wrong with it."""


class SampleFields:
    """The truth stands in the sample, by default in `answer`.

    Args:
        required: fields every sample must have.
    """

    def __init__(self, required: Sequence[str] = ("answer",)) -> None:
        self.required = tuple(required)

    def __call__(self, samples: Sequence[TestSample], images: Path) -> list[Reference]:
        """References of the samples.

        Raises:
            DataError: samples that lack a required field, or have one of another type, all listed.
        """
        return _complete(samples, map(self._joined, samples))

    def _joined(self, sample: TestSample) -> Found:
        missing = [f"field {name!r} is missing" for name in self.required if is_blank(sample.fields.get(name))]
        reference, lines = ({}, missing) if missing else self.reference(sample)
        return reference, [f"{sample.where}: {line}" for line in lines]

    def reference(self, sample: TestSample) -> Found:
        """The truth of a sample without its image, and what is wrong with it; no required field is missing."""
        return converted(sample.fields)


class BoxFields(SampleFields):
    """The truth is a box in the padded square: `answer_bbox`, `"[x1,y1,x2,y2]"` or a list, beside the image's `size`.

    References always have it as text, as the published files do.
    """

    BOXES = ("answer_bbox", "origin_answer_bbox")

    def __init__(self, required: Sequence[str] = ("answer_bbox", "size")) -> None:
        super().__init__(required)

    def reference(self, sample: TestSample) -> Found:
        """The sample's own fields with boxes as text; numbers that cannot be read, and a box outside of the square."""
        fields, wrong = super().reference(sample)
        wrong += [
            f"field {name!r} is no box of four numbers: {sample.fields[name]!r}"
            for name in self.BOXES
            if name in sample.fields and read_box(sample.fields[name]) is None
        ]
        if read_size(sample.fields["size"]) is None:
            wrong.append(f"field 'size' must be [width, height], found {sample.fields['size']!r}")
        x1, y1, x2, y2 = box = read_box(sample.fields["answer_bbox"]) or (0, 0, 1, 1)
        if not in_frame(box) or x2 < x1 or y2 < y1:
            wrong.append(f"field 'answer_bbox' lies outside its image or has swapped corners: {list(box)}")
        boxes = {name: sample.fields[name] for name in self.BOXES if isinstance(sample.fields.get(name), list)}
        return {**fields, **{name: f"[{','.join(map(str, box))}]" for name, box in boxes.items()}}, wrong


class ScienceQAProblems:
    """Choices and the right index from `problems.json`, the test ids from `pid_splits.json`."""

    LETTERS = "ABCDE"

    def __init__(
        self, problems: str = "ScienceQA/problems.json", splits: str = "ScienceQA/pid_splits.json", split: str = "test"
    ) -> None:
        self.problems, self.splits, self.split = problems, splits, split
        self.files = (problems, splits)

    def __call__(self, samples: Sequence[TestSample], images: Path) -> list[Reference]:
        """See `SampleFields`; raises when an id is not in the split, or a problem has no valid answer index."""
        problems = load_object(images / self.problems)
        allowed = set(map(str, list_in(images / self.splits, self.split)))

        def join(sample: TestSample) -> Found:
            problem = problems.get(sample.id)
            if isinstance(problem, dict) and sample.id in allowed:
                reference, lines = self.reference(problem)
                return reference, [f"{images / self.problems} id {sample.id!r}: {line}" for line in lines]
            where = f"{self.problems} and split {self.split!r} of {self.splits}"
            return {}, [f"{sample.where}: id {sample.id!r} is not in {where}"]

        return _complete(samples, map(join, samples))

    def reference(self, problem: dict[str, Any]) -> Found:
        """The truth of a problem, and what is wrong with it."""
        choices, index = problem.get("choices"), problem.get("answer")
        count = min(len(choices), len(self.LETTERS)) if isinstance(choices, list) else 0
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
            return {}, [f"answer {index!r} is no index into its choices"]
        # whether there is a hint, and the grade: ScienceQA's authors divide their results by them
        hint = {"hint": bool(str(problem["hint"] or "").strip())} if "hint" in problem else {}
        grade = {"grade": problem["grade"]} if problem.get("grade") else {}
        own = {"answer": self.LETTERS[index], "choices": choices, "answer_index": index}
        return converted({**own, "subject": problem.get("subject") or "", **hint, **grade})


class TextVQAAnswers:
    """The ten annotators' answers from `TextVQA_0.5.1_val.json`, joined by `question_id`."""

    def __init__(self, annotations: str = "TextVQA/TextVQA_0.5.1_val.json") -> None:
        self.annotations = annotations
        self.files = (annotations,)

    def __call__(self, samples: Sequence[TestSample], images: Path) -> list[Reference]:
        """See `SampleFields`; raises when an id does not join or has not ten answers."""
        data = list_in(images / self.annotations, "data")
        answers = {str(item.get("question_id")): item.get("answers") for item in data if isinstance(item, dict)}

        def join(sample: TestSample) -> Found:
            found = answers.get(sample.id)
            if not isinstance(found, list) or len(found) != ANNOTATORS:
                return {}, [f"{sample.where}: id {sample.id!r} has no ten answers in {self.annotations}"]
            reference, lines = converted({"answer": sample.fields.get("answer", ""), "answers": found})
            return reference, [f"{sample.where}, id {sample.id!r} of {self.annotations}: {line}" for line in lines]

        return _complete(samples, map(join, samples))


class GQAAnswers:
    """The answer from `testdev_balanced_questions.json`, keyed by question id."""

    def __init__(self, questions: str = "GQA/testdev_balanced_questions.json") -> None:
        self.questions = questions
        self.files = (questions,)

    def __call__(self, samples: Sequence[TestSample], images: Path) -> list[Reference]:
        """See `SampleFields`; raises when an id does not join."""
        questions = load_object(images / self.questions)

        def join(sample: TestSample) -> Found:
            found = questions.get(sample.id)
            if not isinstance(found, dict) or is_blank(found.get("answer")):
                lack = "has no answer" if isinstance(found, dict) else "is not"
                return {}, [f"{sample.where}: id {sample.id!r} {lack} in {self.questions}"]
            reference, lines = converted({"answer": found["answer"]})
            return reference, [f"{images / self.questions} id {sample.id!r}: {line}" for line in lines]

        return _complete(samples, map(join, samples))


def _complete(samples: Sequence[TestSample], found: Iterable[Found]) -> list[Reference]:
    """References with the samples' images beside them.

    Raises:
        DataError: every problem found.
    """
    references, problems = [], []
    for sample, (reference, lines) in zip(samples, found, strict=True):
        images = [media.path for media in sample.media]
        references.append(
            {**reference, **({"image": images[0]} if images else {}), **({"images": images} if images[1:] else {})}
        )
        problems += lines
    if problems:
        raise DataError(problems)
    return references

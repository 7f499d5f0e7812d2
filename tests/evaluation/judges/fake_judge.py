"""A judge without a model, and run folders to judge."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from coin_lightning.errors import JudgeError
from coin_lightning.evaluation.judges.base import Judge, JudgeRequest, Reply
from coin_lightning.evaluation.records import AnswerRecord, write_records

Answer = Callable[[AnswerRecord], str]


def exact(record: AnswerRecord) -> str:
    """10 when the prediction is the answer, 3 otherwise; "?" for a prediction that says so."""
    if record.prediction == "?":
        return "I do not know"
    return "10" if record.prediction == record.reference.get("answer") else "3"


class FakeJudge(Judge):
    """Replies by a function, and remembers what it was asked; dies after `dies_after` replies."""

    kind = "fake"

    def __init__(
        self,
        answer: Answer = exact,
        dies_after: int | None = None,
        temperature: float = 0.0,
        served: str = "",
        model: str = "rule",
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.answer, self.dies_after, self.temperature, self.served = answer, dies_after, temperature, served
        self.asked: list[tuple[str, str]] = []
        self.closed = 0

    def settings(self) -> dict[str, Any]:
        """Version 1, unless a server is to tell."""
        version = None if self.served else "1"
        return {"version": version, "temperature": self.temperature, "seed": None, "settings": {}}

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Reply]:
        """Backwards, since any order is allowed."""
        for index in reversed(range(len(requests))):
            if self.dies_after is not None and len(self.asked) >= self.dies_after:
                raise JudgeError("the server is gone")
            record = requests[index].record
            self.asked.append((record.task, record.question_id))
            yield Reply(index, self.answer(record), self.served)

    def close(self) -> None:
        """Count."""
        self.closed += 1


def record(task: str, number: int, prediction: str, answer: str = "red") -> AnswerRecord:
    """A question with its own text."""
    prompt = f"What is in image {number}?\nAnswer the question using a single word or phrase."
    return AnswerRecord(task, f"q{number}", prompt, prediction, {"answer": answer})


def write_experience(run: Path, index: int, name: str, answers: dict[str, Sequence[str]]) -> Path:
    """`task_<index>_<name>` with records and scores.json; `answers` holds the predictions by task."""
    folder = run / f"task_{index:02d}_{name}"
    for task, predictions in answers.items():
        records = [record(task, number, prediction) for number, prediction in enumerate(predictions)]
        write_records(folder / "records" / f"{task}.jsonl", records)
    counts = {task: len(predictions) for task, predictions in answers.items()}
    scores = {"experience": index, "task": name, "scores": dict.fromkeys(answers, 0.0), "counts": counts}
    (folder / "scores.json").write_text(json.dumps(scores))
    return folder


def lines(folder: Path, judge: str, task: str) -> list[dict[str, Any]]:
    """What the reply file holds."""
    text = (folder / "judged" / judge / f"{task}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]

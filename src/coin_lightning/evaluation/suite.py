"""`Suite`: what is evaluated after each experience, and the writing of the answers while they come."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter

from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.records import AnswerRecord, merge_records, write_records
from coin_lightning.evaluation.scorer import DEFAULT
from coin_lightning.json_files import BROKEN
from coin_lightning.manifest import record
from coin_lightning.metrics.score_matrix import CELLS
from coin_lightning.tasks.base import InstructionTask

Named = TypeVar("Named", InstructionTask, str)


class Suite:
    """Which cells of the score matrix are filled, and by which rules.

    Args:
        cells: `seen` evaluates after task k the tasks 1..k (lower triangle), `full` all. Zero-shot is always full.
        scorers: variant of the tasks' scorers that fills the score matrix.
    """

    def __init__(self, cells: str = "seen", scorers: str = DEFAULT) -> None:
        if cells not in CELLS:
            raise ConfigError(f"evaluation.cells={cells!r} is unknown; use seen or full")
        self.cells, self.variant = cells, scorers

    def tasks_after(self, position: int, tasks: Sequence[Named]) -> list[Named]:
        """Tasks, or names of tasks, evaluated after experience `position` (0 is zero-shot)."""
        return list(tasks if self.cells == "full" or position == 0 else tasks[:position])


class AnswerWriter(BasePredictionWriter):
    """Appends each batch's answers to `<folder>/.partial/<task>.<rank>.jsonl`, so that a killed evaluation goes on.

    A line is one batch: ids, answers, the seconds since the one before, and what other callbacks have added to the
    prediction.

    Args:
        folder: the experience's `records` folder.
        tasks: in the order of the loaders.
    """

    def __init__(self, folder: Path, tasks: Sequence[InstructionTask]) -> None:
        super().__init__(write_interval="batch")
        self.folder, self.tasks = folder / ".partial", tasks
        self._since = time.monotonic()

    def batches(self, task: str) -> list[list[dict[str, Any]]]:
        """Answered batches of a task, per rank."""
        return [_whole_lines(file) for file in sorted(self.folder.glob(f"{task}.*.jsonl"))]

    def answered(self) -> dict[str, list[dict[str, Any]]]:
        """Answered batches of each task, of all ranks."""
        return {task.name: [batch for rank in self.batches(task.name) for batch in rank] for task in self.tasks}

    def done(self, task: str) -> frozenset[str]:
        """Ids that an interrupted evaluation has already answered, over all ranks."""
        return frozenset(id_ for rank in self.batches(task) for batch in rank for id_ in batch["ids"])

    def seconds(self) -> float:
        """That answering has taken in the slowest process, over all starts; of shared answers, where they were made."""
        ranks: dict[str, float] = {}
        for file in self.folder.glob("*.jsonl"):
            rank = file.suffixes[-2]
            ranks[rank] = ranks.get(rank, 0.0) + sum(batch.get("seconds", 0.0) for batch in _whole_lines(file))
        return max(ranks.values(), default=0.0)

    def put(self, task: str, batches: Sequence[dict[str, Any]]) -> None:
        """Batches that were answered elsewhere, as if they had been answered here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(batch) + "\n" for batch in batches]
        (self.folder / f"{task}.0.jsonl").write_text("".join(lines), encoding="utf-8")

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The first batch begins."""
        self._since = time.monotonic()

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Any,
        batch_indices: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Lightning's hook."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self.tasks[dataloader_idx].name}.{trainer.global_rank}.jsonl"
        now = time.monotonic()
        line, self._since = json.dumps({**prediction, "seconds": now - self._since}), now
        cut = file.exists() and _ends_within_a_line(file)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if cut else "") + line + "\n")

    def collect(self, task: InstructionTask) -> list[AnswerRecord]:
        """All answers of a task as records in the data set's order, written to `<task>.jsonl` and into the manifest.

        Raises:
            DataError: a question was not answered, or has two different answers.
        """
        samples = {
            sample.id: (sample.text, reference)
            for sample, reference in zip(task.test_samples, task.references, strict=True)
        }
        groups = [
            [AnswerRecord(task.name, id_, samples[id_][0], answer, samples[id_][1]) for batch in rank
             for id_, answer in zip(batch["ids"], batch["answers"], strict=True)]
            for rank in self.batches(task.name)
        ]  # fmt: skip
        records = merge_records(groups, order=list(samples))
        file = self.folder.parent / f"{task.name}.jsonl"
        write_records(file, records)
        record(file.parent.parent, [file])
        return records

    def clear(self) -> None:
        """Remove the partial files once the scores are written."""
        for file in self.folder.glob("*.jsonl"):
            file.unlink()
        if self.folder.exists():
            self.folder.rmdir()


def _ends_within_a_line(file: Path) -> bool:
    with file.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"


def _whole_lines(file: Path) -> list[dict[str, Any]]:
    """Batches of a partial file; a line that a kill cut off is left out, and its questions are asked again."""
    batches = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            batches.append(json.loads(line))
        except BROKEN:
            continue
    return batches

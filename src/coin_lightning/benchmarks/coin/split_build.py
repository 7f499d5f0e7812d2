"""One split of a task, from the reader's stream to the files of all instruction types."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coin_lightning.assets import file_sha256
from coin_lightning.benchmarks.coin.grouping import grouped
from coin_lightning.benchmarks.coin.options import BuildOptions, BuildProgress, BuiltSplit
from coin_lightning.benchmarks.coin.places import Images
from coin_lightning.benchmarks.coin.raw_sample import RawSample, RawTask
from coin_lightning.benchmarks.coin.record import BuildRecord
from coin_lightning.benchmarks.coin.screening import Problems, screened
from coin_lightning.benchmarks.coin.templates import FOLDERS, Instructions
from coin_lightning.benchmarks.coin.writer import SampleFile, test_sample, train_sample
from coin_lightning.errors import DataError
from coin_lightning.json_stream import watching


@dataclass(frozen=True)
class SplitBuild:
    """Everything that both splits of a task are built with.

    Attributes:
        named: the reader's keyword options.
        record: of the task's finished files.
    """

    task: RawTask
    raw: Path
    root: Path
    options: BuildOptions
    named: Mapping[str, Any]
    images: Images
    record: BuildRecord
    instructions: Instructions
    progress: BuildProgress

    def run(self, split: str, files: list[Path]) -> BuiltSplit:
        """Build what is not there yet.

        Args:
            files: what the reader reads for this split.

        Raises:
            DataError: see `build_task`.
        """
        made_of = self._made_of(files)
        names = {type_: f"{FOLDERS[type_]}/{self.task.folder}/{split}.json" for type_ in self.options.types}
        # copying goes sample by sample, and must not count on what an earlier build has done
        held = {name for name in names.values() if self.options.images != "copy" and self.record.holds(name, made_of)}
        missing = {type_: name for type_, name in names.items() if name not in held}
        if missing:
            self._write(split, files, missing, made_of)
        facts = self.record.files[next(iter(names.values()))]
        counts = {"samples": facts["rows"], "questions": facts["questions"], "skipped": facts["skipped"]}
        return BuiltSplit(self.task.folder, split, **counts, fresh=bool(missing))

    def _made_of(self, files: list[Path]) -> dict[str, Any]:
        options = self.options
        return {
            "seed": options.seed,
            "skip": options.skip,
            "grouped": options.grouped,
            "images_checked": options.images != "unchecked",
            "images": self.images.listing,
            "options": dict(options.options),
            "instructions": self.instructions.sha256,
            "inputs": {os.path.relpath(file, self.raw): file_sha256(file) for file in files},
        }

    def _write(self, split: str, files: list[Path], names: dict[str, str], made_of: dict[str, Any]) -> None:
        problems, questions = Problems(), 0
        self.progress.start(self.task.folder, split, sum(file.stat().st_size for file in files))
        with ExitStack() as stack:
            stack.enter_context(watching(self.progress.read))
            outputs = {type_: stack.enter_context(SampleFile(self.root / name)) for type_, name in names.items()}
            for turns in self._units(split, files, problems):
                if problems.count and not self.options.skip:
                    continue  # nothing is kept, but every problem is to be named
                questions += len(turns)
                self.progress.sample()
                for type_, output in outputs.items():
                    output.write(self._sample(split, turns, type_))
            self._refuse(split, problems, questions)
        for type_, output in outputs.items():
            facts = {"rows": output.samples, "questions": questions, "skipped": problems.count}
            self.record.note(names[type_], made_of, **facts, bytes=output.bytes, sha256=output.sha256)
        self.record.note_skipped(split, problems.count, problems.listed)

    def _units(self, split: str, files: list[Path], problems: Problems) -> Iterator[list[RawSample]]:
        """What becomes a sample each: conversations for training, questions for evaluation."""
        together = split == "train" and self.options.grouped
        stream = self.task.samples(self.raw, split, **self.named)
        origin = str(files[0] if files else self.raw)
        samples = screened(stream, origin, self.images, problems, conversations=together)
        return (
            grouped(samples, self.record.folder) if together else ([replace(sample, group=None)] for sample in samples)
        )

    def _sample(self, split: str, turns: list[RawSample], type_: str) -> dict[str, Any]:
        if split == "train":
            return train_sample(turns, self.instructions, type_, self.options.seed)
        return test_sample(turns[0], self.instructions, type_, self.options.seed)

    def _refuse(self, split: str, problems: Problems, questions: int) -> None:
        if not self.options.skip:
            problems.raise_any()
        if not questions:
            what = f"no usable sample of split {split!r} for {self.task.folder}"
            raise DataError([f"{self.raw}: {what}; is it the right folder?", *problems.listed])

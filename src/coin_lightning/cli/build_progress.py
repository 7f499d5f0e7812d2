"""The progress bar of a build: bytes read of the raw files, samples written."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from coin_lightning.benchmarks.coin.options import BuildProgress
from coin_lightning.reporting.names import title

EVERY = 1000
"""Samples between two looks at the clock."""


class BuildBar(BuildProgress):
    """One line per split; use it as a context."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[samples]:>9,} samples"))
        self.bars = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self._bar: TaskID | None = None
        self._samples = 0

    def __enter__(self) -> "BuildBar":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()
        self.bars.stop()

    def start(self, folder: str, split: str, total: int) -> None:
        """Begin a line; what the line before had left counts as done."""
        self._finish()
        self._samples = 0
        self._bar = self.bars.add_task(f"{title(folder.lower())} {split}", total=total or None, samples=0)

    def read(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self.bars.advance(self._bar, count)

    def sample(self) -> None:
        """Count a sample."""
        self._samples += 1
        if self._samples % EVERY == 0:
            self._show()

    def _finish(self) -> None:
        """Fill the bar: pickles and folder listings are among a split's sources, but not read through the stream."""
        if self._bar is not None:
            total = self.bars.tasks[self._bar].total
            self.bars.update(self._bar, samples=self._samples, total=total or 1, completed=total or 1)

    def _show(self) -> None:
        if self._bar is not None:
            self.bars.update(self._bar, samples=self._samples)

"""How far the judging of a run is, on a terminal or line by line in a log."""

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from coin_lightning.evaluation.judges.judging import evaluated
from coin_lightning.run_files import read_json

LINE_SECONDS = 20
"""In a log: one line in this many seconds."""


class JudgeProgress:
    """A bar over all answers of a run, or a line now and then where there is no terminal."""

    def __init__(self, console: Console, path: Path) -> None:
        self.console = console
        counts = [read_json(folder / "scores.json")["counts"] for folder in evaluated(path)]
        self.total = sum(sum(count.values()) for count in counts)
        self.before, self._line = 0, time.monotonic()
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%")
        self.bar = Progress(
            *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
        )
        self._task = self.bar.add_task("judging", total=self.total)

    def __enter__(self) -> "JudgeProgress":
        self.bar.start()
        return self

    def report(self, task: str, done: int, total: int) -> None:
        """As `judging.OnProgress`."""
        count = self.before + done
        text = f"judging {task} {done}/{total}"
        self.bar.update(self._task, description=escape(text), completed=count)
        if not self.console.is_terminal and time.monotonic() - self._line > LINE_SECONDS:
            self._line = time.monotonic()
            self.console.print(f"{text}, {count} of {self.total} answers", highlight=False)
        if done == total:
            self.before += total

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

"""Where a sequence stands and how long it will still take, on a terminal or line by line in a log."""

import time
from collections.abc import Iterable
from typing import Any

import lightning as L
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.run_files import read_json

LINE_SECONDS = 20
"""In a log: at most one line in this many seconds."""
SAMPLE_WEIGHT = 3
"""Share of a training sample in the bar, against one answer."""


class Pace:
    """Mean seconds per unit of work of one kind."""

    def __init__(self) -> None:
        self.units, self.seconds = 0, 0.0

    def add(self, units: int, seconds: float) -> None:
        """Count finished work."""
        self.units += units
        self.seconds += seconds

    def begin(self, earlier: Iterable[tuple[int, float]]) -> None:
        """Where nothing was counted yet: units and seconds of earlier work."""
        if not self.units:
            for units, seconds in earlier:
                self.add(units, seconds)

    def estimate(self, units: int) -> float | None:
        """Seconds that `units` more will take; None before anything was measured."""
        return None if units and not self.units else units * self.seconds / max(self.units, 1)


def clock(seconds: float | None) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on; a dash for an unknown time."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class SequenceProgress(L.Callback):
    """One bar over the whole sequence: training samples and answers, with an estimate of the remaining time.

    Args:
        console: where to draw. Without a terminal it prints a line now and then.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%")
        self.bar = Progress(*columns, console=console)
        self.live: Live | None = None
        self.training, self.answering = Pace(), Pace()
        self.left_samples = self.left_answers = self.done = 0
        self.loop: ContinualLoop | None = None
        self._task = self.bar.add_task("", total=1)
        self._mark = self._line = 0.0

    def follow(self, loop: ContinualLoop) -> None:
        """Count the work that is left in the loop's run."""
        self.loop = loop
        self._count(loop)
        self.bar.reset(self._task, total=self.left_samples * SAMPLE_WEIGHT + self.left_answers)

    def _count(self, loop: ContinualLoop) -> None:
        """Samples and answers of everything that is not finished on disk."""
        tasks, done, train_tasks = loop.scenario.tasks, loop.run.scores(), loop.scenario.train_tasks
        left = [position for position in loop.run.positions if position not in done]
        answered = [task for position in left for task in loop.suite.tasks_after(position, tasks)]
        trained = [position for position in left if (loop.run.folder(position) / "train.json").exists()]
        to_learn = [train_tasks[position] for position in left if position and position not in trained]
        self.left_answers = sum(len(task.test_samples) for task in answered)
        self.left_samples = sum(len(task.train_samples) * task.epochs for task in to_learn)
        # until this process has its own pace: that of before a kill, and of answers that are shared
        self.answering.begin((scores["answers"], scores["seconds"]) for scores in done.values())
        files = [loop.run.folder(position) / "train.json" for position in loop.run.positions]
        costs = (read_json(file) for file in files if file.is_file())  # read only where they are wanted
        self.training.begin((cost["samples"], cost["seconds"]) for cost in costs)

    def features(self, done: int, total: int) -> None:
        """Images through the vision tower."""
        self._show(f"vision features of {total} images", done, total, force=done == total)

    def judging(self, task: str, done: int, total: int) -> None:
        """Answers of the experience that a judge has graded."""
        self._show(f"{self._place()} judging {task} {done}/{total}", self._units(), self._total())

    def remaining(self) -> float | None:
        """Seconds to the end of the sequence, None while unknown."""
        parts = self.training.estimate(self.left_samples), self.answering.estimate(self.left_answers)
        return None if None in parts else sum(part for part in parts if part is not None)

    def pause(self) -> None:
        """Take the bar off the screen, so that tables can be printed."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, and take off what was learned before a kill."""
        self._mark = time.monotonic()
        experience = self.loop.experience if self.loop else None
        if self.loop is None or experience is None or experience.task is None:
            return
        self._count(self.loop)
        if experience.resume_from is not None:
            task, total = experience.task, len(experience.task.train_samples)
            planned: Any = pl_module.total_steps
            passes, steps = divmod(trainer.global_step, planned // task.epochs)
            batch = task.batch_size * trainer.accumulate_grad_batches * trainer.world_size
            self.left_samples = max(self.left_samples - passes * total - min(steps * batch, total), 0)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._mark = time.monotonic()
        if self.loop is not None:
            self._count(self.loop)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch of samples; what is shown are steps of the optimizer over the whole task, as in the plan."""
        samples = len(batch["ids"]) * trainer.world_size
        self.left_samples = max(self.left_samples - samples, 0)
        self._advance(self.training, samples)
        loss = trainer.callback_metrics.get("train/loss")
        note = "" if loss is None else f", loss {loss.item():.2f}"
        text = f"{self._place()} learning {trainer.global_step}/{pl_module.total_steps}{note}"
        self._show(text, self._units(), self._total(), force=batch_idx + 1 == trainer.num_training_batches)

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch of answers."""
        answers = len(batch["ids"]) * trainer.world_size
        self.left_answers = max(self.left_answers - answers, 0)
        self._advance(self.answering, answers)
        self._show(f"{self._place()} answering", self._units(), self._total())

    def _advance(self, pace: Pace, units: int) -> None:
        now = time.monotonic()
        pace.add(units, now - self._mark)
        self._mark = now

    def _place(self) -> str:
        experience = self.loop.experience if self.loop else None
        if experience is None or self.loop is None:
            return ""
        return f"[{experience.position}/{len(self.loop.scenario.tasks)}] {experience.name}"

    def _total(self) -> int:
        return int(self.bar.tasks[0].total or 1)

    def _units(self) -> int:
        return self._total() - self.left_samples * SAMPLE_WEIGHT - self.left_answers

    def _show(self, text: str, done: int, total: int, force: bool = False) -> None:
        remaining = self.remaining() if self.loop else None
        text += f", {clock(remaining)} left" if self.loop else f" {done}/{total}"
        if self.console.is_terminal:
            if self.live is None:
                self.live = Live(self.bar, console=self.console, refresh_per_second=4, transient=True)
                self.live.start()
            self.bar.update(self._task, description=text.replace("[", r"\["), completed=done, total=total)
        elif force or time.monotonic() - self._line > LINE_SECONDS:
            self._line = time.monotonic()
            self.console.print(text, markup=False, highlight=False)

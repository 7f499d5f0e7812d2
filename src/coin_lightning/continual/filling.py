"""Cells of the score matrix that a run has left out, evaluated later with the weights that it kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.loop import MakeTrainer
from coin_lightning.continual.rescoring import rescore
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.evaluation.suite import Suite
from coin_lightning.metrics.score_matrix import row_names
from coin_lightning.module import ContinualMLLM
from coin_lightning.seeding import experience_seed, seed_everything


@dataclass(frozen=True)
class Gap:
    """A finished experience and the tasks that it was not evaluated on, in scenario order."""

    position: int
    tasks: tuple[str, ...]


def gaps(run: RunDir, suite: Suite, positions: Sequence[int] | None = None) -> list[Gap]:
    """Cells of finished experiences that a suite wants and the run does not have.

    Args:
        run: finished or not.
        suite: says which cells are wanted.
        positions: only these experiences; default: all that are finished.

    Raises:
        ConfigError: an experience that the run does not have.
        RunError: an experience that is not finished.
    """
    done = run.scores()
    for position in positions or ():
        if position not in run.positions:
            names = ", ".join(f"{each} ({row_names(run.tasks, run.training)[each]})" for each in run.positions)
            raise ConfigError(f"experience={position}: the run has {names}")
        if position not in done:
            raise RunError(f"experience={position} is not finished; continue the run first")
    wanted = {position: suite.tasks_after(position, run.tasks) for position in (positions or done)}
    found = [
        Gap(position, tuple(task for task in wanted[position] if task not in done[position]["scores"]))
        for position in sorted(wanted)
    ]
    return [gap for gap in found if gap.tasks]


def fill(loop: ContinualLoop, module: ContinualMLLM, make_trainer: MakeTrainer, missing: Sequence[Gap]) -> None:
    """Answer and score the missing cells; killed half way, the same call goes on where it was.

    Args:
        loop: of the run; its scenario is prepared.
        module: with the weights of no experience yet.
        make_trainer: as for `run_sequence`.
        missing: from `gaps`.
    """
    if any("variants" not in scores for scores in loop.run.scores().values()):
        rescore(loop.run)  # a run from before both variants were kept: its old cells need them, too
    for gap in missing:
        experience = loop.revisit(module, gap.position)
        seed_everything(experience_seed(loop.seed, gap.position))
        tasks = [task for task in loop.scenario.tasks if task.name in gap.tasks]
        loop.evaluate(make_trainer(experience), module, experience, tasks)

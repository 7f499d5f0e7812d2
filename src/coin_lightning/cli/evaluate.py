"""`python -m coin_lightning evaluate RUN [evaluation=full] [experience=3]`: evaluate what a run has left out.

Loads the backbone and, for each finished experience, the weights that the run has kept; answers and scores only the
cells of the score matrix that are missing, and lets the run's judge grade what it has not graded. Interrupted, the same
command goes on.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from coin_lightning import processes
from coin_lightning.backbones.recomputation import FORMER, KEY
from coin_lightning.cli.assembly import assemble, make_scenario
from coin_lightning.cli.build import build, check_config
from coin_lightning.cli.config_errors import hint
from coin_lightning.cli.ending import ended, warn
from coin_lightning.cli.pairs import pairs
from coin_lightning.cli.parsers import FREE, evaluate_parser
from coin_lightning.cli.report import refuse_damaged_records
from coin_lightning.cli.run import recognise
from coin_lightning.cli.trainers import check_processes, model_facts
from coin_lightning.continual.filling import Gap, fill, gaps
from coin_lightning.continual.free_keys import names_data
from coin_lightning.continual.giving_way import Change
from coin_lightning.continual.interruption import Interruption
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.run_judge import RunJudge
from coin_lightning.errors import CoinLightningError, ConfigError, RunError
from coin_lightning.evaluation.judges.base import Judge
from coin_lightning.evaluation.run_scoring import newest_scoring, plain_config_of
from coin_lightning.evaluation.suite import Suite
from coin_lightning.metrics.score_matrix import CELLS, ScoreMatrix, row_names
from coin_lightning.quiet import quiet_libraries
from coin_lightning.reporting.flat_config import flat
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.terminal import matrix_table

NO_JUDGE = {"_target_": "coin_lightning.evaluation.judges.base.no_judge"}
OLDER = {
    "published": None,
    "judge": NO_JUDGE,
    "bounds": {"individual": None, "joint": None},
    "sweep": {"impossible": "skip"},
    "share_answers": False,
}
"""What configs of older runs say nothing of."""
ANSWERS = "answers.batch_size"
OWN = ("evaluation", "experience", ANSWERS)


def evaluate(path: Path, overrides: Sequence[str], interruption: Interruption | None = None) -> None:
    """Fill the missing cells of a run, bring `matrix.json` and the page up to date, and print the matrix.

    Raises:
        CoinLightningError: no such run or experience, another process works on it, weights or data are missing; what
            was answered so far is kept. Or answers are damaged, behind all else.
    """
    quiet_libraries()
    console = Console(quiet=not processes.is_first())  # of several processes one speaks
    run = RunDir.open(path)
    run.refuse_imported()
    _refuse_old_scorers(run)
    config, positions = run_config(path, overrides)
    check_processes(config)
    processes.connect()
    with run.working():
        suite: Suite = build(config.evaluation)
        judge: Judge | None = build(config.judge)
        missing = processes.decide(partial(gaps, run, suite, positions))
        if missing:
            _note_batch(run, config)
            for gap in missing:
                console.print(_line(run, gap), markup=False, highlight=False, soft_wrap=True)
            _fill(config, run, missing, console, judge, interruption)
        if processes.is_first():
            _judge_rest(run, judge, console)
            _conclude(run)
    console.print(matrix_table(load_matrix(path)))
    done = f"{sum(len(gap.tasks) for gap in missing)} cells were filled" if missing else "no cell was missing"
    console.print(f"{done}; report {path / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
    if processes.is_first():
        refuse_damaged_records(path)


def _refuse_old_scorers(run: RunDir) -> None:
    """New cells are scored by today's code, so the others must have been, too.

    Raises:
        RunError: the package has a higher version of a task's scorers than the run.
    """
    newest = newest_scoring(run.path, run.tasks, [])
    for task, version in run.versions().items():
        if (now := int(newest[task].get("version", 1))) > version:
            raise RunError(
                f"{run.path}: {task} was scored by version {version} of its scorers, and there is version {now}; score "
                f"the kept answers again first: python -m coin_lightning score {run.path}"
            )


def run_config(path: Path, overrides: Sequence[str]) -> tuple[DictConfig, list[int] | None]:
    """The config that a run was made with, with the overrides put in, and the experiences that these name.

    Raises:
        ConfigError: an override of something else, or a wrong value.
        RunError: `config.yaml` is missing or broken.
    """
    config = _stored(path)
    cells, positions = CELLS[1], None
    for key, value in pairs(overrides).items():
        if key == "evaluation":
            cells = value
        elif key == "experience":
            positions = _positions(value)
        elif key == ANSWERS:
            for task in config.scenario.tasks.values():
                task.answers.batch_size = yaml.safe_load(value)
        elif key in FREE:
            _put(config, key, yaml.safe_load(value))
        else:
            raise ConfigError(f"{key}: cannot be set for a run that is there; {hint(key, (*OWN, *FREE))}")
    config.evaluation.cells = cells
    config.logger = {}  # the run's own logs are those of its training
    config.protocol.global_batch = None  # nothing is learned, by however many processes
    try:
        check_config(config)
    except (CoinLightningError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path / 'config.yaml'}, as far as nothing else is given:\n{error}") from error
    return config, positions


def _put(config: DictConfig, key: str, value: Any) -> None:
    """Set a key, and those that took their value from it: in a stored config each has its own."""
    before: Any = OmegaConf.select(config, key)
    for name, own in flat(OmegaConf.to_container(config)):
        of_task = name.startswith("scenario.") and name.endswith(f".{key}")
        if name == key or (own == before and (of_task or (key == "data.root" and names_data(name)))):
            OmegaConf.update(config, name, value)


def _stored(run: Path) -> DictConfig:
    config = plain_config_of(run)
    if "evaluation" not in config:
        raise RunError(f"{run / 'config.yaml'}: says nothing of evaluation, so it is no config of a run; restore it")
    stored = OmegaConf.create({**OLDER, **config})
    if isinstance(former := OmegaConf.select(stored, KEY), bool):
        OmegaConf.update(stored, KEY, FORMER[former])
    return stored


def _positions(value: str) -> list[int]:
    """`3` or `[1,3]`."""
    found: Any = yaml.safe_load(value)
    numbers = found if isinstance(found, list) else [found]
    if not numbers or not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise ConfigError(f"experience={value}: give the number of an experience (0 is zero-shot), or a list [1,3]")
    return sorted(set(numbers))


def _note_batch(run: RunDir, config: DictConfig) -> None:
    """Keep that these cells are answered in batches of another size than the run's own."""
    stored = _stored(run.path).scenario.tasks
    sizes = dict.fromkeys(
        (stored[name].answers.batch_size, node.answers.batch_size) for name, node in config.scenario.tasks.items()
    )
    if processes.is_first():
        run.note([Change(ANSWERS, old, new) for old, new in sizes if new != old], "a later evaluation")


def _line(run: RunDir, gap: Gap) -> str:
    title = load_matrix(run.path).title
    name = title(row_names(run.tasks, run.training)[gap.position])
    return f"after {name}: {', '.join(title(task) for task in gap.tasks)} missing"


def _fill(
    config: DictConfig,
    run: RunDir,
    missing: list[Gap],
    console: Console,
    judge: Judge | None,
    interruption: Interruption | None,
) -> None:
    if judge is not None:
        recognise(run, judge, console)
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    parts = assemble(config, resolved, make_scenario(config), run, console, judge, interruption)
    processes.decide(partial(run.check_model, model_facts(config, parts.module)))
    parts.loop.facts = run.facts()

    def on_row(matrix: ScoreMatrix, row: int) -> None:
        parts.progress.pause()

    parts.loop.on_row = on_row
    try:
        fill(parts.loop, parts.module, parts.make, missing)
    finally:
        parts.progress.pause()
        parts.make.close()


def _judge_rest(run: RunDir, judge: Judge | None, console: Console) -> None:
    """Judge what several processes have left to the end, or a kill right behind the scores."""
    with console.status("judging"):
        RunJudge(run, judge, warn=partial(warn, console)).rest()


def _conclude(run: RunDir) -> None:
    """Say in `matrix.json` that all cells are there, once they are, and write the page."""
    facts = run.facts()
    notes = facts.get("notes", [])
    facts["notes"] = [*notes, *(note for note in run.change_notes() if note not in notes)]
    if run.finished() and not gaps(run, Suite(CELLS[1])):
        facts = {**facts, "protocol": {**facts.get("protocol", {}), "evaluation_cells": CELLS[1]}}
    run.write_summary(facts)
    write_report(run.path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 with an explanation when the run cannot be evaluated."""
    options = evaluate_parser().parse_args(arguments)
    return ended(lambda interruption: evaluate(options.run, options.overrides, interruption))

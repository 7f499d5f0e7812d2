"""The run itself: train through a scenario, evaluate after every task, write the report.

Everything heavy comes with this module. `train` imports it once it knows that there is something to do.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

# quiet before the libraries are imported: their bars would break ours, and forked loaders need no tokenizer threads
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from coin_lightning import processes
from coin_lightning.cli.assembly import Assembly, assemble, make_scenario
from coin_lightning.cli.build import build, check_claims, check_config, resolve
from coin_lightning.cli.ending import warn
from coin_lightning.cli.facts import method_title
from coin_lightning.cli.finished import is_drawn
from coin_lightning.cli.places import check_places
from coin_lightning.cli.report import add_bounds
from coin_lightning.cli.trainers import accumulation, check_processes, complete_wandb, model_facts, protocol_of
from coin_lightning.cli.trial import report as report_trial
from coin_lightning.continual.bounds import find_bounds
from coin_lightning.continual.devices import check_devices
from coin_lightning.continual.interruption import Interruption
from coin_lightning.continual.leftovers import leftovers, remove_leftovers
from coin_lightning.continual.loop import run_sequence
from coin_lightning.continual.plan import make_plan
from coin_lightning.continual.run_dir import COMMAND, RunDir
from coin_lightning.continual.run_judge import RunJudge
from coin_lightning.continual.scenario import Scenario
from coin_lightning.errors import JudgeError
from coin_lightning.evaluation.judges.base import Judge
from coin_lightning.evaluation.judges.judging import check_judge
from coin_lightning.metrics.score_matrix import ScoreMatrix
from coin_lightning.quiet import quiet_libraries
from coin_lightning.reporting.experience_log import log_experience
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.plan_table import run_plan
from coin_lightning.reporting.run_artifacts import load_run
from coin_lightning.reporting.terminal import final_summary, matrix_table, run_header
from coin_lightning.reporting.wandb_history import is_open
from coin_lightning.run_files import read_json
from coin_lightning.trust import is_signed, sign
from coin_lightning.whole_files import write_json

SEARCHPATH, SWEPT = "hydra.searchpath=", "hydra.sweep."
"""Of what a sweep tells Hydra: all that its members need when they are run alone, and what may name their folders."""


def train(config: DictConfig, run_path: Path, interruption: Interruption | None = None, last_page: bool = True) -> Path:
    """Run or continue the sequence; returns the path of the report.

    Args:
        config: composed.
        run_path: the run folder.
        interruption: signals that ask the process to end.
        last_page: draw the page behind the last scores, too; if not, somebody else does by `draw`.

    Raises:
        CoinLightningError: a wrong config, unusable data, missing assets, or a run folder of another config.
    """
    quiet_libraries()
    console = Console(quiet=not processes.is_first())  # of several processes one speaks
    resolve(config)
    check_config(config)
    check_claims(config)
    check_places(config, run_path)
    check_processes(config)
    processes.connect()
    scenario = make_scenario(config)
    protocol_of(config).check_learned([task.name for task in scenario.train_tasks.values()])
    run = RunDir(run_path, [task.name for task in scenario.tasks], scenario.training)
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    judge = _judge(config, run, console)
    if not processes.decide(partial(_is_complete, run, resolved, scenario)):
        with run.working():
            processes.decide(partial(run.claim, resolved))
            processes.decide(partial(remove_leftovers, run))
            processes.decide(partial(_keep_command, run, False))
            with run.noting_failure():
                processes.decide(partial(_check_devices, config, scenario, run))
                _continue(config, resolved, scenario, run, console, judge, interruption, last_page)
    elif processes.is_first():
        if leftovers(run):  # of a kill at the very last file
            with run.working(alone=True):
                remove_leftovers(run)
        if _wanted(config):
            add_bounds(run, _wanted(config))
    report = run.path / "report.html"
    if processes.is_first():
        if RunJudge(run, judge).missing():
            with run.working(alone=True):
                _judge_rest(run, judge, console)
        if is_open(run.path):  # also of a row, or of judgements, that a kill has kept from it a moment ago
            with run.working(alone=True):
                complete_wandb(config, resolved, run, partial(warn, console))
        if last_page:
            draw(run.path)
        console.print(final_summary(run.path))
    return report


def draw(run_path: Path) -> None:
    """Write the page of a finished run, unless it is of its last scores."""
    if not is_drawn(run_path):
        write_report(run_path)


def _keep_command(run: RunDir, works: bool) -> None:
    """Note what was typed, so that `runs --rerun-failed` can give it again: the first command, and then every one that
    got as far as to work.
    """
    file = run.path / COMMAND
    if HydraConfig.initialized() and (works or not file.is_file()):
        typed = {"arguments": _typed(), "folder": str(Path.cwd())}
        if not file.is_file() or read_json(file) != typed or not is_signed(file):
            write_json(file, typed)
            sign(file)


def _typed() -> list[str]:
    """Arguments that give this run: of a member of a sweep, by itself."""
    hydra = HydraConfig.get()
    sources = [f"--config-dir={each.path}" for each in hydra.runtime.config_sources if each.provider == "command-line"]
    own = list(hydra.overrides.hydra)
    if hydra.mode == RunMode.MULTIRUN:
        folder = QuotedString(hydra.runtime.output_dir, Quote.single).with_quotes()
        place = [f"hydra.run.dir={folder}"] if any(word.startswith(SWEPT) for word in own) else []
        own = [*(word for word in own if word.startswith(SEARCHPATH)), *place]
    return [*sources, *own, *hydra.overrides.task]


def _check_devices(config: DictConfig, scenario: Scenario, run: RunDir) -> None:
    devices, tasks = processes.world_size(), scenario.train_tasks.values()
    batches = {task.name: task.batch_size * accumulation(config, task) * devices for task in tasks}
    check_devices(run, batches, devices, config.protocol.loss_weighting)


def _is_complete(run: RunDir, resolved: dict[str, Any], scenario: Scenario) -> bool:
    """Whether nothing is left to train and to evaluate in a run of this config; writes nothing.

    Raises:
        RunError: it is complete, but of another config, or of other data.
        DataError: the data are elsewhere now, and there are none.
    """
    if not run.finished() or not run.summary_is_current():
        return False
    run.compare(resolved)
    if not run.has_data_of(resolved):
        scenario.build()
        run.check_data({task.name: {"sha256": task.file_hashes()} for task in scenario.tasks})
    return True


def _wanted(config: DictConfig) -> dict[str, Any]:
    """The bounds that the config names, by kind."""
    bounds: Any = OmegaConf.to_container(config.bounds, resolve=True)
    return {str(kind): runs for kind, runs in bounds.items() if runs is not None}


def _judge(config: DictConfig, run: RunDir, console: Console) -> Judge | None:
    """The configured judge; refused when its name stands for another one in this run."""
    judge: Judge | None = build(config.judge)
    if judge is not None:
        recognise(run, judge, console)
    return judge


def recognise(run: RunDir, judge: Judge, console: Console) -> None:
    """See that a judge is the one whose name it has in a run; one that cannot be asked now is told, for nothing that is
    learned or answered needs it.

    Raises:
        ConfigError: its name stands for another one.
    """
    try:
        check_judge(run.path, judge)
    except JudgeError as error:
        warn(console, f"judge: {error}")


def _judge_rest(run: RunDir, judge: Judge | None, console: Console) -> None:
    """Judge a finished run that another judge, or none, has judged so far; no model of the run is loaded."""

    with console.status("judging"):
        RunJudge(run, judge, warn=partial(warn, console)).rest()
    run.refresh(judge=None if judge is None else judge.name)


def _continue(
    config: DictConfig,
    resolved: dict[str, Any],
    scenario: Scenario,
    run: RunDir,
    console: Console,
    judge: Judge | None,
    interruption: Interruption | None,
    last_page: bool,
) -> None:
    names = config.experiment_name, method_title(config), config.backbone.name
    console.print(
        run_header(*names, config.seed, [task.title for task in scenario.tasks], run.path, scenario.notes, run.training)
    )
    parts = assemble(config, resolved, scenario, run, console, judge, interruption)
    processes.decide(partial(run.claim_model, model_facts(config, parts.module)))
    if wanted := _wanted(config):
        parts.loop.facts["bounds"] = find_bounds(run, wanted, parts.loop.facts)
    _show_plan(config, parts, console)

    def on_row(matrix: ScoreMatrix, row: int) -> None:
        parts.progress.pause()
        written = load_run(run.path)
        console.print(matrix_table(written.matrix, row))
        log_experience(parts.make.loggers, written, row, parts.loop.steps_until(row))
        if last_page or not run.finished():
            write_report(run.path, figures=run.finished())
        report_trial(written.matrix, row)

    parts.loop.on_row = on_row
    processes.decide(partial(_keep_command, run, True))
    try:
        run_sequence(parts.loop, parts.module, parts.make)
    finally:
        parts.progress.pause()
        parts.make.close()


def _show_plan(config: DictConfig, parts: Assembly, console: Console) -> None:
    """Work out what is going to happen, keep it as `plan.json` and print it."""
    train_tasks = parts.scenario.train_tasks
    plan = make_plan(parts.module, train_tasks, lambda task: accumulation(config, task), processes.world_size())
    if processes.is_first():
        write_json(parts.run.path / "plan.json", plan)
    console.print(run_plan(plan))

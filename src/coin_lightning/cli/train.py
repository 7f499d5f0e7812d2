"""`python -m coin_lightning`: train through a scenario, evaluate after every task, write the report."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

# quiet before the libraries are imported: their bars would break ours, and forked loaders need no tokenizer threads
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

import coin_lightning  # noqa: F401  (registers the adapters)
from coin_lightning import processes
from coin_lightning.cli.assembly import Assembly, assemble, make_scenario
from coin_lightning.cli.build import build, check_config, conf_dir
from coin_lightning.cli.config_errors import GROUP_VALUE, explain, understood
from coin_lightning.cli.ending import until_stopped
from coin_lightning.cli.places import check_places, unusable_place
from coin_lightning.cli.sweep import Sweep, is_member
from coin_lightning.cli.trainers import accumulation, check_processes
from coin_lightning.continual.interruption import Interruption
from coin_lightning.continual.loop import run_sequence
from coin_lightning.continual.plan import make_plan
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.run_judge import RunJudge
from coin_lightning.continual.scenario import Scenario
from coin_lightning.errors import CoinLightningError, JudgeError
from coin_lightning.evaluation.judges.base import Judge
from coin_lightning.evaluation.judges.judging import check_judge
from coin_lightning.metrics.score_matrix import ScoreMatrix
from coin_lightning.quiet import quiet_libraries
from coin_lightning.reporting.html import write_report
from coin_lightning.reporting.plan_table import run_plan
from coin_lightning.reporting.published import published_row
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.terminal import final_summary, matrix_table, run_header
from coin_lightning.reporting.wandb_dashboard import log_experience
from coin_lightning.whole_files import write_json


def train(config: DictConfig, run_path: Path, console: Console, interruption: Interruption | None = None) -> Path:
    """Run or continue the sequence; returns the path of the report.

    Args:
        config: composed.
        run_path: the run folder.
        console: where to tell of it.
        interruption: signals that ask the process to end.

    Raises:
        CoinLightningError: a wrong config, unusable data, missing assets, or a run folder of another config.
    """
    quiet_libraries()
    check_config(config)
    check_places(config, run_path)
    check_processes(config)
    processes.connect()
    if config.published is not None:
        published_row(config.published)
    scenario = make_scenario(config)
    run = RunDir(run_path, [task.name for task in scenario.tasks], scenario.learned)
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    judge = _judge(config, run, console)
    if not processes.decide(partial(_is_complete, run, resolved)):
        with run.working():
            processes.decide(partial(run.claim, resolved))
            _continue(config, resolved, scenario, run, console, judge, interruption)
    report = run.path / "report.html"
    if processes.is_first():
        if RunJudge(run, judge).missing():
            with run.working():
                _judge_rest(run, judge, console)
        if not report.exists() or report.stat().st_mtime_ns < (run.path / "matrix.json").stat().st_mtime_ns:
            write_report(run.path)
        console.print(final_summary(run.path))
    return report


def _is_complete(run: RunDir, resolved: dict[str, Any]) -> bool:
    """Whether nothing is left to train and to evaluate in a run of this config; writes nothing.

    Raises:
        RunError: it is complete, but of another config.
    """
    if not run.finished() or not run.summary_is_current():
        return False
    run.claim(resolved)
    return True


def _judge(config: DictConfig, run: RunDir, console: Console) -> Judge | None:
    """The configured judge; refused when its name stands for another one in this run."""
    judge: Judge | None = build(config.judge)
    try:
        if judge is not None:
            check_judge(run.path, judge)
    except JudgeError as error:  # it cannot be asked now; the run does not need it
        console.print(f"judge: {error}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    return judge


def _judge_rest(run: RunDir, judge: Judge | None, console: Console) -> None:
    """Judge a finished run that another judge, or none, has judged so far; no model of the run is loaded."""

    def warn(text: str) -> None:
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    with console.status("judging"):
        RunJudge(run, judge, warn=warn).rest()
    run.refresh(judge=None if judge is None else judge.name)


def _continue(
    config: DictConfig,
    resolved: dict[str, Any],
    scenario: Scenario,
    run: RunDir,
    console: Console,
    judge: Judge | None,
    interruption: Interruption | None,
) -> None:
    names = config.experiment_name, config.method.name, config.backbone.name
    console.print(run_header(*names, config.seed, run.tasks, run.path, scenario.notes, run.learned))
    parts = assemble(config, resolved, scenario, run, console, judge, interruption)
    _show_plan(config, parts, console)

    def on_row(matrix: ScoreMatrix, row: int) -> None:
        parts.progress.pause()
        written = load_matrix(run.path)
        console.print(matrix_table(written, row))
        log_experience(parts.make.loggers, written, row, parts.loop.steps_until(row))
        write_report(run.path, figures=run.finished())

    parts.loop.on_row = on_row
    try:
        run_sequence(parts.loop, parts.module, parts.make)
    finally:
        parts.progress.pause()
        parts.make.close()


def _show_plan(config: DictConfig, parts: Assembly, console: Console) -> None:
    """Work out what is going to happen, keep it as `plan.json` and print it."""
    lessons = parts.scenario.lessons
    plan = make_plan(parts.module, lessons, lambda task: accumulation(config, task), processes.world_size())
    if processes.is_first():
        write_json(parts.run.path / "plan.json", plan)
    console.print(run_plan(plan))


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def _composed(config: DictConfig) -> None:
    work = partial(_run, config, Path(HydraConfig.get().runtime.output_dir))
    if is_member():
        sweep.member(work, _fail)
        return
    try:
        work()
    except (CoinLightningError, OSError) as error:
        _fail(error)  # here, because Hydra would announce the error itself


sweep = Sweep()


def _run(config: DictConfig, run_path: Path) -> None:
    """One run, in this process or in that of a member."""
    interruption = Interruption()
    console = Console(quiet=not processes.is_first())  # of several processes one speaks
    if status := until_stopped(interruption, partial(train, config, run_path, console, interruption)):
        sys.exit(status)


def main() -> None:
    """Command line; exits with status 1 and an explanation when config, data or run folder cannot be used.

    A member of a sweep that fails does not keep the others from running; the status is 1 when all are done.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us, and those of the code keep their traceback
    sys.argv[1:] = understood(sys.argv[1:])
    try:
        _composed()
    except (HydraException, OmegaConfBaseException) as error:
        _fail(explain(error, conf_dir()))
    except ValueError as error:
        if GROUP_VALUE not in str(error):
            raise
        _fail(explain(error, conf_dir()))
    except OSError as error:  # Hydra makes the run's folder
        _fail(error)
    if status := sweep.conclude(Console(stderr=True)):
        sys.exit(status)


def _fail(error: Exception) -> NoReturn:
    """Say what is wrong; an error that is neither deliberate nor one of a place keeps its traceback."""
    told = unusable_place(error) if isinstance(error, OSError) else error
    if not isinstance(told, CoinLightningError):
        raise error
    if not isinstance(told, processes.DecidedElsewhereError):  # the first process says it for all
        Console(stderr=True).print(f"error: {told}", style="red", markup=False, soft_wrap=True, highlight=False)
    sys.exit(1)


if __name__ == "__main__":
    main()

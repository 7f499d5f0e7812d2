"""Checking a data set before a run uses it: what `python -m coin_lightning data verify` does; `data` has its help."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from coin_lightning.backbones.base import Backbone
from coin_lightning.cli.build import build, check_config, resolve
from coin_lightning.cli.config_errors import understood
from coin_lightning.cli.ending import ended
from coin_lightning.cli.pairs import pairs
from coin_lightning.cli.signatures import accepted
from coin_lightning.config_folder import conf_dir
from coin_lightning.continual.interruption import Interruption
from coin_lightning.continual.scenario import Scenario
from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.evaluation.usable_references import unusable
from coin_lightning.quiet import quiet_libraries
from coin_lightning.reporting.data_page import write_data_page
from coin_lightning.reporting.data_tables import count_table, findings_list, verdict
from coin_lightning.reporting.names import duration
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.checks.findings import ERROR, Findings
from coin_lightning.tasks.image_ledger import LEDGER, ImageLedger
from coin_lightning.tasks.verify import TaskReport, verify_task

OK, ERRORS, NOT_CHECKED = 0, 1, 2
EMBEDDED = "coin_mini"
"""Its numbers of samples are in its manifest; no publication has them."""


@dataclass(frozen=True)
class Options:
    """The command's own arguments."""

    output: Path | None = None
    tolerate: tuple[str, ...] = ()
    workers: int | None = None


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status (see `data.VERIFY`)."""

    def command(interruption: Interruption) -> int:
        options, overrides = split_options(arguments)
        config = composed(overrides)
        check_config(config)
        return verify(config, options, Console())

    return ended(command, failure=NOT_CHECKED)


def split_options(arguments: Sequence[str]) -> tuple[Options, list[str]]:
    """The command's own arguments, and Hydra's overrides.

    Raises:
        ConfigError: one of ours has no usable value.
    """
    words = [word for word in arguments if word.partition("=")[0] in OWN]
    own: dict[str, Any] = {key: OWN[key](value) for key, value in pairs(words).items()}
    Findings(own.get("tolerate", ()))  # refuses unknown kinds before anything is read
    return Options(**own), [word for word in arguments if word not in words]


def _workers(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"workers={value}: must be a whole number from 1 on")
    return int(value)


OWN: dict[str, Callable[[str], Any]] = {
    "output": Path,
    "tolerate": lambda value: tuple(filter(None, value.split(","))),
    "workers": _workers,
}


def composed(overrides: Sequence[str]) -> DictConfig:
    """What a run with these overrides would get, all references resolved."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides=understood(list(overrides)), return_hydra_config=True)
    current = HydraConfig.instance()
    before = current.cfg
    try:
        current.set_config(config)  # for `${hydra:runtime.cwd}` in paths
        with open_dict(config):
            OmegaConf.resolve(config.paths)
            del config["hydra"]
        resolve(config)
    finally:
        current.cfg = before
    return config


def text_backbone(config: DictConfig) -> Backbone:
    """The config's backbone; without its weights where its loader can leave them out."""
    names = accepted(get_object(config.backbone._target_))
    without = {"weights": False} if names is not None and "weights" in names else {}
    backbone: Backbone = build(config.backbone, **without)
    return backbone


def verify(config: DictConfig, options: Options, console: Console) -> int:
    """Check all tasks of the config's scenario, print, write the page; returns the exit status.

    Raises:
        CoinLightningError: the data set could not be built, or the tokenizer not be read.
    """
    quiet_libraries()
    start = time.monotonic()
    scenario: Scenario = build(config.scenario)
    with console.status("building the data set, if it is not there yet"):
        scenario.build()
    with console.status("reading the tokenizer"):
        backbone = text_backbone(config)
    ledger = ImageLedger(Path(config.paths.features) / LEDGER)
    tasks = _checked(scenario.tasks, backbone, ledger, scenario.name != EMBEDDED, options, console)
    root = Path(config.data.root)
    report = {
        "scenario": scenario.name,
        "instructions": config.data.instructions,
        "root": str(root),
        "backbone": backbone.name,
        "max_length": backbone.max_length,
        "checked": time.strftime("%Y-%m-%d"),
        "titles": {task.name: task.title for task in scenario.tasks},
        "tasks": [asdict(task) for task in tasks],
    }
    console.print(count_table(report), findings_list(report), Text())
    _write(report, options.output or root / "verify" / f"{config.data.instructions}.html", console)
    console.print(verdict(report), Text(f"in {duration(time.monotonic() - start)}", style="dim"))
    return ERRORS if any(task.levels[ERROR] for task in tasks) else OK


def _checked(
    tasks: Sequence[InstructionTask],
    backbone: Backbone,
    ledger: ImageLedger,
    published: bool,
    options: Options,
    console: Console,
) -> list[TaskReport]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    reports = []
    with Progress(*columns, console=console, transient=True) as bar:
        for task in tasks:
            line = bar.add_task(f"{task.title}: samples", total=None)

            def advance(done: int, total: int, task: InstructionTask = task, line: Any = line) -> None:
                bar.update(line, description=f"{task.title}: images", completed=done, total=total)

            own = options.tolerate, options.workers

            def useless(name: str, samples: Any, references: Any, task: InstructionTask = task) -> list[str]:
                return unusable(Scoring.of(name, task.scoring), samples, references)

            reports.append(verify_task(task, backbone, ledger, published, *own, advance, useless))
            bar.remove_task(line)
    return reports


def _write(report: dict[str, Any], page: Path, console: Console) -> None:
    try:
        write_data_page(report, page)
    except OSError as error:
        console.print(f"page not written ({error}); name another place with output=FILE.html", style="yellow")
        return
    console.print(Text.assemble("page ", (str(page), f"bold link file://{page.resolve()}")), soft_wrap=True)

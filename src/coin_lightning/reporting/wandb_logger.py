"""The W&B run of a sequence: one run, however many tasks, processes and kills.

A fresh Trainer per task counts steps from 0. ``SequenceWandbLogger`` adds the steps of the tasks before, in the field
``sequence_step``, which is the x axis of training; that of scores and forgetting is ``task``. What reaches W&B, and in
which step of its own, is said in `wandb_history`.

The library is imported where it is used: runs that log elsewhere do without.
"""

import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from lightning.pytorch.loggers import WandbLogger

from coin_lightning import processes
from coin_lightning.reporting.experience_log import TASK, judged_scalars
from coin_lightning.reporting.flat_config import flat, hidden, without_secrets
from coin_lightning.reporting.run_artifacts import RunArtifacts, load_run
from coin_lightning.reporting.wandb_files import last_step, mend, wait_until_written
from coin_lightning.reporting.wandb_history import JOURNAL, History, is_open, own_step
from coin_lightning.reporting.wandb_rows import STEP, log_adapter, row_values
from coin_lightning.reporting.wandb_service import resolve_mode
from coin_lightning.whole_files import unwritable, write_json, write_text

AXES = {STEP: ("train/*", "lr-*", "epoch"), TASK: ("score/*", "forgetting/*", "metrics/*", "judge/*")}
"""Axis -> what is drawn over it; of anything else it is W&B's own step."""
SEPARATOR = "/"
DATA = "WANDB_DATA_DIR"
HOMES = {"WANDB_CACHE_DIR": ".cache", "WANDB_CONFIG_DIR": ".config", DATA: ".local/share"}
"""Variable -> where W&B has that folder, below the home."""
LONGEST_NAME = 128
"""Characters of a run's name and group that the server takes."""
PATIENCE = 600
"""Seconds that the end of a run waits for an upload, where `WANDB_FINISH_TIMEOUT` says no others."""
JUDGED = "wandb_judged.json"
"""Beside the journal: which judged values W&B has, by row."""
_histories: WeakKeyDictionary[Any, History] = WeakKeyDictionary()
"""By W&B run: loggers come and go with the tasks, the run stays."""


def init_run(run_dir: Path | str, project: str, config: dict[str, Any], mode: str = "auto", **options: Any) -> Any:
    """Start the W&B run of a run folder, or go on with it when the same command is run again.

    The run's id is kept in ``logs/wandb_id.txt``. Offline, each start makes one more ``offline-run-*`` folder with
    that id under ``logs/wandb``; ``wandb sync`` puts them together in the order of their names, those of killed
    processes mended (`wandb_files`). See ``use_folders`` for what W&B keeps elsewhere.

    Args:
        run_dir: the run folder.
        project: W&B project.
        config: the resolved config. It is shown with the run: flat, its keys joined by slashes, for dots part the keys
            that panels ask for, and without secrets; so is the command line, or else none of it.
        mode: see ``resolve_mode``.
        options: further arguments of ``wandb.init`` (``entity``, ``tags``, ``notes``); ``group`` is the experiment
            and ``name`` what differs, unless they are given.

    Raises:
        ConfigError: unknown mode.
    """
    logs = Path(run_dir) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    use_folders(logs / "wandb")
    mend(logs / "wandb")
    mode = resolve_mode(mode)
    import wandb

    group, name = str(config.get("experiment_name") or ""), run_name(Path(run_dir), config)
    told = {"group": _shortened(group) or None, "name": _shortened(hidden(name))}
    patience: dict[str, Any] = {} if "WANDB_FINISH_TIMEOUT" in os.environ else {"finish_timeout": PATIENCE}
    run = wandb.init(
        project=project,
        id=_run_id(logs / "wandb_id.txt"),
        dir=str(logs),
        config=dict(flat(without_secrets(config), SEPARATOR)),
        mode=mode,  # type: ignore[arg-type]
        resume="allow",  # offline it tells `wandb sync` that the parts are one run
        settings=wandb.Settings(
            x_disable_meta=[hidden(word) for word in sys.argv] != sys.argv, finish_timeout_raises=True, **patience
        ),
        **told | {key: value for key, value in options.items() if value is not None},
    )
    for axis, names in AXES.items():
        run.define_metric(axis, hidden=True)
        for name in names:
            run.define_metric(name, step_metric=axis)
    return run


def run_name(run_dir: Path, config: dict[str, Any]) -> str:
    """What tells a run apart within its experiment, as its folder says it: ``adapter.rank=16 seed_0``."""
    runs = (config.get("paths") or {}).get("runs")
    experiment = Path(str(runs)) / str(config.get("experiment_name"))
    if runs is None or not run_dir.is_relative_to(experiment):
        return run_dir.name
    return " ".join(run_dir.relative_to(experiment).parts) or run_dir.name


def _shortened(name: str) -> str:
    """A long name without its middle: its end has the seed."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"


def use_folders(folder: Path) -> None:
    """Let W&B keep below ``folder`` what it would keep at home, where the home cannot be written to; set ones stay.

    Tables and their images wait among the data until an offline run is synced: they always stay with the run.
    """
    home = Path("~").expanduser()
    for variable, place in HOMES.items():
        with_run = variable == DATA or not home.is_absolute() or unwritable(home / place / "wandb")
        if variable not in os.environ and with_run:
            os.environ[variable] = str((folder / variable.split("_")[1].lower()).absolute())


class SequenceWandbLogger(WandbLogger):
    """Lightning's W&B logger on one run for the whole sequence.

    The run is started at the first use, so composing a config does not touch W&B.

    Args:
        save_dir: the run folder.
        project, mode, config, options: see ``init_run``.
        offset: optimizer steps of the tasks before; Lightning's own step is added to it.
        position: of the experience.
        artifacts: whether adapter folders are given to W&B, too.
        examples: answers of each task in the table of examples; 0: no table.
    """

    merges = True
    """A step may be given again, as `TaskCheckpoint` does."""

    def __init__(
        self, save_dir: Path | str, project: str = "coin_lightning", mode: str = "auto",
        config: dict[str, Any] | None = None, offset: int = 0, position: int = 0, artifacts: bool = True,
        examples: int = 4, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(save_dir=str(save_dir), project=project)
        self.offset, self.position, self.artifacts, self.examples = offset, position, artifacts, examples
        self._start = {"run_dir": save_dir, "project": project, "mode": mode, "config": config or {}, **options}

    @property
    def experiment(self) -> Any:
        """The W&B run (on rank 0; a stand-in that ignores every call elsewhere)."""
        if self._experiment is None and processes.is_first():
            self._experiment = self.history.run
        return super().experiment

    @property
    def history(self) -> History:
        """The steps of the W&B run, which is started and has got what it lacked."""
        import wandb

        if wandb.run is None or wandb.run not in _histories:
            run, folder = wandb.run or init_run(**self._start), Path(self._start["run_dir"])
            logs = folder / "logs"
            given = last_step(logs / "wandb") if run.offline else run.starting_step - 1
            history = _histories[run] = History(run, logs / JOURNAL, given)
            scored = load_run(folder) if (folder / "matrix.json").exists() else None
            if scored is not None and is_open(folder) and not run.offline:
                self._upload_again(history, scored)
            history.catch_up({} if scored is None else self._rows(history, scored))
            if scored is not None and scored.matrix.is_complete:
                self._give_judged(history, scored)
        return _histories[wandb.run]

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log with ``sequence_step`` = ``offset`` + ``step``; without a step together with the next one."""
        if not processes.is_first():
            return
        if step is None:
            self.history.add(metrics, None)
        else:
            place = self.offset + step
            self.history.add({**metrics, STEP: place}, own_step(place, self.position))

    def log_row(self, run: RunArtifacts, row: int, sequence_step: int) -> None:
        """Log a row of the matrix, unless W&B has it; see `wandb_rows`.

        Raises:
            RunError: the row is not in the matrix yet, or records are missing or garbled.
        """
        if not processes.is_first():
            return
        history, step = self.history, own_step(sequence_step, row)
        history.add_row(lambda: self._row(history, run, row, sequence_step), step)
        if run.matrix.is_complete:
            self._give_judged(history, run)

    def _row(self, history: History, run: RunArtifacts, row: int, sequence_step: int) -> dict[str, Any]:
        if self.artifacts and row:
            log_adapter(history.run, run, row)
        _note_judged(history, row, judged_scalars(run.matrix, row), own_step(sequence_step, row))
        return row_values(run, row, sequence_step, self.examples)

    def _give_judged(self, history: History, run: RunArtifacts) -> None:
        """What was judged of a row when W&B had it already: of several processes, the first judges at the end. Behind
        all else, for it takes steps of its own."""
        told = _judged(history)
        for row in run.finished:
            scalars, known = judged_scalars(run.matrix, row), told.get(str(row), {"step": -1, "keys": []})
            there = known["keys"] if known["step"] <= history.given else []  # else it was lost with its process
            if lacking := {key: value for key, value in scalars.items() if key not in there}:
                step = history.given + 1
                history.add_row(partial(dict, lacking, **{TASK: row}), step)
                _note_judged(history, row, scalars, step)

    def _upload_again(self, history: History, run: RunArtifacts) -> None:
        """Adapters of rows that the server has: a lost process may not have got to their files. Those that are there
        it knows by their contents, and asks for nothing."""
        if self.artifacts:
            for row, step in _row_steps(run).items():
                if row and step <= history.given:
                    log_adapter(history.run, run, row)

    def _rows(self, history: History, run: RunArtifacts) -> dict[int, Callable[[], dict[str, Any]]]:
        """What makes the finished rows of the run, by W&B's step."""
        return {step: partial(self._row, history, run, row, step - row) for row, step in _row_steps(run).items()}

    def save(self) -> None:
        """Give W&B what it has not got yet."""
        if processes.is_first():
            self.history.flush()

    def finalize(self, status: str) -> None:
        """As `save`; Lightning's own would look for checkpoints of its own making."""
        self.save()


def _judged(history: History) -> dict[str, dict[str, Any]]:
    """By row, the names of the judged values that W&B has been given, and in which of its steps."""
    file = history.journal.with_name(JUDGED)
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _note_judged(history: History, row: int, scalars: Mapping[str, float], step: int) -> None:
    if scalars:
        entry = {"step": step, "keys": sorted(scalars)}
        write_json(history.journal.with_name(JUDGED), {**_judged(history), str(row): entry})


def _row_steps(run: RunArtifacts) -> dict[int, int]:
    """W&B's step of each finished row."""
    taken = {row: sum(run.training[k].steps for k in run.finished if 0 < k <= row) for row in run.finished}
    return {row: own_step(steps, row) for row, steps in taken.items()}


def finish_run() -> None:
    """End the W&B run of this process, if there is one, in good order; as failed while an exception is on its way.

    Raises:
        TimeoutError: the upload takes too long; the same command again goes on with it.
    """
    wandb: Any = sys.modules.get("wandb")
    if wandb is None or wandb.run is None:
        return
    if (history := _histories.pop(wandb.run, None)) is not None:
        history.flush()
    try:
        wandb.finish(exit_code=int(sys.exc_info()[0] is not None))
    except TimeoutError as error:
        raise TimeoutError("not all was uploaded; what lacks is when the same command is given again") from error
    if history is not None:
        wait_until_written(history.journal.with_name("wandb"))
        history.close()


def _run_id(file: Path) -> str:
    if not file.exists():  # an agent of W&B has a name for the run that it starts
        given = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
        write_text(file, given or secrets.token_hex(4))
    return file.read_text(encoding="utf-8").strip()

"""W&B (and TensorBoard) views of a sequence: one run, one step axis, the matrix as table and picture.

A fresh Trainer per task counts steps from 0. ``SequenceWandbLogger`` adds the steps of the tasks before, in the field
``sequence_step``, which is the x axis of every chart. W&B's own step is the same: a run that is killed and goes on
logs on behind what it has, also in another offline part, and steps that it takes again fall on those it took before.

The library is imported where it is used: runs that log elsewhere do without.
"""

import io
import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from coin_lightning import processes
from coin_lightning.errors import ConfigError
from coin_lightning.reporting.figures import matrix_figure
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.reporting.scalars import experience_scalars
from coin_lightning.reporting.style import png_bytes
from coin_lightning.whole_files import unwritable

STEP = "sequence_step"
HOMES = {"WANDB_CACHE_DIR": ".cache", "WANDB_CONFIG_DIR": ".config", "WANDB_DATA_DIR": ".local/share"}
"""Variable -> where W&B has that folder, below the home."""
MODES = ("auto", "online", "offline", "disabled")


def resolve_mode(mode: str = "auto", timeout: float = 2.0) -> str:
    """``online``, ``offline`` or ``disabled``.

    ``auto`` takes ``WANDB_MODE`` when it is set. Otherwise it goes online only when an API key is known and the server
    accepts a connection within ``timeout`` seconds, so that a machine without network logs offline at once.

    Raises:
        ConfigError: not one of ``MODES``.
    """
    if mode not in MODES:
        raise ConfigError(f"logger mode is {mode!r}; choose one of {', '.join(MODES)}.")
    if mode != "auto":
        return mode
    chosen = os.environ.get("WANDB_MODE", "").lower()
    if chosen:
        return {"dryrun": "offline"}.get(chosen, chosen if chosen in MODES[1:] else "online")
    import wandb

    settings = wandb.Settings()
    has_key = bool(settings.api_key or wandb.api.api_key)
    return "online" if has_key and _answers(str(settings.base_url), timeout) else "offline"


def init_run(run_dir: Path | str, project: str, config: dict[str, Any], mode: str = "auto", **options: Any) -> Any:
    """Start the W&B run of a run folder, or go on with it when the same command is run again.

    The run's id is kept in ``logs/wandb_id.txt``. Offline, each start makes one more ``offline-run-*`` folder with
    that id under ``logs/wandb``; ``wandb sync`` puts them together in the order of their names. What W&B keeps
    in the home folder goes below ``logs/wandb`` where the home cannot be written to.

    Args:
        run_dir: the run folder.
        project: W&B project.
        config: the resolved config, shown with the run.
        mode: see ``resolve_mode``.
        options: further arguments of ``wandb.init`` (``entity``, ``group``, ``tags``, ``name``).

    Raises:
        ConfigError: unknown mode.
    """
    logs = Path(run_dir) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    use_folders(logs / "wandb")
    mode = resolve_mode(mode)
    import wandb

    run = wandb.init(
        project=project,
        id=_run_id(logs / "wandb_id.txt"),
        dir=str(logs),
        config=config,
        mode=mode,  # type: ignore[arg-type]
        resume="allow",  # offline it tells `wandb sync` that the parts are one run
        **options,
    )
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP)
    return run


def use_folders(folder: Path) -> None:
    """Let W&B keep below ``folder`` what it would keep at home, where the home cannot be written to; set ones stay."""
    for variable, place in HOMES.items():
        home = Path("~").expanduser()
        if variable not in os.environ and (not home.is_absolute() or unwritable(home / place / "wandb")):
            os.environ[variable] = str((folder / variable.split("_")[1].lower()).absolute())


class SequenceWandbLogger(WandbLogger):
    """Lightning's W&B logger on one run for the whole sequence.

    Set ``offset`` to the number of optimizer steps of the tasks before; Lightning's own step is added to it. The run is
    started at the first use, so composing a config does not touch W&B.
    """

    def __init__(
        self, save_dir: Path | str, project: str = "coin_lightning", mode: str = "auto",
        config: dict[str, Any] | None = None, offset: int = 0, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(save_dir=str(save_dir), project=project)
        self.offset = offset
        self._start = {"run_dir": save_dir, "project": project, "mode": mode, "config": config or {}, **options}

    @property
    def experiment(self) -> Any:
        """The W&B run (on rank 0; a stand-in that ignores every call elsewhere)."""
        if self._experiment is None and processes.is_first():
            import wandb

            self._experiment = wandb.run if wandb.run is not None else init_run(**self._start)
        return super().experiment

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log with ``sequence_step`` = W&B's own step = ``offset`` + ``step``."""
        if not processes.is_first():
            return
        if step is None:
            self.experiment.log(dict(metrics), commit=False)  # with the next step
        else:
            self.experiment.log({**metrics, STEP: self.offset + step}, step=self.offset + step)


def log_experience(loggers: Iterable[Logger], matrix: RunMatrix, row: int, sequence_step: int) -> None:
    """Give every logger the scalars of a row; W&B also the matrix as table and picture, TensorBoard the picture.

    Args:
        loggers: Lightning loggers (``trainer.loggers``).
        matrix: scores in percent, the row included.
        row: 0 for zero-shot, k for the row after task k.
        sequence_step: optimizer steps taken since the start of the sequence.

    Raises:
        RunError: the row is not in the matrix yet.
    """
    for logger in loggers:
        guard = getattr(logger, "guard", None)
        if guard is None:
            _log_row(logger, matrix, row, sequence_step)
        else:
            guard(_log_row, logger, matrix, row, sequence_step)


def _log_row(logger: Logger, matrix: RunMatrix, row: int, sequence_step: int) -> None:
    if isinstance(logger, WandbLogger):
        log_to_wandb(logger.experiment, matrix, row, sequence_step)
        return
    own_step = sequence_step - getattr(logger, "offset", 0)
    logger.log_metrics({**experience_scalars(matrix, row), "experience": float(row)}, step=own_step)
    if isinstance(logger, TensorBoardLogger):
        pixels = np.asarray(_picture(matrix))
        logger.experiment.add_image("score_matrix", pixels, sequence_step, dataformats="HWC")
    logger.save()


def log_to_wandb(run: Any, matrix: RunMatrix, row: int, sequence_step: int) -> None:
    """Log one row into a W&B run: scalars, ``score_matrix`` (table), ``score_matrix_picture``.

    Raises:
        RunError: the row is not in the matrix yet.
    """
    import wandb

    scalars = experience_scalars(matrix, row)
    values = {
        **scalars,
        "experience": row,
        STEP: sequence_step,
        "score_matrix": wandb_table(matrix),
        "score_matrix_picture": wandb.Image(_picture(matrix), caption=f"after {matrix.title(matrix.rows[row])}"),
    }
    run.log(values, step=sequence_step)


def wandb_table(matrix: RunMatrix) -> Any:
    """The matrix as a W&B table: column ``after``, then one per task; missing cells are None."""
    import wandb

    data = [
        [name, *(None if np.isnan(value) else float(value) for value in scores)]
        for name, scores in zip(matrix.rows, matrix.scores, strict=True)
    ]
    return wandb.Table(columns=["after", *matrix.tasks], data=data)


def _picture(matrix: RunMatrix) -> Image.Image:
    return Image.open(io.BytesIO(png_bytes(matrix_figure(matrix), dpi=110))).convert("RGB")


def _run_id(file: Path) -> str:
    if not file.exists():
        file.write_text(secrets.token_hex(4), encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()


def _answers(url: str, timeout: float) -> bool:
    """Whether the host of ``url`` accepts a TCP connection; through a proxy, whether the proxy does."""
    target = urlparse(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or url)
    if target.hostname is None:
        return False
    try:
        with socket.create_connection((target.hostname, target.port or 443), timeout=timeout):
            return True
    except OSError:
        return False

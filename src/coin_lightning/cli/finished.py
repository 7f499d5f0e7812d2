"""Whether a run is finished, read from its folder alone: neither a model nor the data are looked at.

The same command again is how a run is continued, so it is given again when there is nothing left to do. Then the
answer comes at once, because nothing that the config names is imported.
"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from coin_lightning import processes
from coin_lightning.continual.leftovers import leftovers
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import RunError
from coin_lightning.reporting.wandb_history import is_open
from coin_lightning.run_files import read_config, read_json

ALIKE = ("callbacks", "judge")
"""Groups that change no result, but whose values only their classes can check: here they must be the run's own."""
NO_JUDGE = "coin_lightning.evaluation.judges.base.no_judge"


def is_finished(config: DictConfig, path: Path) -> bool:
    """Whether nothing is left to train, to evaluate, to judge, to draw and to clear away in a run of this config;
    writes nothing.

    False also when W&B was not told all of it, or when that cannot be said for sure: one of several processes, other
    callbacks, another judge or another place of the data than the run was started with, a damaged file. The long way
    then finds out, and has the message.

    Args:
        config: composed; its keys and values are sound.
        path: the run folder.
    """
    if not processes.alone() or not all((path / name).is_file() for name in ("config.yaml", "matrix.json")):
        return False
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    try:
        run = RunDir.open(path)
        bounded = any(resolved["bounds"].values())  # they are read anew
        return (
            not bounded
            and not ("wandb" in resolved["logger"] and is_open(path))
            and _same(run, resolved)
            and _complete(run)
            and _judged(run, resolved["judge"])
            and is_drawn(path)
            and not leftovers(run)
        )
    except RunError:
        return False


def _same(run: RunDir, resolved: dict[str, Any]) -> bool:
    if not run.started():
        return False
    run.compare(resolved)
    stored = read_config(run.path)
    return run.has_data_of(resolved) and all(stored.get(group) == resolved[group] for group in ALIKE)


def _complete(run: RunDir) -> bool:
    return run.finished() and run.summary_is_current()


def _judged(run: RunDir, judge: dict[str, Any]) -> bool:
    """Whether the run's own judge has judged every answer that has a score."""
    if judge["_target_"] == NO_JUDGE:
        return True
    name = run.facts().get("protocol", {}).get("judge")
    for position, scores in run.scores().items():
        file = run.folder(position) / "judged" / f"{name}.json"
        if not file.is_file() or not set(scores["scores"]) <= set(read_json(file)["counts"]):
            return False
    return True


def is_drawn(path: Path) -> bool:
    """Whether the page of a finished run is of its last scores."""
    page = path / "report.html"
    return page.exists() and page.stat().st_mtime_ns >= (path / "matrix.json").stat().st_mtime_ns

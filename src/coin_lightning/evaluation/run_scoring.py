"""The scorers of a run that is there: as its own `config.yaml` has them, or as a newer yaml does."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from coin_lightning.config_folder import conf_dir, task_nodes
from coin_lightning.errors import RunError
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.run_files import read_config
from coin_lightning.trust import check_literal, check_targets

_NODE: dict[str, Any] = {
    "name": str, "version": int, "scorers": {"*": {"_target_": str}}, "parts": {"_target_": str}, "title": str,
    "short": str,
}  # fmt: skip
SHAPE: dict[str, Any] = {
    "scenario": {"tasks": {"*": _NODE}}, "judge": {"_target_": str}, "evaluation": {"*": object},
    "protocol": {"*": object}, "backbone": {"*": object},
}  # fmt: skip
"""What is read of a config beside what its classes take: groups, and types of values; `*` is any key."""
FIELDS = ("title", "short", "version", "scorers", "parts")
"""What a task's yaml says beside the data: nothing that is learned or answered depends on it."""


def scoring_in(config: Mapping[str, Any], task: str) -> Scoring:
    """How a task of a run is scored, by the run's own config; by the package's yaml where that says nothing of it.

    Raises:
        ConfigError: a scorer cannot be built.
    """
    return Scoring.of(task, task_in(config, task))


def newest_scoring(run: Path, tasks: Sequence[str], folders: Sequence[Path]) -> dict[str, Mapping[str, Any]]:
    """What yaml files say of the scoring of a run's tasks: of each task the one with the highest version.

    Args:
        run: the run folder; of equal versions its own config counts, which may have set options of a scorer.
        tasks: of the run.
        folders: config folders, the package's own is always looked into.

    Raises:
        RunError: `config.yaml` cannot be read.
    """
    own = config_of(run)
    found: dict[str, Mapping[str, Any]] = {}
    for task in tasks:
        nodes = [task_in(own, task), *(task_nodes(folder).get(task, {}) for folder in (*folders, conf_dir()))]
        with_scorers = [node for node in nodes if node.get("scorers")]
        newest = max(with_scorers, key=lambda node: int(node.get("version", 1)), default={})
        found[task] = {name: newest[name] for name in FIELDS if newest.get(name) is not None}
    return found


def with_scoring(config: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The config of a run whose tasks say of their scoring what `nodes` say."""
    scenario = config.get("scenario") or {}
    if not scenario.get("tasks"):
        return dict(config)
    tasks = {key: {**node, **nodes.get(node.get("name", key), {})} for key, node in scenario["tasks"].items()}
    return {**config, "scenario": {**scenario, "tasks": tasks}}


def config_of(run: Path) -> dict[str, Any]:
    """Content of `config.yaml`; empty when there is none, as in folders from before it was kept.

    Raises:
        RunError: it cannot be read, is no config of a run, or names code that it may not (`trust`).
    """
    file = run / "config.yaml"
    config = read_config(run) if file.is_file() else {}
    if wrong := [*_misshapen(config, SHAPE)]:
        raise RunError(f"{file}: {'; '.join(wrong)}, so it is no config of a run; restore it")
    check_targets(config, file)
    return config


def plain_config_of(run: Path) -> dict[str, Any]:
    """As `config_of`, for who gives it to OmegaConf.

    Raises:
        RunError: also where something stands for a value that is looked up elsewhere.
    """
    config = config_of(run)
    check_literal(config, run / "config.yaml")
    return config


def _misshapen(node: Any, shape: Any, key: str = "") -> Iterator[str]:
    """What in a config is not of a shape like `SHAPE`; what is absent or null is."""
    kind = Mapping if isinstance(shape, Mapping) else shape
    if node is not None and (not isinstance(node, kind) or (kind is int and isinstance(node, bool))):
        yield f"{key} is {shorten(ascii(node), 80)}"
    elif isinstance(shape, Mapping) and node is not None:
        for name, value in node.items():
            if (inner := shape.get(name, shape.get("*"))) is not None:
                yield from _misshapen(value, inner, f"{key}.{name}" if key else str(name))


def task_in(config: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """What a run's config says of a task; empty where it says nothing."""
    tasks = (config.get("scenario") or {}).get("tasks") or {}
    return next((node for key, node in tasks.items() if node.get("name", key) == task), {})

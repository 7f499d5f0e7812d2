"""Upper bounds out of finished runs: what single-task runs and a joint run reached on the tasks of a sequence.

Intransigence needs the scores of models trained on one task alone, retention those of one trained on all at once (see
`metrics.continual`). They are only bounds of this run if everything but the sequence was alike, which is checked.
"""

import hashlib
from collections.abc import Mapping, Sequence
from glob import glob
from operator import eq
from pathlib import Path
from typing import Any

from coin_lightning.continual.environment import same_data
from coin_lightning.continual.free_keys import is_free
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.evaluation.run_scoring import task_in
from coin_lightning.run_files import read_config, read_json

KINDS = ("individual", "joint")
LEARNING = ("backbone", "method", "objective", "optimizer", "schedule", "trainer")
CLIPPING = ("gradient_clip_val", "gradient_clip_algorithm")
"""Groups of a config, and of the trainer keys, that decide what is learned and stand in no field of the protocol, or
not with all their keys."""
BY_TASK = ("batch", "fraction", "instructions", "global_batch")
"""Fields of a protocol that a task may have for itself."""
OF_THE_SEQUENCE = (
    "name", "order", "evaluation_cells", "train_samples", "test_samples", "test_subset", "global_batch", "judge",
    "judge_variant", "bwt_divisor", "epochs",
)  # fmt: skip
"""Fields of a protocol that a bound may have otherwise: names, counts over all tasks, what concerns no score. Samples
of each task are compared by `subsets.json`, batches by task, epochs by the configs."""


def find_bounds(run: RunDir, wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The `bounds` field of `matrix.json`: by kind the scores by task, versions of the scorers, and their runs.

    Args:
        run: the run that is to be measured; its `subsets.json` is there.
        wanted: `individual`: folders of single-task runs, a pattern or a list of them, together one of each task.
            `joint`: the folder of a joint run. None for a kind that is not wanted.
        facts: of the run (`RunDir.facts`).

    Raises:
        ConfigError: an unknown kind, a folder that is not there, a task without a run or with two.
        RunError: a run is not finished, or not comparable; the message has what differs.
    """
    if unknown := [kind for kind in wanted if kind not in KINDS]:
        raise ConfigError(f"bounds.{unknown[0]}: there is no such bound; use {' or '.join(KINDS)}")
    folders = {kind: _folders(kind, wanted[kind]) for kind in KINDS if wanted.get(kind)}
    return {kind: _bound(run, kind, [RunDir.open(path) for path in found], facts) for kind, found in folders.items()}


def _folders(kind: str, given: Any) -> list[Path]:
    patterns = [str(each) for each in (given if isinstance(given, list) else [given])]
    found = []
    for pattern in patterns:
        # the folders of runs may hold brackets of a list, so a name that is there is no pattern
        names = [pattern] if Path(pattern).is_dir() else sorted(glob(pattern, recursive=True))
        runs = [Path(name) for name in names if Path(name).is_dir()]
        if not runs:
            raise ConfigError(
                f"bounds.{kind}={pattern}: no such run folder; give folders of finished runs, or a pattern"
            )
        found += runs
    return found


def _bound(run: RunDir, kind: str, runs: Sequence[RunDir], facts: Mapping[str, Any]) -> dict[str, Any]:
    scores: dict[str, float] = {}
    for other in runs:
        _check_kind(run, kind, other)
        _check_alike(run, kind, other, facts)
        last = other.scores()[other.positions[-1]]["scores"]
        if twice := [task for task in last if task in scores]:
            raise ConfigError(
                f"bounds.{kind}: {', '.join(twice)} stands in two runs, {other.path} is one; give one each"
            )
        scores |= last
    if absent := [task for task in run.tasks if task not in scores]:
        raise ConfigError(f"bounds.{kind}: no run of {', '.join(absent)} is among them; give one of each task")
    return {
        "scores": {task: scores[task] for task in run.tasks},
        "versions": {task: version for other in runs for task, version in other.versions().items()},
        "runs": [_provenance(other) for other in runs],
    }


def _check_kind(run: RunDir, kind: str, other: RunDir) -> None:
    where = f"bounds.{kind}: {other.path}"
    if imported := [each.path for each in (run, other) if each.is_imported]:
        raise RunError(f"{where}: nobody knows whether the runs are alike, since {imported[0]} was imported")
    if kind == "joint" and other.training != "joint":
        raise RunError(f"{where} is no joint run; make one with scenario.joint=true")
    if kind == "individual" and (other.training != "sequence" or len(other.tasks) != 1):
        raise RunError(f"{where} learned {', '.join(other.tasks)}, not one task alone; use scenario.order=[TASK]")
    if foreign := [task for task in other.tasks if task not in run.tasks]:
        raise RunError(f"{where} has {', '.join(foreign)}, which {run.path} does not have")
    if kind == "joint" and (absent := [task for task in run.tasks if task not in other.tasks]):
        raise RunError(f"{where} did not learn {', '.join(absent)}, which {run.path} did")
    if not other.finished():
        raise RunError(f"{where} is not finished; give its command again")


def _check_alike(run: RunDir, kind: str, other: RunDir, facts: Mapping[str, Any]) -> None:
    """Backbone, method, what learns and how, protocol, samples, data files and scorers; not seed, order and number of
    tasks, and not plugins, which act between tasks."""
    theirs = other.facts()
    lines = _differences({"": {"backbone": facts["backbone"]}}, {"": {"backbone": theirs["backbone"]}})
    lines += _differences(*(_learning(each, other.tasks) for each in (run, other)))
    task = other.tasks[0] if kind == "individual" else None
    lines += _differences(*({"protocol": _compared(each["protocol"], task)} for each in (facts, theirs)))
    for name, what in (("subsets.json", "samples used"), ("environment.json", "data files")):
        ours, there = (_by_task(each.path / name, other.tasks) for each in (run, other))
        lines += [f"  {what} of {task} ({name})" for task in other.tasks if not _same(name, ours[task], there[task])]
    versions = run.versions()
    lines += [
        f"  version of the scorers of {task}: {versions[task]} and {version}"
        for task, version in other.versions().items()
        if versions.get(task, version) != version
    ]
    if lines:
        raise RunError(f"bounds.{kind}: {other.path} is no bound of {run.path}, they differ in\n" + "\n".join(lines))


def _differences(ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"  {f'{group}.' if group else ''}{key}: {mine.get(key)!r} and {theirs[group].get(key)!r}"
        for group, mine in ours.items()
        for key in dict.fromkeys([*mine, *theirs[group]])
        if mine.get(key) != theirs[group].get(key)
    ]


def _learning(run: RunDir, tasks: Sequence[str]) -> dict[str, Any]:
    """What a config says of how is learned, and of these tasks how often they are and how they are answered."""
    config = read_config(run.path) if (run.path / "config.yaml").is_file() else {}
    found = {group: dict(config.get(group) or {}) for group in LEARNING}
    found["trainer"] = {key: value for key, value in found["trainer"].items() if key in CLIPPING}
    for group, node in found.items():
        found[group] = {key: value for key, value in node.items() if not is_free(f"{group}.{key}")}
    return found | {f"scenario.tasks.{task}": _of_task_in(config, task, run.training == "joint") for task in tasks}


def _of_task_in(config: Mapping[str, Any], task: str, joint: bool) -> dict[str, Any]:
    """Passes over the samples of a task, of all tasks at once where they are learned so, and options of its answers but
    for the batch."""
    node = task_in(config, task)
    batches = config["scenario"].get("batches") if joint and config else node.get("batches")
    answers = {f"answers.{key}": value for key, value in (node.get("answers") or {}).items() if key != "batch_size"}
    return {"batches.epochs": (batches or {}).get("epochs"), **answers}


def _compared(protocol: Mapping[str, Any], task: str | None) -> dict[str, Any]:
    """The fields that a bound must share; where it is one of a task alone, with the values of that task."""
    compared = {key: value for key, value in protocol.items() if key not in OF_THE_SEQUENCE}
    return compared if task is None else compared | {key: _of_task(str(protocol.get(key)), task) for key in BY_TASK}


def _of_task(text: str, task: str) -> str:
    """The value of one task in `8`, or in `scienceqa 8, textvqa 16`."""
    listed = dict(part.split(" ", 1) for part in text.split(", ") if " " in part)
    return str(listed.get(task, text))


def _by_task(file: Path, tasks: Sequence[str]) -> dict[str, Any]:
    """Of `subsets.json` the samples, of `environment.json` the data; None where a run kept neither."""
    content = read_json(file) if file.is_file() else {}
    found = content.get("data", {}) if file.name == "environment.json" else content
    return {task: found.get(task) for task in tasks}


def _same(file: str, ours: Any, theirs: Any) -> bool:
    compared = same_data if file == "environment.json" and ours and theirs else eq
    return bool(compared(ours, theirs))


def _provenance(run: RunDir) -> dict[str, Any]:
    """Where a bound is from; of its folder the last two names, the rest is private."""
    config, environment = run.path / "config.yaml", run.path / "environment.json"
    return {
        "run": "/".join(run.path.resolve().parts[-2:]),
        "seed": run.facts().get("seed"),
        "config_sha256": hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else None,
        "git": read_json(environment).get("git") if environment.is_file() else None,
    }

"""Whether runs may be averaged: what a table takes as seeds of one thing must not differ in anything else."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from coin_lightning.continual.bounds import CLIPPING, LEARNING
from coin_lightning.continual.environment import same_data
from coin_lightning.continual.free_keys import is_free
from coin_lightning.errors import ConfigError, RunError, did_you_mean
from coin_lightning.reporting.group_facts import with_owners
from coin_lightning.reporting.overview import MethodGroup, identity
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.results import Entry, differing

DATA, SIZES = "data", "test_samples"
ORDER = "scenario.order"
PLUGIN = "plugin."
"""Which ones there are stands in a group's name, so that values count where all have the plugin."""
SETTINGS = (
    *(f"{group}." for group in LEARNING if group not in ("method", "trainer")), *(f"trainer.{key}" for key in CLIPPING),
    PLUGIN,
)  # fmt: skip
"""How keys begin that decide what is learned, whatever the method."""
ANSWERS = re.compile(r"(?:^|\.)answers\.(?!batch_size)")
"""Of a task how it is answered."""
BACKBONE = "backbone"
TOLD = (
    "backbone.name", "backbone.prompt", "backbone.image_frame", "backbone.starting_weights", "optimizer.lr",
    "schedule._target_",
)  # fmt: skip
"""Those of them that a field of the protocol tells."""
Difference = tuple[str, RunMatrix, Any, RunMatrix, Any]
"""A field, and two runs with their values of it."""


def check_averages(groups: Sequence[MethodGroup], allowed: Collection[str]) -> None:
    """See that the runs of each group differ in seed and order only, and in what is allowed.

    Beyond the protocol fields by which runs are grouped (`group_by_method`), their configs are compared, the hashes of
    their data files and the numbers of their test samples.

    Raises:
        RunError: they do not; with every field, both values and the two runs.
        ConfigError: a name that is allowed is no field of any of the runs.
    """
    if allowed:
        _check_names(groups, allowed)
    lines = [
        f"{group.label}: {name} is {mine!r} in {_name(run)} and {theirs!r} in {_name(other)}"
        for group in groups
        for name, run, mine, other, theirs in _differences(group.runs)
        if not _is_allowed(name, allowed)
    ]
    if lines:
        fields = ",".join(dict.fromkeys(line.split(": ", 1)[1].split(" ")[0] for line in lines))
        raise RunError("\n".join([
            "Runs that would be averaged as seeds of one method differ in more than seed and order:", *lines,
            f"Give a report to each kind, or average over all the same with --allow {fields}",
        ]))  # fmt: skip


def untold_differences(groups: Sequence[MethodGroup]) -> list[str]:
    """Lines that say in what groups differ beside their methods and the fields of the protocol: settings of the config,
    and the data files. Backbones of unlike names have settings, and unlike instructions files: not told.

    Args:
        groups: of runs that may be averaged (`check_averages`), so that the first stands for all.
    """
    firsts = {group.label: _Recorded.of(group.runs[0]) for group in groups}
    fields = [identity(group.runs[0]) for group in groups]
    shared = {name for name in fields[0] if len({each.get(name) for each in fields}) == 1}
    entries = {name: each.entry for name, each in firsts.items() if each.entry and each.entry.config}
    lines = [
        f"{key}: {_by_value({name: str(entry.config.get(key)) for name, entry in entries.items()})}"
        for key in differing(list(entries.values()))
        if _decides(key)
        and key not in TOLD
        and (BACKBONE in shared or not key.startswith(BACKBONE))
        and not (key.startswith(PLUGIN) and any(key not in entry.config for entry in entries.values()))
    ]
    if not {"scenario", "instructions"} <= shared:
        return lines
    for task in dict.fromkeys(task for each in firsts.values() for task in each.data):
        known = {name: each.data[task] for name, each in firsts.items() if task in each.data}
        if not all(same_data(one, other) for one, other in combinations(known.values(), 2)):
            files = {name: _short(_hashes(entry)) for name, entry in known.items()}
            lines.append(f"{DATA}.{task}: {_by_value(files)}")
    return lines


def _decides(key: str) -> bool:
    """Whether a key decides what is learned or answered, whatever the method."""
    return bool(key.startswith(SETTINGS) or ANSWERS.search(key)) and not is_free(key)


def _by_value(found: Mapping[str, str]) -> str:
    names: dict[str, list[str]] = {}
    for name, value in found.items():
        names.setdefault(value, []).append(name)
    return with_owners(names)


def _short(hashes: Mapping[str, str]) -> str:
    return ", ".join(f"{file} {str(digest)[:8]}" for file, digest in sorted(hashes.items()))


def _hashes(entry: Mapping[str, Any]) -> dict[str, str]:
    """All that is known of a task's data, by name."""
    images = entry.get("images") or {}
    return {**entry["sha256"], **{f"images of {split}": digest for split, digest in images.items()}}


def _differences(runs: Sequence[RunMatrix]) -> Iterator[Difference]:
    (first, *others) = [_Recorded.of(run) for run in runs]
    for other in others:
        if first.entry and other.entry and first.entry.config and other.entry.config:
            for key in differing([first.entry, other.entry]):
                yield key, first.run, first.entry.config.get(key), other.run, other.entry.config.get(key)
        for task in (task for task in first.data if task in other.data):
            mine, theirs = first.data[task], other.data[task]
            if not same_data(mine, theirs):
                yield f"{DATA}.{task}", first.run, _hashes(mine), other.run, _hashes(theirs)
        for task in (task for task in first.sizes if task in other.sizes):
            if first.sizes[task] != other.sizes[task]:
                yield f"{SIZES}.{task}", first.run, first.sizes[task], other.run, other.sizes[task]


@dataclass(frozen=True)
class _Recorded:
    """What a run says of itself: its config, and by task what it read (see `InstructionTask.describe`) and how many
    answers were scored last."""

    run: RunMatrix
    entry: Entry | None
    data: dict[str, Any]
    sizes: dict[str, int]

    @classmethod
    def of(cls, run: RunMatrix) -> "_Recorded":
        """Reads `config.yaml` and `environment.json`; a matrix by itself, or an older run, says less."""
        data = {} if run.folder is None else RunArtifacts.of(run).environment.get("data", {})
        known = {task: each for task, each in data.items() if isinstance(each, dict) and each.get("sha256")}
        last = run.counts[run.last] if run.last >= 0 else ()
        sizes = {task: int(count) for task, count in zip(run.tasks, last, strict=False) if count}
        entry = None if run.folder is None else Entry(run.folder, "finished", matrix=run)
        return cls(run, entry, known, sizes)


def _is_allowed(name: str, allowed: Collection[str]) -> bool:
    return name == ORDER or any(each == name or each in name.split(".") for each in allowed)


def _check_names(groups: Sequence[MethodGroup], allowed: Collection[str]) -> None:
    runs = [run for group in groups for run in group.runs]
    known = {DATA, SIZES, *(field for run in runs for field in identity(run))}
    for folder in (run.folder for run in runs if run.folder is not None):
        for key in Entry(folder, "finished").config:
            known |= {key, *key.split(".")}
    for name in allowed:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"--allow {name}: no field of these runs{hint and '; ' + hint}")


def _name(run: RunMatrix) -> str:
    return f"{run.experiment if run.folder is None else run.folder} (seed {run.seed})"

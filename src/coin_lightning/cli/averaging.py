"""Whether runs may be averaged: what a table takes as seeds of one thing must not differ in anything else."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from coin_lightning.errors import ConfigError, RunError, did_you_mean
from coin_lightning.reporting.overview import MethodGroup, identity
from coin_lightning.reporting.run_artifacts import RunArtifacts
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.results import Entry, differing

DATA, SIZES = "data", "test_samples"
ORDER = "scenario.order"
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
            f"Compare them apart (give them another experiment_name), or average over it with --allow {fields}",
        ]))  # fmt: skip


def _differences(runs: Sequence[RunMatrix]) -> Iterator[Difference]:
    first, *others = runs
    for other in others:
        entries = [Entry(run.folder, "finished", matrix=run) for run in (first, other) if run.folder is not None]
        if len(entries) == 2 and all(entry.config for entry in entries):
            ours, theirs = (entry.config for entry in entries)
            yield from ((key, first, ours.get(key), other, theirs.get(key)) for key in differing(entries))
        pairs = ((DATA, _hashes), (SIZES, _sizes))
        for field, of in pairs:
            mine, his = of(first), of(other)
            for task in (task for task in first.tasks if task in mine and task in his):
                if mine[task] != his[task]:
                    yield f"{field}.{task}", first, mine[task], other, his[task]


def _hashes(run: RunMatrix) -> dict[str, Any]:
    """By task the hashes of its data files; of runs that kept none, nothing."""
    entries = {} if run.folder is None else RunArtifacts.of(run).environment.get("data", {})
    return {task: entry["sha256"] for task, entry in entries.items() if isinstance(entry, dict) and entry.get("sha256")}


def _sizes(run: RunMatrix) -> dict[str, Any]:
    last = run.counts[run.last] if run.last >= 0 else ()
    return {task: int(count) for task, count in zip(run.tasks, last, strict=False) if count}


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

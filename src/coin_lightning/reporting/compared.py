"""Several runs grouped and tested: what a comparison knows before anything of it is shown."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from coin_lightning.errors import ConfigError, RunError
from coin_lightning.reporting.group_facts import averaged_over, kept_apart, unlike
from coin_lightning.reporting.overview import MethodGroup, group_by_method, metric_keys
from coin_lightning.reporting.paired_tests import BaselineTests, find_baseline, paired_tests, power_line, power_of
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.reporting.sample_scores import Questions, SampleReader, with_records


@dataclass(frozen=True)
class Compared:
    """Runs of the same tasks, in whatever order.

    Attributes:
        groups: what is averaged, over all orders. orders: of the tasks, in order of first appearance.
        read: of the records; None where they are not all there, or are not to be read. samples: the same for what needs
            scores of single answers in every task; None where one has none.
        baseline: what was asked for. tests: of all other groups against it; empty without one.
        power: what the test sets can tell apart, in a sentence.
        notes: what readers must know of the averages.
        apart: in what groups of one method differ.
    """

    groups: list[MethodGroup]
    orders: list[tuple[str, ...]]
    read: SampleReader | None
    samples: SampleReader | None
    baseline: str | None
    tests: list[BaselineTests]
    power: str
    notes: list[str]
    apart: list[str]

    @property
    def several(self) -> bool:
        """Whether there is more than one order."""
        return len(self.orders) > 1

    @property
    def reference(self) -> str | None:
        """Label of the group that others were tested against; None where nothing was tested."""
        return self.tests[0].baseline if self.tests else None


def compare(
    runs: Sequence[RunMatrix], baseline: str | None = None, allowed: Collection[str] = (), records: bool = True
) -> list[Compared]:
    """Group runs and test them; nothing is written.

    Args:
        runs: of any methods, orders and seeds.
        baseline: name of the group that all others are tested against, see `find_baseline`.
        allowed: fields over which runs may be averaged, see `group_by_method`.
        records: read the answers of the runs; without them there are no tests, intervals and flips.

    Returns:
        one for each set of tasks.

    Raises:
        RunError: no runs; scored by unlike versions; two runs of a group have one seed and order; records that are
            missing or do not belong together.
        ConfigError: `baseline` names no group, several, or cannot be tested against.
    """
    if not runs:
        raise RunError("No runs given; name at least two run folders.")
    check_versions(runs)
    return [_compared(members, baseline, allowed, records) for members in same_tasks(runs)]


def same_tasks(runs: Sequence[RunMatrix]) -> list[list[RunMatrix]]:
    """Runs with the same tasks in whatever order together, in order of first appearance."""
    sets: dict[frozenset[str], list[RunMatrix]] = {}
    for run in runs:
        sets.setdefault(frozenset(run.tasks), []).append(run)
    return list(sets.values())


def _compared(runs: list[RunMatrix], baseline: str | None, allowed: Collection[str], records: bool) -> Compared:
    groups = group_by_method(runs, allowed)
    missing = [run for run in runs if not with_records(run)]
    read = SampleReader() if records and not missing else None
    notes = averaged_over(groups, allowed)
    if lines := unlike(groups):
        notes.append("The methods differ in more than the method: " + "; ".join(lines) + ".")
    if len(set(map(_orders, groups))) > 1:
        notes.append(
            "Not every method was run equally often in every order of the tasks: means over all runs (the plane, cost) "
            "are of unlike orders. Tables of one order and paired tests are not touched by that."
        )
    if not metric_keys(groups):
        tasks = runs[0].tasks
        without = sum(all(np.isnan(run.scores[:, run.tasks.index(task)]).all() for run in runs) for task in tasks)
        notes.append(f"No metric is defined: {without} of {len(tasks)} tasks have no scores." if without else
                     "No metric is defined: scores that the formulas need are missing.")  # fmt: skip
    if records and missing:
        notes.append(
            f"The answers of {len(missing)} of {len(runs)} runs are not there (records/ in their folders), first of "
            f"{_name(missing[0])}: no tests, no intervals and no flips."
        )
    reference = groups[0] if baseline is None else find_baseline(groups, baseline)
    obstacles = [] if read is None else _unpaired(runs, read)
    notes += obstacles
    samples = None if obstacles else read
    if baseline is not None and samples is None:
        why = " ".join(notes) or "leave out --no-records"
        raise ConfigError(f"--baseline {baseline!r}: tests need scores of all single answers. {why}")
    tests = [] if baseline is None or samples is None else paired_tests(groups, reference, samples)
    if baseline is not None and not tests:
        unknown = any(run.seed is None for run in runs)
        notes.append(
            "Nothing was tested: runs are paired by seed, and the seeds of imported runs are unknown."
            if unknown
            else f"Nothing was tested: no two finished runs share seed and order, one of them {reference.label}."
        )
    power = "" if samples is None else _power(groups, reference, tests, samples)
    orders = list(dict.fromkeys(run.tasks for run in runs))
    return Compared(groups, orders, read, samples, baseline, tests, power, notes, kept_apart(groups, allowed))


def _orders(group: MethodGroup) -> frozenset[tuple[tuple[str, ...], Fraction]]:
    """The orders of a group's runs, each with its share."""
    counts = Counter(run.tasks for run in group.runs)
    return frozenset((order, Fraction(count, len(group.runs))) for order, count in counts.items())


def _power(groups: list[MethodGroup], reference: MethodGroup, tests: list[BaselineTests], read: SampleReader) -> str:
    if not tests:
        return power_line(groups, reference, read)
    return power_of(reference.label, [line.difference.error for line in tests[0].lines if line.difference is not None])


def _unpaired(runs: Sequence[RunMatrix], read: SampleReader) -> list[str]:
    """Why the latest answers of the runs cannot be compared one by one, as notes; empty when they can."""
    corpus, questions = set(), dict[str, set[Questions]]()
    for run in runs:
        for task, score in zip(run.tasks, run.final, strict=True):
            if np.isnan(score):
                continue  # an unfinished run
            found = read(run, run.last, task)
            if found is None:
                corpus.add(task)
            else:
                questions.setdefault(task, set()).add(found.questions)
    unlike = [task for task, found in questions.items() if len(found) > 1]
    reasons = {
        "scored over all answers together": sorted(corpus),
        "the runs have other test samples, or other rules for them": unlike,
    }
    return [
        f"{', '.join(map(runs[0].title, tasks))}: {reason}: no tests and no intervals."
        for reason, tasks in reasons.items() if tasks
    ]  # fmt: skip


def _name(run: RunMatrix) -> str:
    return f"{run.experiment} ({run.method_title}, seed {run.seed})"


def split_by_tasks(runs: Sequence[RunMatrix]) -> list[list[RunMatrix]]:
    """Runs with the same tasks in the same order together, in order of first appearance.

    Raises:
        RunError: two runs were scored by unlike versions of a task's scorers.
    """
    check_versions(runs)
    found: dict[tuple[str, ...], list[RunMatrix]] = {}
    for run in runs:
        found.setdefault(run.tasks, []).append(run)
    return list(found.values())


def check_versions(runs: Sequence[RunMatrix]) -> None:
    """Scores by unlike versions of a task's scorers are not put beside each other.

    Raises:
        RunError: two runs have some.
    """
    first: dict[str, RunMatrix] = {}
    for run in runs:
        for task, version in run.versions.items():
            other = first.setdefault(task, run)
            if version != other.versions[task]:
                raise RunError(
                    f"{task}: {run.experiment} (seed {run.seed}) was scored by version {version} of its scorers, "
                    f"{other.experiment} (seed {other.seed}) by {other.versions[task]}; score the older one again: "
                    "python -m coin_lightning score RUN"
                )

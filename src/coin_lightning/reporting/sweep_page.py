"""The page of a sweep: what is swept against what came out, as a table, heat maps and forgetting curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from coin_lightning.reporting.compared import split_by_tasks
from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.html import template
from coin_lightning.reporting.names import MISSING
from coin_lightning.reporting.overview import HEADLINES, best, forgetting_overview, group_by_method, parts
from coin_lightning.reporting.rendering import svg
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.whole_files import write_text

MAPPED = ("acc", "forgetting")


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        values: what it differs in, as text by short name, seeds aside.
        state: how far it is.
        matrix: None before its first scores.
        href: its page, relative to that of the sweep.
        reason: why it failed or cannot be run.
    """

    values: Mapping[str, str]
    state: str
    matrix: RunMatrix | None = None
    href: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Combination:
    """Members that differ in their seed alone."""

    values: Mapping[str, str]
    members: list[Member] = field(default_factory=list)

    def numbers(self, key: str) -> list[float]:
        """A metric of all finished members that have it."""
        done = [member.matrix for member in self.members if member.matrix is not None and member.matrix.is_complete]
        return [float(value) for matrix in done if (value := matrix.metrics.get(key)) is not None]

    def text(self, key: str) -> str:
        """Mean and standard deviation (n - 1) over seeds."""
        found = self.numbers(key)
        if not found:
            return MISSING
        mean = explain(key).show(float(np.mean(found)))
        return f"{mean} ±{np.std(found, ddof=1):.1f}" if len(found) > 1 else mean


@dataclass(frozen=True)
class HeatMap:
    """Mean of a metric over all members that share two values.

    Attributes:
        cells: per row of text and strength (0 to 1) of the cell; no strength where nothing is finished.
    """

    title: str
    down: str
    across: str
    rows: list[str]
    columns: list[str]
    cells: list[list[tuple[str, float | None]]]


def combinations(members: Sequence[Member]) -> list[Combination]:
    """Members by their values, in order of first appearance."""
    found: dict[tuple[tuple[str, str], ...], Combination] = {}
    for member in members:
        found.setdefault(tuple(member.values.items()), Combination(member.values)).members.append(member)
    return list(found.values())


def heat_maps(groups: Sequence[Combination]) -> list[HeatMap]:
    """A map for each of `MAPPED` over every pair of swept keys; none where fewer than two are swept."""
    swept = [name for name in _names(groups) if len({group.values.get(name) for group in groups}) > 1]
    pairs = [(a, b) for place, a in enumerate(swept) for b in swept[place + 1 :]]
    return [_heat_map(groups, key, *pair) for pair in pairs for key in MAPPED]


def _heat_map(groups: Sequence[Combination], key: str, down: str, across: str) -> HeatMap:
    rows, columns = (_ordered({group.values.get(name, MISSING) for group in groups}) for name in (down, across))
    means = np.full((len(rows), len(columns)), np.nan)
    for at, row in enumerate(rows):
        for place, column in enumerate(columns):
            found = [
                number
                for group in groups
                if (group.values.get(down, MISSING), group.values.get(across, MISSING)) == (row, column)
                for number in group.numbers(key)
            ]
            means[at, place] = np.mean(found) if found else np.nan
    return HeatMap(explain(key).label, down, across, rows, columns, [list(_cells(key, line, means)) for line in means])


def _cells(key: str, line: np.ndarray, means: np.ndarray) -> Iterator[tuple[str, float | None]]:
    known = means[~np.isnan(means)]
    for value in line:
        if np.isnan(value):
            yield MISSING, None
        else:
            span = float(known.max() - known.min())
            yield explain(key).show(float(value)), float((value - known.min()) / span) if span else 0.5


def _ordered(values: set[str]) -> list[str]:
    """Numbers by size, before words in their order."""

    def rank(value: str) -> tuple[bool, float, str]:
        try:
            return False, float(value), value
        except ValueError:
            return True, 0.0, value

    return sorted(values, key=rank)


def _names(groups: Sequence[Combination]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group.values))


def write_sweep(title: str, members: Sequence[Member], total: int, file: Path, notes: Sequence[str] = ()) -> None:
    """Write the page.

    Args:
        title: for its head.
        members: those known so far.
        total: how many there will be.
        file: the page.
        notes: lines above all else.
    """
    groups = combinations(members)
    matrices = [
        replace(member.matrix, protocol=dict(member.values))  # what tells them apart in a figure
        for member in members
        if member.matrix is not None and member.matrix.is_complete
    ]
    orders = [group_by_method(runs) for runs in split_by_tasks(matrices)]
    curves = [(len(best(each)), len(each), [svg(forgetting_overview(part)) for part in parts(best(each))])
              for each in orders]  # fmt: skip
    page = template("sweep.html.j2").render(
        title=title,
        total=total,
        names=_names(groups),
        groups=groups,
        shown=[(key, explain(key)) for key in HEADLINES],
        maps=heat_maps(groups),
        curves=curves,
        failed=[member for member in members if member.reason],
        finished=len(matrices),
        notes=[*notes, *dict.fromkeys(note for matrix in matrices for note in matrix.notes)],
    )
    write_text(file, page)

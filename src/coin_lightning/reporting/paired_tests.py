"""Every method against a baseline: paired differences, Holm's correction, and in words what is sure and what is not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from coin_lightning.errors import ConfigError, did_you_mean
from coin_lightning.metrics.image_clusters import FEWEST_IMAGES, detectable
from coin_lightning.metrics.paired import PairedDifference, holm, least_p, pairs_needed
from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.names import MISSING, signed
from coin_lightning.reporting.overview import MethodGroup
from coin_lightning.reporting.paired_runs import QUANTITIES, paired_errors, paired_runs
from coin_lightning.reporting.paper_tables import Cell, PaperTable
from coin_lightning.reporting.sample_scores import SampleReader

SURE = 0.05
"""p from which on a difference is not called sure."""


@dataclass(frozen=True)
class GroupTest:
    """One group against the baseline.

    Attributes:
        label: of the group.
        difference: group minus baseline; None where no two finished runs share seed and order, or the metric is not
            defined.
        adjusted: p after Holm's correction over the groups.
        verdict: what it says, in words.
    """

    label: str
    difference: PairedDifference | None
    adjusted: float
    verdict: str

    @property
    def interval(self) -> str:
        """Ends of the interval over images; an en dash without one."""
        ends = () if self.difference is None else self.difference.images
        return MISSING if not ends or np.isnan(ends).any() else " to ".join(map(signed, ends))


@dataclass(frozen=True)
class BaselineTests:
    """All groups against the baseline in one metric; `least` says which p was possible at all."""

    key: str
    baseline: str
    lines: list[GroupTest]
    least: str


def find_baseline(groups: Sequence[MethodGroup], name: str) -> MethodGroup:
    """The group that a name means: its whole label, or its method's key or title if no other group has that.

    Raises:
        ConfigError: none or several do.
    """
    for names in (lambda g: {g.label}, lambda g: {g.runs[0].method, g.runs[0].method_title}):
        found = [group for group in groups if name.casefold() in {each.casefold() for each in names(group)}]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"--baseline {name!r} means {len(found)} of the compared groups; give one of "
                + ", ".join(repr(group.label) for group in found)
            )
    known = [group.label for group in groups]
    hint = did_you_mean(name, [*known, *(group.runs[0].method for group in groups)])
    raise ConfigError(f"--baseline {name!r} is none of the compared groups{hint and '; ' + hint}; there are "
                      + ", ".join(map(repr, known)))  # fmt: skip


def paired_tests(groups: Sequence[MethodGroup], baseline: MethodGroup, read: SampleReader) -> list[BaselineTests]:
    """Tests of all other groups in each metric of `QUANTITIES` that some pair of runs defines.

    Raises:
        RunError, DataError: as `paired_runs`.
    """
    others = [group for group in groups if group is not baseline]
    found = []
    for key in QUANTITIES:
        differences = paired_runs([group.runs for group in others], baseline.runs, key, read)
        known = [each for each in differences if each is not None]
        if known:
            adjusted = iter(holm([each.p for each in known]))
            lines = [_line(key, group, each, adjusted) for group, each in zip(others, differences, strict=True)]
            found.append(BaselineTests(key, baseline.label, lines, _least(known)))
    return found


def _line(key: str, group: MethodGroup, difference: PairedDifference | None, adjusted: Iterator[float]) -> GroupTest:
    if difference is None:
        return GroupTest(group.label, None, np.nan, f"not compared: {_obstacle(key, group)}")
    p = next(adjusted)
    return GroupTest(group.label, difference, p, _verdict(difference, p))


def _obstacle(key: str, group: MethodGroup) -> str:
    if key != "acc" and group.runs[0].training != "sequence":
        return "only runs that learn one task after the other have this metric"
    if any(run.seed is None for run in group.runs):
        return "nobody knows the seeds of imported runs"
    return "no two finished runs share seed and order of tasks"


def _verdict(difference: PairedDifference, adjusted: float) -> str:
    low, high = difference.images
    if np.isnan(low):
        return f"nothing can be said: a task shows fewer than {FEWEST_IMAGES} test images"
    if not any(difference.runs) and low == high == 0:
        return "no difference on any average: nothing to test"
    over_images, over_runs = low > 0 or high < 0, adjusted <= SURE
    side = "higher" if difference.mean > 0 else "lower"
    if over_images and over_runs:
        return f"{side}; neither other test images nor another training run is likely to turn it round"
    if over_images:
        return f"{side} with these very runs, whatever the test images; whether other seeds would agree is not shown"
    if over_runs:
        return f"{side} in these runs more regularly than by chance, but other test images could turn it round"
    return "not told apart: that is no proof that they are equal"


def _least(known: Sequence[PairedDifference]) -> str:
    """Which p is possible at all with so many pairs of runs and comparisons."""
    count, pairs = len(known), max(len(each.runs) for each in known)
    least = min(1.0, count * least_p(pairs))
    corrected = f", {least:.2g} after correction over {count} groups" if count > 1 else ""
    runs = f"With {pairs} pair{'s' if pairs > 1 else ''} of runs"
    text = f"{runs} the least possible p is {least_p(pairs):.2g}{corrected}"
    if least > SURE:
        return (
            f"{text}: no difference could come out significant at 5 %, however large. "
            f"{pairs_needed(count)} pairs of runs would be needed."
        )
    return f"{text}."


def as_tables(tests: Sequence[BaselineTests]) -> list[PaperTable]:
    """The tests as tables: difference with its interval over images, p, p after correction; `seeds` are pairs."""
    heads = ["method", "difference", "p", "p (Holm)"]
    return [
        PaperTable(
            f"{explain(each.key).label} minus that of {each.baseline}, paired",
            heads,
            [(f"{line.label} ({len(line.difference.runs)} pairs)", _cells(line.difference, line.adjusted))
             for line in each.lines if line.difference is not None],
        )
        for each in tests
    ]  # fmt: skip


def _cells(difference: PairedDifference, adjusted: float) -> list[Cell]:
    count = len(difference.runs)
    points = Cell(difference.mean, np.nan, count, signed(difference.mean), *difference.images)
    return [points, *(Cell(p, np.nan, count, f"{p:.2g}") for p in (difference.p, adjusted))]


def power_line(groups: Sequence[MethodGroup], reference: MethodGroup, read: SampleReader) -> str:
    """How small a true difference of final accuracy these test sets can show, in a sentence; empty for one group.

    Raises:
        RunError, DataError: as `paired_runs`.
    """
    others = [group.runs for group in groups if group is not reference]
    return power_of(reference.label, paired_errors(others, reference.runs, "acc", read))


def power_of(reference: str, errors: Sequence[float]) -> str:
    """The sentence of `power_line`, from errors of differences that are there already."""
    points = sorted(detectable(error) for error in errors if error > 0)
    if not points:
        return ""
    one = f"{points[0]:.1f}"
    span = one if f"{points[-1]:.1f}" == one else f"{one} to {points[-1]:.1f}"
    return (
        f"These test sets can tell {span} points of final accuracy apart: a true difference from {reference} of that "
        "size is found with 80 % probability at the 5 % level over other test images (a smaller one is missed more "
        "often). What another seed changes comes on top."
    )

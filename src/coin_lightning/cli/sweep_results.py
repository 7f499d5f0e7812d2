"""What a sweep has found so far: the table in the terminal, and its page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from coin_lightning.cli.run_names import key_of
from coin_lightning.cli.runs_table import short_keys, show
from coin_lightning.cli.sweep_plan import SweepPlan
from coin_lightning.reporting.sweep_page import Member, write_sweep
from coin_lightning.results import describe

SEED = "seed"
LONGEST = 86
"""Characters of the page's name."""


def show_table(folders: Sequence[Path], page: Path) -> None:
    """All members one below the other, and where their page is."""
    entries, console = [describe(folder) for folder in folders if folder.is_dir()], Console()
    if entries:
        show(entries, console)
    if page.is_file():
        console.print(f"report  {page}", markup=False, highlight=False, soft_wrap=True)


def page_of(place: Path, plan: SweepPlan) -> Path:
    """The sweep's page in its folder, named after what is swept; that of one member, named again and again, is not."""
    return place / f"{'_'.join(['sweep', *_names(plan).values()]).replace('/', '-')[:LONGEST]}.html"


def _names(plan: SweepPlan) -> dict[str, str]:
    """What is swept, by key as short as tells keys apart."""
    swept = list(dict.fromkeys(key_of(word) for words in plan.members for word in plan.own(words)))
    return dict(zip(swept, short_keys(swept), strict=True))


def write_page(
    place: Path,
    folders: Mapping[tuple[str, ...], Path],
    plan: SweepPlan,
    failed: Mapping[tuple[str, ...], str],
    notes: Sequence[str] = (),
) -> Path:
    """Write the sweep's page beside its runs.

    Args:
        place: folder of the sweep.
        folders: of the members that have run, by their overrides; of a refused one it is not its own.
        plan: all members.
        failed: why some failed, by their overrides.
        notes: lines above all else.
    """
    names, file = _names(plan), page_of(place, plan)
    members = [
        _member(words, folders.get(words), plan, names, place, plan.impossible.get(words) or failed.get(words, ""))
        for words in dict.fromkeys(plan.members)  # one may be named twice
        if words in folders or words in plan.impossible or words in failed
    ]
    write_sweep(", ".join(names.values()), members, plan.count, file, notes)
    return file


def _member(
    words: tuple[str, ...], folder: Path | None, plan: SweepPlan, names: Mapping[str, str], place: Path, reason: str
) -> Member:
    values = {names[key_of(word)]: word.partition("=")[2] for word in plan.own(words) if key_of(word) != SEED}
    if folder is None or not folder.is_dir():
        return Member(values, "impossible" if words in plan.impossible else "failed", reason=reason)
    entry, page = describe(folder), folder / "report.html"
    href = Path(os.path.relpath(page, place)).as_posix() if page.is_file() else ""
    why = reason or ("" if entry.state == "ended early" else entry.reason)  # that is no failure
    return Member(values, "failed" if reason else entry.state, entry.matrix, href, why)

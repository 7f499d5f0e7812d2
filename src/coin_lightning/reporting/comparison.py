"""``comparison.html`` and PNG figures about several runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coin_lightning.errors import RunError
from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.html import template
from coin_lightning.reporting.overview import forgetting_overview, group_by_method, metric_keys, metric_text
from coin_lightning.reporting.paper_tables import write_tables
from coin_lightning.reporting.rendering import save_png, svg
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.whole_files import write_text


def write_comparison(runs: Sequence[RunMatrix], folder: Path | str) -> list[Path]:
    """Write the page, and per task order a figure and tables, ``comparison.png``, ``.md``, ``.tex`` and ``.csv``
    (``comparison_2.png`` ...), into ``folder``.

    Returns:
        The files, the page first.

    Raises:
        RunError: no runs given.
    """
    if not runs:
        raise RunError("No runs given; name at least two run folders.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    scenarios = split_by_tasks(runs)
    files = [folder / "comparison.html"]
    shown = []
    for number, members in enumerate(scenarios, start=1):
        figure, stem = forgetting_overview(members), folder / f"comparison{'' if number == 1 else f'_{number}'}"
        files += [save_png(figure, stem.with_name(f"{stem.name}.png")), *write_tables(members, stem)]
        shown.append(_scenario(members, svg(figure)))
    page = template("comparison.html.j2").render(
        count=len(runs),
        notes=list(dict.fromkeys(note for run in runs for note in run.notes)),
        scenarios=shown,
        glossary=[(key, explain(key)) for key in metric_keys(runs)],
    )
    write_text(files[0], page)
    return files


def split_by_tasks(runs: Sequence[RunMatrix]) -> list[list[RunMatrix]]:
    """Runs with the same tasks in the same order together, in order of first appearance.

    Raises:
        RunError: two runs were scored by unlike versions of a task's scorers.
    """
    _check_versions(runs)
    found: dict[tuple[str, ...], list[RunMatrix]] = {}
    for run in runs:
        found.setdefault(run.tasks, []).append(run)
    return list(found.values())


def _check_versions(runs: Sequence[RunMatrix]) -> None:
    """Scores by unlike versions of a task's scorers are not put beside each other."""
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


def _scenario(runs: Sequence[RunMatrix], figure: str) -> dict[str, Any]:
    groups = group_by_method(runs)
    rows = [(explain(key), [metric_text(group, key) for group in groups]) for key in metric_keys(runs)]
    methods = [(group.label, len(group.runs)) for group in groups]
    return {"tasks": runs[0].tasks, "title": runs[0].title, "methods": methods, "rows": rows, "figure": figure}

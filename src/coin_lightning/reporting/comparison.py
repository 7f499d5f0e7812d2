"""``comparison.html``, figures and tables about several runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coin_lightning.reporting.compared import Compared
from coin_lightning.reporting.flip_tables import flip_tables
from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.group_facts import cost_lines, order_table, router_lines
from coin_lightning.reporting.html import template
from coin_lightning.reporting.interval_table import interval_table
from coin_lightning.reporting.long_table import write_parquet
from coin_lightning.reporting.overview import (
    MOST_CURVES,
    best,
    forgetting_overview,
    in_order,
    metric_keys,
    metric_text,
    parts,
)
from coin_lightning.reporting.paired_tests import as_tables
from coin_lightning.reporting.paper_tables import PaperTable, label, paper_tables, write_tables
from coin_lightning.reporting.plane_figure import plane_figure
from coin_lightning.reporting.published_comparison import group_comparisons
from coin_lightning.reporting.rendering import save_png, svg
from coin_lightning.reporting.router_figures import router_load_figure
from coin_lightning.whole_files import write_text


def write_comparison(compared: Sequence[Compared], folder: Path | str) -> list[Path]:
    """Write the page, for each task order a figure and tables, ``comparison.png``, ``.md``, ``.tex`` and ``.csv``
    (``comparison_2.png`` ...), for each set of tasks the plane of plasticity and stability, ``plane.png``, and all
    values as ``comparison.parquet``, into ``folder``.

    Returns:
        The files, the page first.

    Raises:
        RunError, DataError: as `compare`.
    """
    shown = [_shown(each) for each in compared]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "comparison.html"]
    for number, order in enumerate((order for content in shown for order in content["orders"]), start=1):
        stem = folder / f"comparison{_number(number)}"
        for place, drawing in enumerate(order["drawings"], start=1):
            ending = "" if place == 1 else f"_curves_{place}"
            files.append(save_png(drawing, stem.with_name(f"{stem.name}{ending}.png")))
        files += write_tables(order["tables"], stem)
    for number, content in enumerate(shown, start=1):
        if content["plane"] is not None:
            files.append(save_png(content["plane"], folder / f"plane{_number(number)}.png"))
    for number, each in enumerate(compared, start=1):
        files.append(write_parquet(each.groups, each.read, folder / f"comparison{_number(number)}.parquet"))
    runs = [run for each in compared for group in each.groups for run in group.runs]
    keys = dict.fromkeys(key for each in compared for key in metric_keys(each.groups))
    page = template("comparison.html.j2").render(
        count=len(runs),
        notes=list(dict.fromkeys(note for run in runs for note in run.notes)),
        sets=shown,
        svg=svg,
        glossary=[(key, explain(key)) for key in keys],
    )
    write_text(files[0], page)
    return files


def _number(number: int) -> str:
    return "" if number == 1 else f"_{number}"


def _shown(compared: Compared) -> dict[str, Any]:
    """What the page shows of one set of tasks."""
    groups = compared.groups
    router = router_lines(groups)
    drawn = {label(group) for group in best(groups, compared.reference)}
    sensitivity = order_table(groups, compared.orders)
    more = [*as_tables(compared.tests), *([] if sensitivity is None else [sensitivity])]
    orders = [_order(compared, number, more if number == 1 else []) for number in range(1, len(compared.orders) + 1)]
    return {
        "compared": compared,
        "orders": orders,
        "title": groups[0].runs[0].title,
        "sensitivity": sensitivity,
        "plane": plane_figure(groups),
        "cost": cost_lines(groups),
        "router": router,
        "router_figures": [
            (line.label, router_load_figure(line.load), line.seed) for line in router if line.label in drawn
        ],
        "published": group_comparisons(groups),
    }


def _order(compared: Compared, number: int, more: Sequence[PaperTable]) -> dict[str, Any]:
    """One order of the tasks, counted from 1; `more` are tables that its files have as well."""
    tasks = compared.orders[number - 1]
    groups = in_order(compared.groups, tasks)
    intervals = None if compared.samples is None else interval_table(groups, compared.samples)
    flips = [] if compared.read is None else flip_tables(groups, compared.read)
    shown = best(groups, compared.reference)
    many = len(groups) > MOST_CURVES
    return {
        "number": number,
        "tasks": tasks,
        "groups": len(groups),
        "curves": len(shown),
        "methods": [] if many else [(group.label, group.seeds) for group in groups],
        "rows": [] if many else [
            (explain(key), [metric_text(group, key) for group in groups]) for key in metric_keys(groups)
        ],
        "drawings": [forgetting_overview(part) for part in parts(shown)],
        "intervals": intervals,
        "flips": flips,
        "tables": [*paper_tables(groups), *([] if intervals is None else [intervals]), *flips, *more],
    }  # fmt: skip

"""The page of a data check: samples, findings, answers, lengths, and samples to look at. It asks for nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coin_lightning.reporting.data_tables import SPLITS, nearest, samples_text, short_paths
from coin_lightning.reporting.drawing import BLUE, GRID, MUTED, ORANGE, Drawing, Shape, Text
from coin_lightning.reporting.examples import thumbnail
from coin_lightning.reporting.html import template
from coin_lightning.reporting.panel import Panel
from coin_lightning.reporting.rendering import svg
from coin_lightning.whole_files import write_json, write_text

Report = Mapping[str, Any]
THUMBNAIL = 200
"""Pixels of a sample's image."""


def write_data_page(report: Report, file: Path) -> Path:
    """Write the page, and the report itself beside it as JSON.

    Args:
        report: what `cli/data_verify.py` gathers: facts of the check and one `TaskReport` per task.
        file: path of the page; its folder is made.

    Raises:
        OSError: it cannot be written there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, render_data_page(report))
    write_json(file.with_suffix(".json"), report)
    return file


def render_data_page(report: Report) -> str:
    """The page as text."""
    counts = {level: sum(task["levels"][level] for task in report["tasks"]) for level in ("error", "warning", "note")}
    return template("data.html.j2").render(
        report=report,
        counts=counts,
        samples={split: sum(task["counts"].get(split) or 0 for task in report["tasks"]) for split in SPLITS},
        images=sum(task["images"].get("distinct", 0) for task in report["tasks"]),
        tasks=[_task(report, task) for task in report["tasks"]],
        splits=SPLITS,
        samples_text=samples_text,
    )


def _task(report: Report, task: Report) -> dict[str, Any]:
    """A task with what the template shows of it."""
    return {
        **task,
        "stated": {split: nearest(task, split) for split in SPLITS},
        "findings": [{**each, "examples": short_paths(report, each["examples"])} for each in task["findings"]],
        "bars": {split: answer_bars(balance) for split, balance in task["balance"].items()},
        "charts": {split: svg(length_chart(entry, split)) for split, entry in task["lengths"].items()},
        "shown": [{**each, "shown": _image(task, each)} for each in task["shown"]],
    }


def answer_bars(balance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bars of a chart: text, share in percent, and width in percent of the longest bar."""
    longest = max((count for _, count in balance["top"]), default=0)
    return [
        {"text": text, "share": 100 * count / max(balance["count"], 1), "width": 100 * count / max(longest, 1)}
        for text, count in balance["top"]
    ]


def length_chart(lengths: Mapping[str, Any], split: str) -> Drawing:
    """Answers by their number of tokens, and the limit; orange ones exceed it.

    The last bin of the histogram holds all longer answers; empty bins at the end are left out, the limit never.
    """
    filled = {at: number for at, number in enumerate(lengths["histogram"]) if number}
    limit, most = lengths["limit"], max(filled.values(), default=1)
    numbers = ", ".join(f"{at} tokens: {number} answers" for at, number in filled.items())
    drawing = Drawing(430, 130, f"Tokens per answer, {split}", numbers or "No answers.")
    panel = Panel(drawing, 0, 4, 430, 108, (-0.5, max(*filled, limit, 0) + 1), (0, most))
    for at, number in filled.items():
        height = max(number, 0.02 * most)  # a single one is seen, too
        panel.bar((at - 0.43, at + 0.43), (0, height), ORANGE if at > limit else BLUE)
    panel.curve(panel.x, (0, 0), GRID, 1, 0)
    (x, y), top = panel.at(limit + 0.5, 0), panel.top
    drawing.add(
        Shape([(x, top), (x, y)], ORANGE, 1, dashed=True), Text(x - 4, y + 11, f"limit {limit}", "end", 11, MUTED)
    )
    drawing.add(Text(0, y + 11, "0", "start", 11, MUTED))
    return drawing


def _image(task: Report, sample: Mapping[str, Any]) -> str | None:
    """Thumbnail as a data URI, with the sample's box drawn in."""
    reference = {"image": sample["image"]}
    if sample["box"] is not None:
        reference["answer_bbox"] = sample["box"]
    nothing = {"reference": reference, "prediction": ""}
    return thumbnail(Path(task["image_root"]), nothing, nothing, THUMBNAIL)

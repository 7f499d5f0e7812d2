"""The page of a data check: rows, findings, answers, lengths, and rows to look at. It asks for nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coin_lightning.reporting.data_tables import SPLITS, nearest, rows_text, short_paths
from coin_lightning.reporting.examples import thumbnail
from coin_lightning.reporting.html import template
from coin_lightning.whole_files import write_json, write_text

Report = Mapping[str, Any]
THUMBNAIL = 200
"""Pixels of a sample's picture."""
CHART = (260, 72)
"""Width and height of a length chart, in CSS pixels."""


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
        rows={split: sum(task["counts"].get(split) or 0 for task in report["tasks"]) for split in SPLITS},
        pictures=sum(task["pictures"].get("distinct", 0) for task in report["tasks"]),
        tasks=[_task(report, task) for task in report["tasks"]],
        splits=SPLITS,
        rows_text=rows_text,
    )


def _task(report: Report, task: Report) -> dict[str, Any]:
    """A task with what the template shows of it."""
    return {
        **task,
        "stated": {split: nearest(task, split) for split in SPLITS},
        "findings": [{**each, "examples": short_paths(report, each["examples"])} for each in task["findings"]],
        "bars": {split: answer_bars(balance) for split, balance in task["balance"].items()},
        "charts": {split: length_chart(entry) for split, entry in task["lengths"].items()},
        "samples": [{**each, "picture": _picture(task, each)} for each in task["samples"]],
    }


def answer_bars(balance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a bar chart: text, share in percent, and width in percent of the longest bar."""
    longest = max((count for _, count in balance["top"]), default=0)
    return [
        {"text": text, "share": 100 * count / max(balance["count"], 1), "width": 100 * count / max(longest, 1)}
        for text, count in balance["top"]
    ]


def length_chart(lengths: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a chart of tokens per answer (x, y, width, height, over), and where the limit lies, in CSS pixels.

    The last bin of the histogram holds all longer answers; empty bins at the end are left out, the limit never.
    """
    histogram = list(lengths["histogram"])
    shown = max([at for at, number in enumerate(histogram) if number] + [lengths["limit"]]) + 1
    width, height = CHART[0] / (shown + 0.5), max([*histogram, 1])
    columns = [
        {
            "x": round(at * width, 2), "width": round(0.86 * width, 2), "over": at > lengths["limit"],
            "height": round(max(number / height * CHART[1], 1.5), 2), "tokens": at, "answers": number,
        }
        for at, number in enumerate(histogram[:shown]) if number
    ]  # fmt: skip
    return {"columns": columns, "limit": round((lengths["limit"] + 0.93) * width, 2), "size": CHART}


def _picture(task: Report, sample: Mapping[str, Any]) -> str | None:
    """Thumbnail as a data URI, with the row's box drawn in."""
    reference = {"image": sample["image"]}
    if sample["box"] is not None:
        reference["answer_bbox"] = sample["box"]
    nothing = {"reference": reference, "prediction": ""}
    return thumbnail(Path(task["image_root"]), nothing, nothing, THUMBNAIL)

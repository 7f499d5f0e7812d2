"""What the data check prints: samples against expected samples, findings, and whether a run may start."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from coin_lightning.reporting.names import MISSING, title

Report = Mapping[str, Any]
SPLITS = ("train", "test")
MARKS = {"error": "bold red", "warning": "yellow", "note": "dim"}
SHOWN = 3
"""Examples per finding in the terminal; the page has more."""


def count_table(report: Report) -> Table:
    """Per task and file: samples, expected samples with their source, and findings of the task by level."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("task", no_wrap=True)
    table.add_column("file", no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column("expected", justify="right", no_wrap=True)
    table.add_column("source", overflow="fold", style="dim")
    table.add_column("findings", no_wrap=True)
    for task in report["tasks"]:
        for split in SPLITS:
            expected = nearest(task, split)
            first = split == SPLITS[0]
            table.add_row(
                title(task["task"], report.get("titles")) if first else "", split,
                samples_text(task["counts"].get(split)), expected_text(expected),
                expected["source"] if expected else "", _levels(task) if first else "",
            )  # fmt: skip
    return table


def nearest(task: Report, split: str) -> dict[str, Any] | None:
    """The statement about a file's samples that is shown: the surest one that agrees, else the surest one."""
    known = task["expected"].get(split, [])
    agreeing = [entry for entry in known if entry["agrees"]]
    return next(iter([*agreeing, *known]), None)


def samples_text(count: int | None) -> str:
    """A number of samples with thin groups of three digits; a dash for a file that could not be read."""
    return MISSING if count is None else f"{count:,}".replace(",", " ")


def expected_text(expected: Mapping[str, Any] | None) -> Text:
    """The expected number with a mark for agreement, as `12 726 yes` or `about 20 000 no`."""
    if expected is None:
        return Text("not known", style="dim")
    about = "about " if expected["rounded"] else ""
    mark, style = ("✓", "green") if expected["agrees"] else ("✗", "yellow")
    return Text.assemble(f"{about}{samples_text(expected['count'])} ", (mark, style))


def findings_list(report: Report) -> RenderableType:
    """Every finding with its first examples; errors of all tasks come first."""
    lines: list[RenderableType] = []
    for level, style in MARKS.items():
        for task in report["tasks"]:
            for finding in task["findings"]:
                if finding["level"] == level:
                    lines += _finding(report, task, finding, style)
    return Group(*lines) if lines else Text("nothing found", style="green")


def _finding(report: Report, task: Report, finding: Mapping[str, Any], style: str) -> Iterator[RenderableType]:
    place = " ".join(filter(None, (title(task["task"], report.get("titles")), finding["split"])))
    head = Table.grid(padding=(0, 1))
    head.add_column(width=7)
    head.add_row(
        Text(finding["level"], style=style),
        Text.assemble((place, "bold"), f": {finding['text']} ", (f"[{finding['kind']}]", "dim")),
    )
    yield head
    if finding["level"] == "note":
        return
    examples = short_paths(report, finding["examples"])[:SHOWN]
    more = finding["count"] - len(examples)
    for example in [*examples, f"and {more} more"] if more > 0 else examples:
        yield Padding(Text(example, style="dim", overflow="fold"), (0, 0, 0, 10))


def short_paths(report: Report, texts: Sequence[str]) -> list[str]:
    """Texts with paths relative to the data root."""
    return [text.replace(f"{report['root']}/", "") for text in texts]


def verdict(report: Report) -> Text:
    """One line: may a run start?"""
    counts = {level: sum(task["levels"][level] for task in report["tasks"]) for level in MARKS}
    if counts["error"]:
        return Text(f"{_number(counts['error'], 'error')}: a run may not start on these data", style="bold red")
    return Text(f"no errors, {_number(counts['warning'], 'warning')}: a run may start", style="bold green")


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _levels(task: Report) -> Text:
    parts = [(f"{task['levels'][level]} {level[0].upper()} ", style) for level, style in MARKS.items()]
    return Text.assemble(*(part for part in parts if not part[0].startswith("0 "))) or Text("none", style="green")

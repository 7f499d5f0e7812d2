"""Numbers of the papers, with their sources, to be put beside ours: `experiments/published/*.json`.

Nothing here is ours. Most of CoIN's tables are known second-hand only, so each row says what kind of evidence it is,
which of its values are from memory, and which were computed from others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.reporting.run_matrix import RunMatrix
from coin_lightning.run_files import read_json

KINDS = ("published table", "authors' raw dump", "radar figure", "computed", "from memory")
UNKNOWN = "unknown"
EXCLUSIVE = ("experiment", "missing", "same_run_as")
"""A row says exactly one of these: which experiment file reproduces it, why none does, or which row is the same run."""

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class PublishedRow:
    """One row of a table; scores in percent, None where no value is known.

    Attributes:
        key: `<file>/<row>`, what `published:` in an experiment file names.
        label: as readers know the row; `table` is the title of its table.
        kind: one of `KINDS`; `sources` are its documents in words.
        metrics: by our metric keys (`acc`, `maa`, `bwt_coin`, ...).
        immediate, final: score by task right after its own training, and at the end.
        tasks: training order of `matrix`.
        matrix: [T][T] rows after each task, or None.
        protocol: what is known of how it was measured; `unknown` where no source says it.
        experiment: option of `+experiment=` that reproduces the row; None with the reason in `missing`.
        same_run_as: key of the row of another table that is the same run.
        computed, unverified: dotted places of values that were computed, or are from memory (`final.scienceqa`).
    """

    key: str
    label: str
    table: str
    kind: str
    sources: tuple[str, ...]
    metrics: Scores
    immediate: Scores
    final: Scores
    tasks: tuple[str, ...]
    matrix: tuple[tuple[float | None, ...], ...] | None
    protocol: Mapping[str, Any]
    experiment: str | None
    missing: str
    same_run_as: str | None
    computed: tuple[str, ...]
    unverified: tuple[str, ...]
    note: str


@cache
def published_dir() -> Path:
    """Folder of the tables: of the checkout, or inside the installed package.

    Raises:
        DataError: there is none.
    """
    package = Path(__file__).parents[1]
    places = (package / "published", package.parents[1] / "experiments" / "published")
    found = next((folder for folder in places if folder.is_dir()), None)
    if found is None:
        raise DataError(f"published numbers are missing: neither {places[0]} nor {places[1]} exists; install again")
    return found


def published_rows(folder: Path | None = None) -> dict[str, PublishedRow]:
    """All rows of all tables by key.

    Raises:
        DataError: with every problem of every file.
    """
    rows: dict[str, PublishedRow] = {}
    problems: list[str] = []
    for file in sorted((folder or published_dir()).glob("*.json")):
        content = read_json(file)
        for name, entry in content["rows"].items():
            where = f"{file.name}: rows.{name}"
            found = list(_problems(entry, content["source"]))
            problems += [f"{where}: {line}" for line in found]
            if not found:
                rows[f"{file.stem}/{name}"] = _row(f"{file.stem}/{name}", entry, content)
    linked = {row.key: row.same_run_as for row in rows.values() if row.same_run_as is not None}
    problems += [f"{key}: same_run_as={other} names no row" for key, other in linked.items() if other not in rows]
    if problems:
        raise DataError(problems)
    return rows


def published_row(key: str, folder: Path | None = None) -> PublishedRow:
    """The row that an experiment names, with the scores and matrix that other tables have of the same run.

    Raises:
        DataError: there is no such row, or a table is garbled.
    """
    rows = published_rows(folder)
    if key not in rows:
        raise DataError(f"published={key!r} names no row; there are {', '.join(sorted(rows))}")
    own = rows[key]
    for other in same_run(key, rows):
        if other.protocol.get("judge") != own.protocol.get("judge"):
            continue  # a judge's scores are another quantity
        more = {name: value for name, value in other.metrics.items() if own.metrics.get(name) is None}
        own = replace(own, metrics={**own.metrics, **more}, computed=_joined(own.computed, other.computed))
        if other.final and not own.final:
            marks = _joined(own.unverified, other.unverified)
            own = replace(own, final=other.final, immediate=other.immediate, unverified=marks)
        if other.matrix and not own.matrix:
            own = replace(own, matrix=other.matrix, tasks=other.tasks)
    return own


def same_run(key: str, rows: Mapping[str, PublishedRow]) -> list[PublishedRow]:
    """Rows of other tables that are the same run as `key`, in the order of the tables."""
    first = rows[key].same_run_as or key
    return [row for row in rows.values() if row.key != key and first in (row.key, row.same_run_as)]


def protocol_differences(ours: Mapping[str, Any], published: Mapping[str, Any]) -> list[str]:
    """Lines that name each protocol field in which two results differ, or may differ because no source says it.

    Args:
        ours: see `comparable`.
        published: `protocol` of a published row; a null field does not apply to it.

    Returns:
        `field: ours A, published B`, known differences first, then `field: ours A, published unknown`. Empty when
        every published field is known and equal.
    """
    known, unknown = [], []
    for name, value in published.items():
        if value is None:
            continue
        own, other = text(ours.get(name, "not recorded")), text(_by_name(value))
        if other.split(" ")[0] == UNKNOWN:
            unknown.append(f"{name}: ours {own}, published {other}")
        elif own != other:
            known.append(f"{name}: ours {own}, published {other}")
    silent = [name for name in ours if name in SWITCHES and name not in published]
    return [*known, *unknown, *(f"{name}: ours {text(ours[name])}, published {UNKNOWN}" for name in silent)]


def _by_name(value: Any) -> Any:
    """A value by task as runs record it: in the order of names, whatever order the tasks are learned in."""
    return dict(sorted(value.items())) if isinstance(value, Mapping) else value


SWITCHES = (
    "starting_weights", "projector", "global_batch", "evaluation_frame", "boxes", "long_samples", "scorers",
    "bwt_divisor", "test_subset", "instructions", "order", "seed",
)  # fmt: skip
"""Fields that a published row should speak about."""


SCENARIO = "coin"
"""The data that all tables are about."""


def comparable(matrix: RunMatrix, seeds: str = "") -> dict[str, Any]:
    """All of a run that a published row may speak about: its protocol, and who learned on what; `seeds` are those of a
    mean over several runs."""
    return {**matrix.protocol, "method": matrix.method, "backbone": matrix.backbone, "seed": seeds or matrix.seed}


def evidence(ours: Mapping[str, Any], differences: Sequence[str]) -> str:
    """How far a published number can be compared: `same protocol`, `partly` or `development data`.

    Args:
        ours: see `comparable`.
        differences: see `protocol_differences`.
    """
    if ours.get("scenario", SCENARIO) != SCENARIO:
        return "development data"
    return "partly" if differences else "same protocol"


def text(value: Any) -> str:
    """A protocol value as `matrix.json` prints it: mappings as `a 1, b 2`, lists as `a, b`, floats without a tail."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(text(item) for item in value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _joined(own: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*own, *other]))


def _row(key: str, entry: Mapping[str, Any], table: Mapping[str, Any]) -> PublishedRow:
    matrix = entry["matrix"]
    return PublishedRow(
        key=key,
        label=entry["label"],
        table=table["title"],
        kind=entry["kind"],
        sources=tuple(table["source"][name] for name in entry["source_key"].split(", ")),
        metrics=dict(entry["metrics"]),
        immediate=dict(entry["immediate"]),
        final=dict(entry["final"]),
        tasks=tuple(entry.get("tasks", ())),
        matrix=None if matrix is None else tuple(tuple(row) for row in matrix),
        protocol={**table["protocol"], **entry.get("protocol", {})},
        experiment=entry.get("experiment"),
        missing=entry.get("missing", ""),
        same_run_as=entry.get("same_run_as"),
        computed=tuple(entry.get("computed", ())),
        unverified=tuple(entry.get("unverified", ())),
        note=entry.get("note", ""),
    )


def _problems(entry: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a row, as lines."""
    needed = ("label", "kind", "source_key", "metrics", "immediate", "final", "matrix")
    absent = [name for name in needed if name not in entry]
    if absent:
        yield f"lacks {', '.join(absent)}"
        return
    if entry["kind"] not in KINDS:
        yield f"kind={entry['kind']!r} is unknown; use one of {', '.join(KINDS)}"
    if strange := [name for name in entry["source_key"].split(", ") if name not in sources]:
        yield f"source_key names {', '.join(strange)}, which the table's source does not explain"
    if sum(name in entry for name in EXCLUSIVE) != 1:
        yield f"needs exactly one of {', '.join(EXCLUSIVE)}"
    shape = len(entry.get("tasks", ()))
    if entry["matrix"] is not None and [len(row) for row in entry["matrix"]] != [shape] * shape:
        yield f"matrix must have a row and a column for each of its {shape} tasks"
    for place in [*entry.get("computed", ()), *entry.get("unverified", ())]:
        if _value(entry, place) is None:
            yield f"{place} is marked, but holds no value"


def _value(entry: Mapping[str, Any], place: str) -> float | None:
    """Value at `metrics.acc`, `final.gqa` or `matrix.7.gqa` (row 7, counted from 0)."""
    part, *rest = place.split(".")
    if part == "matrix":
        return entry["matrix"][int(rest[0])][list(entry["tasks"]).index(rest[1])]
    return entry.get(part, {}).get(rest[0])

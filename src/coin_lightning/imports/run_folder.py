"""An imported run as a run folder: records, scores by all variants, matrix, metrics, and where it all came from."""

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from coin_lightning.assets import file_sha256
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import RunError
from coin_lightning.evaluation.judges.base import PRINTED, PROTOCOL
from coin_lightning.evaluation.records import write_records
from coin_lightning.evaluation.side_by_side import REFERENCE, UNANSWERED, WITHOUT_ANSWERS, filled, score_fields
from coin_lightning.imports.cells import Cell
from coin_lightning.imports.coin import ImportedRun
from coin_lightning.imports.folders import FILES
from coin_lightning.manifest import MARK, record, write_known_json
from coin_lightning.run_files import IMPORTED, read_json
from coin_lightning.whole_files import flush_folder, write_json

UNKNOWN = "unknown"
NOT_KNOWN = (
    "method", "backbone", "seed", "starting_weights", "projector", "projector_lr", "loss_weighting", "global_batch",
    "evaluation_frame", "adapter", "learning_rates", "schedule", "epochs", "train_samples", "precision", "prompt",
    "decoding",
)  # fmt: skip
"""What a run of this project says of itself, and result files do not."""
FIELDS = ("scores", "counts", "versions", "unparsable", "blank", "variants", "differing", "breakdown")
"""Of a `scores.json`, by task."""
SAME_SOURCE = ("kind", "run", "order", "files", "data")
"""Fields of `imported.json` that say what was imported."""


def write_run(run: ImportedRun, out: Path) -> tuple[Path, bool]:
    """Write the folder of a run; it appears whole or not at all.

    Args:
        run: read whole.
        out: folder for runs.

    Returns:
        the folder, and False where the same import was there already.

    Raises:
        RunError: something else is there.
    """
    folder, source = out / run.found.name, _source(run)
    if folder.exists():
        if _is_same(folder, source):
            return folder, False
        raise RunError(
            f"{folder}: is there already and is not what these files give; move it away, or choose another --out"
        )
    scratch = folder.with_name(f".{folder.name}.importing")
    shutil.rmtree(scratch, ignore_errors=True)
    _fill(RunDir(scratch, run.order, run.training), run, source)
    (scratch / ".lock").unlink(missing_ok=True)
    os.replace(scratch, folder)
    flush_folder(folder.parent)
    return folder, True


def _is_same(folder: Path, source: Mapping[str, Any]) -> bool:
    if not (folder / IMPORTED).is_file():
        return False
    found = read_json(folder / IMPORTED)
    return all(found.get(name) == source[name] for name in SAME_SOURCE)


def _source(run: ImportedRun) -> dict[str, Any]:
    """Content of `imported.json`."""
    files = [file for cell in run.cells.values() for name in FILES if (file := cell.place.file(name)) is not None]
    return {
        "kind": "coin",
        "importer": f"coin-lightning {version('coin-lightning')}",
        "run": run.found.name,
        "folder": str(run.found.folder.resolve()),
        "order": list(run.order),
        "files": {file.relative_to(run.found.folder).as_posix(): file_sha256(file) for file in sorted(files)},
        "data": {task: {each.file.name: each.sha256} for task, each in run.questions.items()},
        "unknown": list(NOT_KNOWN),
        "findings": list(run.findings),
        "capital_letters": [hidden.to_json() for hidden in run.hidden],
    }


def _fill(folder: RunDir, run: ImportedRun, source: Mapping[str, Any]) -> None:
    for position in folder.positions:
        cells = {task: run.cells[position, task] for task in run.order if (position, task) in run.cells}
        _write_row(folder, position, cells, run)
    write_json(folder.path / "environment.json", {"data": _data(run)})
    write_json(folder.path / IMPORTED, source)
    folder.write_summary(_facts(run, source))


def _write_row(target: RunDir, position: int, cells: Mapping[str, Cell], run: ImportedRun) -> None:
    folder = target.folder(position)
    for task, cell in cells.items():
        if cell.records is not None:
            file = folder / "records" / f"{task}.jsonl"
            write_records(file, cell.records)
            record(folder, [file])
    judged = {task: cell.judged for task, cell in cells.items() if cell.judged is not None}
    if judged:
        identity = dict.fromkeys(PROTOCOL) | {"judge": PRINTED, "model": UNKNOWN, "variant": REFERENCE}
        summary = {**identity, "scores": judged, "counts": {}, "unparsed": {}}
        write_known_json(folder / "judged" / f"{PRINTED}.json", summary, folder)
    if any(cell.is_scored for cell in cells.values()):
        scores = {"experience": position, "task": run.rows[position], "scorer": run.variant, "unit": "percent"}
        fields = _scores(cells, run.variant, run.order)
        write_known_json(folder / "scores.json", {**scores, **fields, **MARK})


def _scores(cells: Mapping[str, Cell], variant: str, order: Sequence[str]) -> dict[str, Any]:
    """Fields of `scores.json`: what the answers give, and of cells without answers what was printed."""
    scored = {task: cell.scores for task, cell in cells.items() if cell.scores is not None}
    printed = {task: cell.printed for task, cell in cells.items() if cell.printed is not None}
    alone = [task for task in printed if task not in scored]
    fields = score_fields(scored, variant) if scored else {name: {} for name in FIELDS}
    found = {task: printed[task].score for task in alone}
    counts = {task: samples for task in alone if (samples := printed[task].samples) is not None}
    own = {"scores": found, "counts": counts, "variants": {REFERENCE: {"scores": found}}}
    kept = {task: {"score": each.score, "samples": each.samples} for task, each in printed.items()}
    unanswered = {task: cell.unanswered for task, cell in cells.items() if cell.unanswered}
    more = {"printed": kept, WITHOUT_ANSWERS: alone, UNANSWERED: unanswered}
    return {**filled(fields, own if alone else {}, order), **more}


def _data(run: ImportedRun) -> dict[str, Any]:
    return {
        task: {
            "test": len(each.references),
            "sha256": {each.file.name: each.sha256},
            "folder": str(each.images.resolve()),
        }
        for task, each in run.questions.items()
    }


def _facts(run: ImportedRun, source: Mapping[str, Any]) -> dict[str, Any]:
    """What `matrix.json` says beside the scores."""
    judge = PRINTED if any(cell.judged is not None for cell in run.cells.values()) else None
    known = {
        "name": UNKNOWN,
        "order": "joint" if run.found.joint else ", ".join(run.order),
        "instructions": run.instructions if run.questions else UNKNOWN,
        "scorers": run.variant,
        "judge": judge,
    }
    protocol = dict.fromkeys((key for key in NOT_KNOWN if key not in ("method", "backbone", "seed")), UNKNOWN)
    return {
        "experiment": run.found.name,
        "method": UNKNOWN,
        "method_title": f"{run.found.name} (imported)",
        "titles": {task: node.get("title", task) for task, node in run.nodes.items()},
        "short": {task: node["short"] for task, node in run.nodes.items() if node.get("short")},
        "backbone": UNKNOWN,
        "seed": None,
        "published": None,
        "protocol": {**known, **protocol},
        "notes": _notes(run, source),
        "imported": {name: source[name] for name in ("kind", "run", "unknown", "capital_letters")},
    }


def _notes(run: ImportedRun, source: Mapping[str, Any]) -> list[str]:
    notes = [
        f"Imported from {len(source['files'])} result files in the layout of CoIN's code ({IMPORTED} has their "
        "sha256): this was not trained here. Nobody knows its method, backbone, seed and protocol."
    ]
    if run.variant == REFERENCE:
        notes.append(
            "Of some or all cells only the printed score is there, by the rules of the published code; so the matrix "
            "shows these rules everywhere."
        )
    return notes + [f"{line[0].upper()}{line[1:]}." for line in run.findings]

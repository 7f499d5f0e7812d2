"""What judges found in a run: the summary file of each experience, and the `judges` section of matrix.json."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.evaluation.judges.base import PRINTED, PROTOCOL
from coin_lightning.metrics.score_matrix import JOINT, TRAININGS, ScoreMatrix, metrics_to_json
from coin_lightning.run_files import read_json

_AND = " + "


def judges_of(run: Path, rows: Sequence[str], tasks: Sequence[str]) -> dict[str, Any]:
    """The `judges` section of matrix.json, by judge name.

    Args:
        run: the run folder.
        rows: T+1 row names as in the score matrix (the last is `joint` in a joint run). tasks: T column names.

    Returns:
        per judge: `scores`, `counts`, `unparsed` (grids [T+1][T], null where not judged or, in `scores`, where nothing
        could be parsed), `metrics` (as of the score matrix, percent), `protocol` (the judge's identity).

    Raises:
        RunError: a summary is broken.
    """
    folders = [run / f"task_{index:02d}_{row}" for index, row in enumerate(rows)]
    names = sorted({file.stem for folder in folders for file in folder.glob("judged/*.json")})
    training = JOINT if rows[-1] == JOINT else TRAININGS[0]
    return {
        name: _section([folder / "judged" / f"{name}.json" for folder in folders], tasks, training) for name in names
    }


def _section(files: Sequence[Path], tasks: Sequence[str], training: str) -> dict[str, Any]:
    found = [read_json(file) if file.exists() else {} for file in files]
    grids = {
        key: [[summary.get(key, {}).get(task) for task in tasks] for summary in found]
        for key in ("scores", "counts", "unparsed")
    }
    there = [summary for summary in found if summary]
    versions = join_versions(part for summary in there for part in (summary.get("version") or "").split(_AND))
    protocol = {name: there[-1].get(name) for name in PROTOCOL} | {"version": versions}
    return {**grids, "metrics": metrics_to_json(_metrics(grids["scores"], tasks, training)), "protocol": protocol}


def _metrics(scores: list[list[float | None]], tasks: Sequence[str], training: str) -> dict[str, float]:
    values = np.array([[np.nan if cell is None else cell for cell in row] for row in scores])
    return replace(ScoreMatrix.empty(tasks, training), scores=values).summary()


def join_versions(versions: Iterable[str]) -> str | None:
    """The different versions among these as one text; None for none. A served model may change while it judges."""
    return _AND.join(sorted({version for version in versions if version})) or None


def identity_text(protocol: Mapping[str, Any]) -> str:
    """A judge's identity in one line, to stand beside its numbers."""
    if protocol.get("judge") == PRINTED:
        return "scores as its script printed them, whole percents; model, temperature and seed unknown"
    version = protocol.get("version") or "version not stated"
    temperature = "none" if protocol.get("temperature") is None else f"{protocol['temperature']:g}"
    seed = "none" if protocol.get("seed") is None else protocol["seed"]
    prompt = f", prompt {protocol['prompt_sha']}" if protocol.get("prompt_sha") else ""
    read = f"{protocol.get('variant')} reading{prompt}"
    return f"{protocol.get('model')} ({version}), temperature {temperature}, seed {seed}, {read}"


def own_metrics(judges: Mapping[str, Any], name: str | None) -> dict[str, float | None]:
    """The metrics of one judge under `judge/<key>`, for the run's own `metrics`; empty when it has judged nothing."""
    return {f"judge/{key}": value for key, value in judges.get(name or "", {}).get("metrics", {}).items()}

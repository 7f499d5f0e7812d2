"""What two runs must have in common to be called equal."""

import json
from pathlib import Path

PATTERNS = ("task_*/records/*.jsonl", "task_*/adapter/*.safetensors", "task_*/*.safetensors")


def without_manifests(run: Path) -> None:
    """Make a run one from before there were manifests, so that a test may change its files."""
    for file in run.rglob("manifest.json"):
        file.unlink()
    for file in [*run.glob("task_*/scores.json"), *run.glob("task_*/train.json")]:
        content = json.loads(file.read_text())
        content.pop("manifest", None)
        file.write_text(json.dumps(content))


def results(run: Path) -> dict[str, bytes]:
    """Bytes of everything that a run has computed and that holds no times: weights, answers, scores."""
    kept = [file for pattern in PATTERNS for file in run.glob(pattern)]
    return {str(file.relative_to(run)): file.read_bytes() for file in [*kept, run / "matrix.csv", run / "metrics.json"]}

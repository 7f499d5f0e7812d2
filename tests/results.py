"""What two runs must have in common to be called equal."""

from pathlib import Path

PATTERNS = ("task_*/records/*.jsonl", "task_*/adapter/*.safetensors", "task_*/*.safetensors")


def results(run: Path) -> dict[str, bytes]:
    """Bytes of everything that a run has computed and that holds no times: weights, answers, scores."""
    kept = [file for pattern in PATTERNS for file in run.glob(pattern)]
    return {str(file.relative_to(run)): file.read_bytes() for file in [*kept, run / "matrix.csv", run / "metrics.json"]}

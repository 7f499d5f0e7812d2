"""What a killed process leaves in a run folder that nobody reads again."""

from collections.abc import Iterator
from pathlib import Path

from coin_lightning.continual.giving_way import LAST
from coin_lightning.continual.run_dir import RunDir


def leftovers(run: RunDir) -> list[Path]:
    """Half-written files, checkpoints of tasks that are learned, and answers that have become records."""
    return sorted({*_half_written(run.path), *_outlived(run)})


def remove_leftovers(run: RunDir) -> list[Path]:
    """Remove them.

    Args:
        run: whose lock the caller holds: what another process is writing would be removed, too.

    Returns:
        what was removed.
    """
    found = leftovers(run)
    for file in found:
        file.unlink(missing_ok=True)
    return found


def _half_written(path: Path) -> Iterator[Path]:
    for pattern in (".*.tmp", ".*.rights", ".tmp??????"):  # the last is safetensors'
        yield from path.glob(pattern)
        yield from path.glob(f"task_*/**/{pattern}")


def _outlived(run: RunDir) -> Iterator[Path]:
    scores = run.scores()
    for position in run.positions:
        folder = run.folder(position)
        if (folder / "train.json").exists() and (folder / LAST).is_file():
            yield folder / LAST
        for task in scores.get(position, {}).get("scores", ()):
            yield from (folder / "records" / ".partial").glob(f"{task}.*.jsonl")

"""Put finished runs into the repository: `python experiments/results/collect.py RUNS FOLDER`.

Copies every `matrix.json` below RUNS as `<method>_seed_<n>.json`; writes `summary.{json,md}`, `forgetting.png`.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from coin_lightning.errors import RunError
from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.overview import (
    MethodGroup,
    forgetting_overview,
    group_by_method,
    mean_and_spread,
    metric_keys,
    metric_text,
)
from coin_lightning.reporting.rendering import save_png
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix


def collect(runs: Path, folder: Path) -> list[RunMatrix]:
    """Copy the matrices of finished runs.

    Raises:
        RunError: there is none, or one is unfinished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for file in sorted(runs.rglob("matrix.json")):
        matrix = load_matrix(file)
        if not matrix.is_complete:
            raise RunError(f"{file}: run is not finished; give its command again")
        shutil.copyfile(file, folder / f"{matrix.method}_seed_{matrix.seed}.json")
        found.append(matrix)
    if not found:
        raise RunError(f"{runs}: no matrix.json below it; run experiments/coin_mini.sh")
    return found


def summary(groups: list[MethodGroup], keys: list[str]) -> dict[str, object]:
    """Mean and sample standard deviation per method: metrics, and each task's zero-shot, immediate and final score."""
    result: dict[str, object] = {}
    for group in groups:
        tasks = {}
        for index, task in enumerate(group.runs[0].tasks):
            rows = {"zero_shot": 0, "immediate": index + 1, "final": -1}
            tasks[task] = {name: _spread(group.scores[:, row, index]) for name, row in rows.items()}
        metrics = {key: dict(zip(("mean", "sd", "seeds"), group.metric(key), strict=True)) for key in keys}
        seconds = [run.cost["train_seconds"] + run.cost["evaluation_seconds"] for run in group.runs]
        seeds = [run.seed for run in group.runs]
        result[group.label] = {"seeds": seeds, "seconds": seconds, "metrics": metrics, "tasks": tasks}
    return result


def _spread(values: np.ndarray) -> dict[str, float]:
    mean, deviation = mean_and_spread(values[:, None])
    return {"mean": float(mean[0]), "sd": float(deviation[0])}


def markdown(groups: list[MethodGroup], keys: list[str]) -> str:
    """The same as two tables."""
    head = "| | " + " | ".join(group.label for group in groups) + " |\n|---|" + "---:|" * len(groups)
    texts = {explain(key).label: [metric_text(group, key) for group in groups] for key in keys}
    rows = [f"| {label} | " + " | ".join(cells) + " |" for label, cells in texts.items()]
    tasks = [head.replace("| |", "| zero-shot / right after its training / at the end |", 1)]
    for index, task in enumerate(groups[0].runs[0].tasks):
        means = [[group.scores[:, row, index].mean() for row in (0, index + 1, -1)] for group in groups]
        cells = [" / ".join(f"{mean:.1f}" for mean in three) for three in means]
        tasks.append(f"| {groups[0].runs[0].title(task)} | " + " | ".join(cells) + " |")
    return "\n".join([head, *rows, "", *tasks]) + "\n"


def main() -> None:
    """Command line."""
    runs, folder = Path(sys.argv[1]), Path(sys.argv[2])
    matrices = collect(runs, folder)
    groups, keys = group_by_method(matrices), metric_keys(matrices)
    (folder / "summary.json").write_text(json.dumps(summary(groups, keys), indent=1) + "\n")
    (folder / "summary.md").write_text(markdown(groups, keys))
    save_png(forgetting_overview(matrices), folder / "forgetting.png")
    print(markdown(groups, keys))


if __name__ == "__main__":
    main()

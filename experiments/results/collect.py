"""Put finished runs into the repository: `python experiments/results/collect.py RUNS FOLDER`.

Copies every `matrix.json` below RUNS as `<method>_seed_<n>.json`, and writes `summary.json`, `summary.md` and `forgetting.png`.
"""

import json
import shutil
import sys
from pathlib import Path

from coin_lightning.errors import RunError
from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.names import title
from coin_lightning.reporting.overview import (
    MethodGroup,
    forgetting_overview,
    group_by_method,
    mean_and_spread,
    metric_keys,
    metric_text,
)
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.style import save_png


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
    """Mean and sample standard deviation per method, of metrics and of each task's zero-shot, immediate and final score."""
    result: dict[str, object] = {}
    for group in groups:
        tasks = {}
        for index, task in enumerate(group.runs[0].tasks):
            cells = {"zero_shot": group.scores[:, 0, index], "immediate": group.scores[:, index + 1, index], "final": group.scores[:, -1, index]}
            spread = {name: [float(part[0]) for part in mean_and_spread(values[:, None])] for name, values in cells.items()}
            tasks[task] = {name: {"mean": mean, "sd": deviation} for name, (mean, deviation) in spread.items()}
        metrics = {key: dict(zip(("mean", "sd", "seeds"), group.metric(key), strict=True)) for key in keys}
        cost = {"seconds": [run.cost["train_seconds"] + run.cost["evaluation_seconds"] for run in group.runs]}
        result[group.label] = {"seeds": [run.seed for run in group.runs], "metrics": metrics, "tasks": tasks, "cost": cost}
    return result


def markdown(groups: list[MethodGroup], keys: list[str]) -> str:
    """The same as two tables."""
    head = "| | " + " | ".join(group.label for group in groups) + " |\n|---|" + "---:|" * len(groups)
    rows = [f"| {explain(key).label} | " + " | ".join(metric_text(group, key) for group in groups) + " |" for key in keys]
    tasks = ["| zero-shot / right after its training / at the end | " + " | ".join(group.label for group in groups) + " |\n|---|" + "---:|" * len(groups)]
    for index, task in enumerate(groups[0].runs[0].tasks):
        cells = [f"{g.scores[:, 0, index].mean():.1f} / {g.scores[:, index + 1, index].mean():.1f} / {g.scores[:, -1, index].mean():.1f}" for g in groups]
        tasks.append(f"| {title(task)} | " + " | ".join(cells) + " |")
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

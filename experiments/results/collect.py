"""Put finished runs into the repository: `python experiments/results/collect.py RUNS FOLDER`.

Copies every `matrix.json` below RUNS; writes `summary.{json,md}` and `forgetting.png`. Needs the answers beside the
matrices: two methods are compared sample by sample. To a folder whose own answers are no longer there, `--orders` adds
sequences in further orders: `orders.{json,md}`, where only the added pairs are compared sample by sample. `--bounds`
puts joint runs, and tasks learned alone, in the place of those that are there.
"""

import argparse
import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from coin_lightning.benchmarks.mini_suite import TASKS
from coin_lightning.errors import RunError
from coin_lightning.metrics.paired import PairedDifference, sign_flip
from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.overview import (
    MethodGroup,
    forgetting_overview,
    group_by_method,
    mean_and_spread,
    metric_keys,
    metric_text,
)
from coin_lightning.reporting.paired_runs import paired_runs, pairs
from coin_lightning.reporting.rendering import save_png
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix
from coin_lightning.reporting.sample_scores import SampleReader
from coin_lightning.results import find_runs

OURS, THEIRS = "moelora", "lora"
"""The difference between these two is shown: ours minus theirs."""
MOMENTS = {"right after each task's training": "learning_accuracy", "at the end of the sequence": "acc"}
"""The metrics that are compared, by what the tables call them."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        kind: `sequence`, `joint`, or `alone` for one task by itself.
    """

    folder: Path
    matrix: RunMatrix
    kind: str

    @classmethod
    def read(cls, file: Path) -> "Run":
        """Raises RunError for one that is not finished."""
        matrix = load_matrix(file)
        if not matrix.is_complete:
            raise RunError(f"{file}: run is not finished; give its command again")
        alone = matrix.training == "sequence" and len(matrix.tasks) == 1
        return cls(file.parent, matrix, "alone" if alone else matrix.training)

    @property
    def order(self) -> str:
        """Name of the order of a sequence; of a run alone its task."""
        tasks = list(self.matrix.tasks)
        coin = [task.key for task in TASKS if task.key in tasks]
        names = {"coin": coin, "alphabetical": sorted(coin), "reversed": coin[::-1]}
        known = [name for name, listed in names.items() if listed == tasks]
        return tasks[0] if self.kind == "alone" else known[0] if known else "-".join(tasks)

    @property
    def name(self) -> str:
        """Of its file here: `lora_seed_0`, `lora_reversed_seed_0`, `lora_joint_seed_0`, `lora_alone_gqa_seed_0`."""
        parts = {"sequence": [] if self.order == "coin" else [self.order], "alone": ["alone", self.order]}
        return "_".join([self.matrix.method, *parts.get(self.kind, [self.kind]), f"seed_{self.matrix.seed}"])


def finished(runs: Path) -> list[Run]:
    """All runs below a folder.

    Raises:
        RunError: one is unfinished, or two have one name.
    """
    found: dict[str, Run] = {}
    for path in find_runs([runs]):  # not the matrices of other scorers within them
        run = Run.read(path / "matrix.json")
        if run.name in found:
            raise RunError(f"{run.folder} and {found[run.name].folder} are both {run.name}; remove one")
        found[run.name] = run
    return list(found.values())


def keep(runs: Sequence[Run], folder: Path) -> None:
    """Copy their matrices."""
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        shutil.copyfile(run.folder / "matrix.json", folder / f"{run.name}.json")


def sequences(runs: Sequence[Run], method: str) -> list[RunMatrix]:
    """Those of a method, joint runs and tasks alone left out."""
    return [run.matrix for run in runs if (run.kind, run.matrix.method) == ("sequence", method)]


def paired(runs: Sequence[Run], quantity: str) -> PairedDifference | None:
    """Ours minus theirs over all sequences of the same seed and order; None without a pair."""
    return paired_runs([sequences(runs, OURS)], sequences(runs, THEIRS), quantity, SampleReader())[0]


def by_pair(runs: Sequence[Run], quantity: str) -> list[float]:
    """The same of each pair, from the matrices alone."""
    return [
        float(ours.metrics[quantity] - theirs.metrics[quantity])
        for ours, theirs in pairs(sequences(runs, OURS), sequences(runs, THEIRS))
    ]


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


def methods_table(groups: list[MethodGroup], keys: list[str]) -> str:
    """A row per metric, a column per method."""
    head = "| | " + " | ".join(group.label for group in groups) + " |\n|---|" + "---:|" * len(groups)
    texts = {explain(key).label: [metric_text(group, key) for group in groups] for key in keys}
    return "\n".join([head, *(f"| {label} | " + " | ".join(cells) + " |" for label, cells in texts.items())])


def tasks_table(groups: list[MethodGroup], runs: Sequence[Run]) -> str:
    """A row per task: what guessing gives, zero-shot, and by method its scores in the sequence and its bounds."""
    first = groups[0].runs[0]
    heads = [f"{group.label}: {what}" for group in groups for what in ("after it / at the end", "alone / joint")]
    lines = ["| | guessing | zero-shot | " + " | ".join(heads) + " |", "|---|" + "---:|" * (2 + len(heads))]
    for index, task in enumerate(first.tasks):
        cells = [_one(first.guesses.get(task, {}).get("score")), _one(first.zero_shot[index])]
        for group in groups:
            means = [group.scores[:, row, index].mean() for row in (index + 1, -1)]
            bounds = [_bound(runs, group.runs[0].method, kind, task) for kind in ("alone", "joint")]
            cells += [" / ".join(map(_one, two)) for two in (means, bounds)]
        lines.append(f"| {first.title(task)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _bound(runs: Sequence[Run], method: str, kind: str, task: str) -> float | None:
    """Mean over seeds of the score of a task learned alone, or jointly with all others; None without such a run."""
    found = [run.matrix for run in runs if (run.matrix.method, run.kind) == (method, kind) and task in run.matrix.tasks]
    return float(np.mean([matrix.scores[-1, matrix.tasks.index(task)] for matrix in found])) if found else None


def _one(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def orders_table(runs: Sequence[Run]) -> str:
    """Final and learning accuracy of every sequence, by order and seed."""
    listed = [run for run in runs if run.kind == "sequence"]
    methods = list(dict.fromkeys(run.matrix.method for run in listed))
    titles = {run.matrix.method: run.matrix.method_title for run in listed}
    lines = ["| order, seed | " + " | ".join(f"{titles[method]}: ACC / LA / BWT" for method in methods) + " |"]
    lines.append("|---|" + "---:|" * len(methods))
    for order, seed in dict.fromkeys((run.order, run.matrix.seed) for run in listed):
        cells = []
        for method in methods:
            found = [run for run in listed if (run.matrix.method, run.order, run.matrix.seed) == (method, order, seed)]
            keys = ("acc", "learning_accuracy", "bwt")
            cells.append(" / ".join(_one(found[0].matrix.metrics[key]) for key in keys) if found else "-")
        lines.append(f"| {order}, {seed} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paired_table(found: dict[str, PairedDifference]) -> str:
    """A row per moment."""
    lines = [
        "| moelora minus lora | points | 95 % over other test images | by pair of runs | p |",
        "|---|---:|---:|---:|---:|",
    ]
    for label, difference in found.items():
        low, high = difference.images
        each = ", ".join(f"{value:+.1f}" for value in difference.runs)
        lines.append(f"| {label} | {difference.mean:+.1f} | {low:+.1f} to {high:+.1f} | {each} | {difference.p:.2g} |")
    return "\n".join(lines)


def pairs_table(found: dict[str, list[float]]) -> str:
    """A row per moment, over pairs of which no answers are needed."""
    lines = ["| moelora minus lora, all pairs | points | by pair of runs | p |", "|---|---:|---:|---:|"]
    for label, values in found.items():
        each, p = ", ".join(f"{value:+.1f}" for value in values), sign_flip(np.asarray(values))
        lines.append(f"| {label} | {np.mean(values):+.1f} | {each} | {p:.2g} |")
    return "\n".join(lines)


def compared(runs: Sequence[Run]) -> dict[str, PairedDifference]:
    """Both methods at every moment, as far as there are pairs."""
    return {label: found for label, key in MOMENTS.items() if (found := paired(runs, key)) is not None}


def check_alike(runs: Sequence[Run], kept: Sequence[Run], folder: Path) -> None:
    """See that runs may stand in one table with the sequences of their method that are kept.

    Raises:
        RunError: one has another protocol than they.
    """
    for run in runs:
        others = [each for each in kept if (each.kind, each.matrix.method) == ("sequence", run.matrix.method)]
        free = {"order", *(("train_samples", "test_samples") if run.kind == "alone" else ())}
        if differing := [each.name for each in others if _protocol(each, free) != _protocol(run, free)]:
            raise RunError(f"{run.folder}: has another protocol than {', '.join(differing)} in {folder}")


def _protocol(run: Run, free: Collection[str]) -> dict[str, object]:
    return {field: value for field, value in run.matrix.protocol.items() if field not in free}


def write(folder: Path, name: str, content: dict[str, object], tables: Sequence[str]) -> None:
    """The same as JSON and as Markdown, which is printed, too."""
    text = "\n\n".join(tables) + "\n"
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text)
    print(text)


def whole(folder_of_runs: Path, folder: Path) -> None:
    """All that there is to show.

    Raises:
        RunError: as `finished`, or there is no sequence in CoIN's order.
    """
    runs = finished(folder_of_runs)
    if not in_coins_order(runs):
        raise RunError(
            f"{folder_of_runs}: no matrix.json of a sequence in CoIN's order below it; run experiments/coin_mini.sh"
        )
    keep(runs, folder)
    summarise(folder, runs, compared(runs))
    save_png(forgetting_overview(in_coins_order(runs)), folder / "forgetting.png")


def in_coins_order(runs: Sequence[Run]) -> list[MethodGroup]:
    """Sequences in CoIN's order, by method."""
    return group_by_method([run.matrix for run in runs if run.kind == "sequence" and run.order == "coin"])


def summarise(folder: Path, runs: Sequence[Run], differences: dict[str, PairedDifference]) -> None:
    """Write `summary.{json,md}`."""
    groups = in_coins_order(runs)
    keys = metric_keys(groups)
    tables = [methods_table(groups, keys), tasks_table(groups, runs), orders_table(runs)]
    content = {**summary(groups, keys), "paired": {label: asdict(each) for label, each in differences.items()}}
    write(folder, "summary", content, [*tables, *([paired_table(differences)] if differences else [])])


def beside(runs: Sequence[Run], folder: Path) -> list[Run]:
    """These and those that are in the folder under other names."""
    names = {run.name for run in runs}
    there = [Run.read(file) for file in folder.glob("*_seed_*.json") if file.stem not in names]
    return sorted([*there, *runs], key=lambda run: run.name)


def further_orders(folder_of_runs: Path, folder: Path) -> None:
    """Sequences in other orders beside those that are in the folder.

    Raises:
        RunError: as `finished`; they have no pair, or another protocol than what they are put beside.
    """
    runs = finished(folder_of_runs)
    kept = beside(runs, folder)
    check_alike(runs, kept, folder)
    differences, each = compared(runs), {label: by_pair(kept, key) for label, key in MOMENTS.items()}
    if not differences:
        raise RunError(f"{folder_of_runs}: no run of {OURS} and one of {THEIRS} have the same order and seed")
    keep(runs, folder)
    content: dict[str, object] = {"by_pair": each, "paired": {name: asdict(one) for name, one in differences.items()}}
    write(folder, "orders", content, [orders_table(kept), pairs_table(each), paired_table(differences)])


def bounds(folder_of_runs: Path, folder: Path) -> None:
    """Joint runs and tasks alone in the place of those that are in the folder; what is known of sequences stays.

    Raises:
        RunError: as `finished`; one is a sequence, or has another protocol than what it bounds.
    """
    runs = finished(folder_of_runs)
    if foreign := [str(run.folder) for run in runs if run.kind == "sequence"]:
        raise RunError(f"{', '.join(foreign)}: sequences are no bounds; give a folder of joint runs and of tasks alone")
    kept = beside(runs, folder)
    check_alike(runs, kept, folder)
    known, told = json.loads((folder / "summary.json").read_text())["paired"], (folder / "summary.md").read_text()
    shown = [run for run in kept if run.kind != "sequence" or f"| {run.order}, {run.matrix.seed} |" in told]
    keep(runs, folder)
    summarise(folder, shown, {label: PairedDifference(**each) for label, each in known.items()})


def main(argv: Sequence[str] | None = None) -> None:
    """What the command does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder below which the run folders are")
    parser.add_argument("folder", type=Path, help="where matrices and tables go")
    added = parser.add_mutually_exclusive_group()
    added.add_argument("--orders", action="store_true", help="add sequences in further orders")
    added.add_argument("--bounds", action="store_true", help="replace joint runs and tasks alone")
    args = parser.parse_args(argv)
    (further_orders if args.orders else bounds if args.bounds else whole)(args.runs, args.folder)


if __name__ == "__main__":
    main()

"""A sweep of tiny runs: from start to the first training step, the whole grid, and finished runs skipped.

    python experiments/benchmarks/sweep.py [--runs 12]

The grid is over seeds of `+experiment=moelora_llava +debug=tiny`, by Hydra's basic launcher. What its runs must take is
training and evaluation as their `matrix.json` has them, and one start-up: a process up to its first training step,
zero-shot answers included. Skipping is the same command again, less that for the first run alone.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import RESULTS, machine, show, write_json

AIMS = {"first_step": 6.0, "grid_over_runs": 1.3, "skipped": 0.3}
"""Seconds to the first step; grid / (its runs and one start-up); seconds of each skipped run."""
EXPERIMENT = ["+experiment=moelora_llava", "+debug=tiny"]
FIRST_STEP = """
import os, sys, time
from coin_lightning.cli.commands import main
from coin_lightning.module import ContinualMLLM

def step(*_):
    print("seconds", time.time() - {started}, flush=True)
    os._exit(0)

ContinualMLLM.training_step = step
sys.argv = ["coin_lightning", *{words}]
main()
"""


def first_step(folder: Path) -> float:
    """Seconds from the start of a process to its first training step."""
    words = [*EXPERIMENT, f"run_dir={folder}"]
    code = FIRST_STEP.format(started=time.time(), words=words)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return next(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("seconds "))


def sweep(folder: Path, seeds: int) -> float:
    """Seconds of the command over so many seeds."""
    given = [*EXPERIMENT, f"paths.runs={folder}", f"seed={','.join(map(str, range(seeds)))}"]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "coin_lightning", "-m", *given], check=True, capture_output=True)
    return time.perf_counter() - started


def inside(folder: Path) -> float:
    """Seconds of training and evaluation of all runs in a folder."""
    costs = [json.loads(file.read_text())["cost"] for file in folder.rglob("matrix.json")]
    return sum(cost["train_seconds"] + cost["evaluation_seconds"] for cost in costs)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2, help="of the first step, and of skipping")
    parser.add_argument("--out", default=str(RESULTS / "sweep.json"))
    args = parser.parse_args(argv)
    about = machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "grid"
        starts = [first_step(Path(scratch) / f"start_{turn}") for turn in range(args.repeats)]
        whole, runs = sweep(folder, args.runs), inside(folder)
        again = [(sweep(folder, args.runs), sweep(folder, 1)) for _ in range(args.repeats)]
    start = statistics.median(starts)
    results = {
        "first_step": start,
        "grid": whole,
        "runs_inside": runs,
        "grid_over_runs": whole / (runs + start),
        "skipped": statistics.median((all_ - single) / max(args.runs - 1, 1) for all_, single in again),
    }
    rows = [[name, value, AIMS.get(name, "")] for name, value in results.items()]
    show(f"a grid of {args.runs} tiny runs", ("", "measured", "aim"), rows)
    write_json(args.out, {"machine": about, "runs": args.runs, "results": results, "aims": AIMS,
                          "each": {"first_step": starts, "again": again}})  # fmt: skip


if __name__ == "__main__":
    main()

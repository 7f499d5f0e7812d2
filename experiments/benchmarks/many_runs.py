"""A report over many runs: seconds, memory and size of the page, with all answers read.

    python experiments/benchmarks/many_runs.py [--runs 500] [--folder FOLDER]

The runs are made up, in the form that the training command leaves: a grid of five seeds, each with its config, eight
tasks of 40 test samples, records, routing, and manifests with the sha256 of all that. A wrong answer is one of 200, so
that runs share some of their answers, as real ones do. The report is the command's, in a process of its own; the files
have just been written, so that they come from the system's memory and not from a disk.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from harness import RESULTS, machine, show, write_json

from coin_lightning.assets import file_sha256
from coin_lightning.manifest import NAME

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "reporting"))

from fake_run import build_run

AIMS = {"seconds": 10.0, "page_bytes": 5_000_000}
SEEDS, WORDS = 5, 200
EXPERIMENT = "+experiment=moelora_llava"


def config_text() -> str:
    """`config.yaml` of the experiment."""
    command = [sys.executable, "-m", "coin_lightning", EXPERIMENT, "--cfg", "job", "--resolve"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def members() -> list[tuple[str, int, int]]:
    """Method, experts and rank of every combination, as many as are ever asked for."""
    return list(product(("moelora", "lora"), (1, 2, 4, 8, 16, 32, 64), range(8, 8 * 65, 8)))


def make_runs(folder: Path, count: int, answers: int, config: str) -> list[Path]:
    """Write so many run folders."""
    made = []
    for number in range(count):
        (method, experts, rank), seed = members()[number // SEEDS], number % SEEDS
        name = f"{method},num_experts={experts},rank={rank}"
        run = build_run(folder / name / f"seed_{seed}", method=method, seed=seed, answers=answers, images=False,
                        keep=0.6 + 0.005 * rank / 8)  # fmt: skip
        (run / "config.yaml").write_text(re.sub(r"(?m)^seed: .*", f"seed: {seed}", config))
        matrix = json.loads((run / "matrix.json").read_text())
        matrix["protocol"]["adapter"] = f"rank {rank}, alpha {2 * rank}, num_experts {experts}"
        (run / "matrix.json").write_text(json.dumps(matrix))
        _vary(run, random.Random(number))
        for experience in run.glob("task_*"):
            _seal(experience)
        made.append(run)
    return made


def _vary(run: Path, rng: random.Random) -> None:
    """Let wrong answers in words be many different ones; their score stays 0."""
    for file in run.glob("task_*/records/*.jsonl"):
        text = file.read_text()
        file.write_text(re.sub('"prediction": "blue"', lambda _: f'"prediction": "wrong {rng.randrange(WORDS)}"', text))


def _seal(folder: Path) -> None:
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != NAME]
    known = {file.relative_to(folder).as_posix(): [file_sha256(file)] for file in files}
    (folder / NAME).write_text(json.dumps({"sha256": known}))


def report(runs: list[Path], out: Path, options: list[str]) -> dict[str, float]:
    """Seconds (wall and CPU) and peak memory of the command, and the bytes of its page."""
    command = [sys.executable, "-m", "coin_lightning", "report", *map(str, runs), "--out", str(out), *options]
    before, started = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - started, getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = (out / "comparison.html").stat().st_size
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": after.ru_maxrss * 1024, "page_bytes": size}


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--answers", type=int, default=40, help="to each task")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to make the runs, or where they have been left")
    parser.add_argument("--out", default=str(RESULTS / "many_runs.json"))
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "runs"
        found = sorted(folder.glob("*/seed_*"))
        runs = found or make_runs(folder, args.runs, args.answers, config_text())
        results = {}
        for name, options in {"with_answers": [], "without": ["--no-records"]}.items():
            each = [report(runs, Path(scratch) / "out", options) for _ in range(args.repeats)]
            results[name] = min(each, key=lambda one: one["seconds"]) | {"each": [one["seconds"] for one in each]}
    rows = [[name, *(one[key] for key in ("seconds", "cpu_seconds")), one["page_bytes"] / 1e6, one["peak_bytes"] / 1e6]
            for name, one in results.items()]  # fmt: skip
    show(f"report over {len(runs)} runs", ("", "seconds", "CPU s", "page MB", "memory MB"), rows)
    write_json(args.out, {"machine": machine(), "runs": len(runs), "answers": args.answers, "results": results,
                          "aims": AIMS})  # fmt: skip


if __name__ == "__main__":
    main()

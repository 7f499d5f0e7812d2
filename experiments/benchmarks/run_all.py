"""Run every benchmark that this machine can, then say which aims are met (`make bench`).

    python experiments/benchmarks/run_all.py

Each script runs in a process of its own with its defaults and writes `results/<name>.json`; other arguments go to
none of them.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from harness import RESULTS, show

FOLDER = Path(__file__).parent
SCRIPTS = (
    "layer",
    "training",
    "evaluation",
    "shared_images",
    "loop",
    "memory",
    "reading",
    "verify",
    "scoring",
    "building",
    "page",
    "many_runs",
    "sweep",
)


class Aim(NamedTuple):
    """A figure in a result and its bound: at least (`sign` 1) or at most (-1)."""

    script: str
    what: str
    figure: Callable[[dict[str, Any]], float]
    bound: float
    sign: int

    def verdict(self, value: float) -> str:
        """`met`, or by how much of the bound it is missed."""
        short = (self.bound - value) * self.sign
        if short <= 0:
            return "met"
        return f"missed by {short / self.bound:.1%}" if self.bound else f"missed by {short:g}"


AIMS = (
    Aim(
        "layer",
        "MoELoRA / LoRA, worst E and shape",
        lambda r: max(max(c["over_lora"].values()) for c in r["results"]),
        1.08,
        -1,
    ),
    Aim(
        "layer",
        "expert loop / MoELoRA at E=8, worst shape",
        lambda r: min(c["loop_over_ours"]["8"] for c in r["results"]),
        2.0,
        1,
    ),
    Aim("training", "samples/s, ours / transformers.Trainer", lambda r: r["ours_over_trainer"], 2.0, 1),
    Aim(
        "training", "step of MoELoRA / of PEFT's LoRA in our loop", lambda r: r["moelora_time_over_peft_lora"], 0.9, -1
    ),
    Aim("training", "step of MoELoRA / of LoRA, both in groups", lambda r: r["moelora_time_over_own_lora"], 1.06, -1),
    Aim("evaluation", "answers/s, ours / one by one", lambda r: r["results"][-1]["ours_over_pixels"], 5.5, 1),
    Aim("evaluation", "differing answers in float32", lambda r: r["results"][0]["differing"]["ours, batched"], 0.0, -1),
    Aim(
        "shared_images",
        "answers/s at 16 questions per image, a pass per image / per question",
        lambda r: next(c["together_over_apart"] for c in r["results"][1:] if c["questions_per_image"] == 16),
        4.0,
        1,
    ),
    Aim("shared_images", "differing answers in float32", lambda r: r["results"][0]["differing"], 0.0, -1),
    Aim("loop", "whole fit / bare loop", lambda r: r["ours_over_bare"], 1.05, -1),
    Aim("memory", "peak of a step, ours / Trainer", lambda r: r["peak_ours_over_trainer"], 1.0, -1),
    Aim("memory", "checkpoint, ours / Trainer", lambda r: r["checkpoint_ours_over_trainer"], 1.0, -1),
    Aim("reading", "seconds from start to first batch, 600,000 samples", lambda r: r["seconds"], 20.0, -1),
    Aim("reading", "memory of it, MB", lambda r: r["peak_bytes"] / 1e6, 1500.0, -1),
    Aim("reading", "start to first batch, ours / datasets", lambda r: r["ours_over_datasets"], 1.0, -1),
    Aim("verify", "data check / decoding its images", lambda r: r["verify_over_decode"], 1.25, -1),
    Aim("building", "seconds to build VQAv2 in three types", lambda r: r["results"]["build"]["seconds"], 300.0, -1),
    Aim("building", "memory of it, MB", lambda r: r["results"]["build"]["bytes"] / 1e6, 500.0, -1),
    Aim("scoring", "seconds for 100,000 answers, slowest rule", lambda r: r["slowest"], 5.0, -1),
    Aim("page", "seconds, after an experience of eight", lambda r: r["results"]["after_an_experience"], 0.3, -1),
    Aim("page", "seconds, whole with its figures", lambda r: r["results"]["whole"], 2.5, -1),
    Aim("many_runs", "seconds, report over 500 runs", lambda r: r["results"]["with_answers"]["seconds"], 10.0, -1),
    Aim("many_runs", "its page, MB", lambda r: r["results"]["with_answers"]["page_bytes"] / 1e6, 5.0, -1),
    Aim("sweep", "seconds to the first step of a tiny run", lambda r: r["results"]["first_step"], 6.0, -1),
    Aim("sweep", "grid of 12 / its runs and a start-up", lambda r: r["results"]["grid_over_runs"], 1.3, -1),
    Aim("sweep", "seconds of a finished run in a grid", lambda r: r["results"]["skipped"], 0.3, -1),
)


def table(results: Path, scripts: Sequence[str]) -> list[list[str]]:
    """Rows: script, figure, value, aim, verdict."""
    rows = []
    for aim in AIMS:
        if aim.script not in scripts:
            continue
        value = aim.figure(json.loads((results / f"{aim.script}.json").read_text()))
        rows.append(
            [
                aim.script,
                aim.what,
                f"{value:.3f}",
                f"{'>=' if aim.sign > 0 else '<='} {aim.bound:g}",
                aim.verdict(value),
            ]
        )
    return rows


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*SCRIPTS, "gpu"])
    parser.add_argument("--summary", action="store_true", help="measure nothing, read the results that are there")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run, then print the table; exit status 1 when a script failed."""
    args = parse(argv)
    names = args.only or [*SCRIPTS, *(["gpu"] if torch.cuda.is_available() else [])]
    failed, started = [], time.monotonic()
    for name in [] if args.summary else names:
        print(f"\n== {name}", flush=True)
        begun = time.monotonic()
        if subprocess.run([sys.executable, str(FOLDER / f"{name}.py")], check=False).returncode:
            failed.append(name)
        print(f"{name}: {time.monotonic() - begun:.0f} s")
    if not args.summary:
        print(f"\nmeasured in {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    done = [name for name in names if name not in failed and (RESULTS / f"{name}.json").exists()]
    show("aims", ["benchmark", "figure", "measured", "aim", ""], table(RESULTS, done))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()

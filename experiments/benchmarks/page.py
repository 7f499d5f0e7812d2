"""The page of a run: seconds after each experience, and whole with its figures, in a process that is warm.

    python experiments/benchmarks/page.py [--run RUN]

Without `--run` a run of eight tasks is made first (`+experiment=moelora_llava +debug=tiny`). The run as it was after
each experience is its folder with the later scores taken out of `matrix.json`. Beside it stands what importing costs
in a process that has nothing yet.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import CLOCK, RESULTS, clock, machine, show, write_json

from coin_lightning.manifest import write_known_json
from coin_lightning.reporting.html import write_report

AIMS = {"after_an_experience": 0.3, "whole": 2.5}
"""Seconds, the slowest of all experiences and repeats."""
IMPORTING = """
import time
started = time.{clock}()
import coin_lightning.reporting.html
print(time.{clock}() - started)
"""


def make_run(folder: Path) -> Path:
    """A finished run of eight tasks."""
    command = [sys.executable, "-m", "coin_lightning", "+experiment=moelora_llava", "+debug=tiny", f"run_dir={folder}"]
    subprocess.run(command, check=True)
    return folder


def cut(run: Path, row: int) -> None:
    """Let the run be as it was after experience `row`."""
    file = run / "matrix.json"
    content = json.loads(file.read_text())
    sections = [content, *content.get("variants", {}).values(), *content.get("judges", {}).values()]
    for section in sections:
        for key in {"scores", "counts", "differing", "unparsed"} & section.keys():
            section[key] = [cells if at <= row else [None] * len(cells) for at, cells in enumerate(section[key])]
    write_known_json(file, content)


def seconds_of(run: Path, repeats: int, figures: bool) -> list[float]:
    """Seconds of each of `repeats` pages."""
    times = []
    for _ in range(repeats):
        started = clock()
        write_report(run, figures=figures)
        times.append(clock() - started)
    return times


def importing(repeats: int) -> list[float]:
    """Seconds that importing the page takes in fresh processes."""
    code = IMPORTING.format(clock="process_time" if CLOCK["cpu"] else "perf_counter")
    commands = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True) for _ in range(repeats)]
    return [float(done.stdout) for done in commands]


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a finished run; it is copied, not changed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time: for a machine with other work to do")
    parser.add_argument("--out", default=str(RESULTS / "page.json"))
    args = parser.parse_args(argv)
    CLOCK["cpu"] = args.cpu_time
    with tempfile.TemporaryDirectory() as folder:
        run = Path(shutil.copytree(args.run or make_run(Path(folder, "made")), Path(folder, "run")))
        tasks = json.loads((run / "matrix.json").read_text())["tasks"]
        write_report(run)  # warm
        whole = seconds_of(run, args.repeats, figures=True)
        partial = {}
        for row in range(len(tasks) - 1, -1, -1):
            cut(run, row)
            partial[row] = seconds_of(run, args.repeats, figures=False)
    figures = {
        "tasks": len(tasks),
        "import": min(importing(args.repeats)),
        "after_an_experience": max(map(max, partial.values())),
        "whole": max(whole),
        "pages_of_a_run": sum(map(max, partial.values())) + max(whole),
        "after": {str(row): times for row, times in sorted(partial.items())},
        "whole_each": whole,
    }
    rows = [(name, figures[name]) for name in ("import", "after_an_experience", "whole", "pages_of_a_run")]
    show(f"page of a run of {len(tasks)} tasks", ("", "seconds"), rows)
    write_json(args.out, {"machine": machine(), "results": figures, "aims": AIMS})


if __name__ == "__main__":
    main()

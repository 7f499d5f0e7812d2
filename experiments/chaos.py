"""Kill a run anywhere, give the same command again, and see that it ends with the same bits.

    python experiments/chaos.py --kills 20 --seed 1             at random moments
    python experiments/chaos.py --files --jobs 2                before every operation on a file of the run, in turn
    python experiments/chaos.py --kills 5 --seed 1 --ranks 2    a job of two processes
    python experiments/chaos.py --kills 5 --signal USR1         asked to end, as schedulers do
    python experiments/chaos.py --kills 5 -- method=olora 'plugin=[replay,ewc]' adapter.dropout=0.3

Behind `--` stands any override of the run. Outcomes belong into `experiments/results/chaos/`; the longest passes are:

    python experiments/chaos.py --kills 100 --seed 1 --out experiments/results/chaos/kills_100_seed_1.json
    python experiments/chaos.py --files --jobs 2 --out experiments/results/chaos/files.json

A run is two tasks on `backbone=tiny`, with dropout, saved after every step, judged and reported. Compared are weights,
method state, answers, scores and replies, byte by byte, and `matrix.json` but for its times. Commit nothing meanwhile:
a run that goes on with other code says so there.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from coin_lightning.continual.environment import environment

PATTERNS = (
    "task_*/adapter/*", "task_*/method_state.safetensors", "task_*/memory.json", "task_*/records/*.jsonl",
    "task_*/judged/*/*.jsonl", "task_*/router.json", "matrix.csv", "metrics.json",
)  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


def command(folder: Path, more: Sequence[str], ranks: int) -> list[str]:
    """Arguments of the run that writes to `folder`."""
    devices = ["trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={ranks}"] if ranks > 1 else []
    return [
        "+experiment=moelora_llava", "+debug=tiny", "scenario.order=[imagenet,gqa]", "data.limit_train=8",
        "data.limit_test=2", "adapter.dropout=0.05", "callbacks.checkpoint.every_n_steps=1", "judge=embedding",
        "share_answers=false", *devices, f"run_dir={folder}", *more,
    ]  # fmt: skip


def outcome(run: Path) -> dict[str, Any]:
    """Everything that a run has computed, by name: bytes, and the matrix without its times."""
    files = sorted(file for pattern in PATTERNS for file in run.glob(pattern) if file.is_file())
    found: dict[str, Any] = {str(file.relative_to(run)): file.read_bytes() for file in files}
    found["matrix.json"] = json.loads((run / "matrix.json").read_text())
    found["matrix.json"].pop("cost")
    for judged in found["matrix.json"].get("judges", {}).values():
        judged.pop("seconds", None)
    return found


class Runs:
    """Commands in forks of this process, which has imported everything; of several ranks, as commands of their own."""

    def __init__(self, more: Sequence[str], ranks: int) -> None:
        self.more, self.ranks = more, ranks
        if ranks == 1:
            from coin_lightning.cli import commands, run  # noqa: F401  (what a fork finds done)

    def start(self, folder: Path, at: int | None = None, count: Path | None = None) -> int:
        """Process id of the run in `folder`.

        Args:
            at: it kills itself before so many operations on its files.
            count: file that says at its end how many there were.
        """
        log = folder.with_suffix(".log")
        if self.ranks > 1:
            words = [sys.executable, "-m", "coin_lightning", *command(folder, self.more, self.ranks)]
            with log.open("a") as stream:
                return subprocess.Popen(words, stdout=stream, stderr=stream, start_new_session=True).pid
        sys.stdout.flush()
        if child := os.fork():
            return child
        os.setsid()
        self._child(folder, log, at, count)

    def _child(self, folder: Path, log: Path, at: int | None, count: Path | None) -> None:
        from coin_lightning.cli import commands

        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.argv = ["coin_lightning", *command(folder, self.more, 1)]
        operations = Operations(folder, at)
        sys.addaudithook(operations)
        status = 0
        try:
            commands.main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            status = 1
        operations.folder = None
        if count is not None:
            count.write_text(str(operations.count))
        sys.stdout.flush()
        os._exit(status)

    def finish(self, folder: Path) -> int:
        """Give the command again and wait for its end; its status."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(folder), 0)[1])


class Operations:
    """Audit hook that counts what is done to the files below a folder, and kills the process before one of them."""

    def __init__(self, folder: Path, at: int | None) -> None:
        self.folder: str | None = str(folder)
        self.at, self.count = at, 0

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        """See `sys.addaudithook`."""
        if self.folder is None or not (event in CHANGES or (event == "open" and (given[2] or 0) & WRITES)):
            return
        path = os.fspath(given[0]) if isinstance(given[0], str | os.PathLike) else ""
        if path.startswith(self.folder) and not self._in_vain(event, path):
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _in_vain(event: str, path: str) -> bool:
        """Whether it changes nothing: a folder that is there is made, a file that is not there is removed."""
        return os.path.lexists(path) == (event == "os.mkdir") and event in ("os.mkdir", "os.remove")


def at_random(
    runs: Runs, place: Path, whole: dict[str, Any], seconds: float, kills: int, seed: int, by: signal.Signals
) -> list[dict[str, Any]]:
    """Signal run after run once, each at a moment of its own between start and end."""
    drawn = random.Random(seed)
    found = []
    for number in range(kills):
        folder, moment = place / f"random_{number}", drawn.uniform(0.0, seconds)
        child = runs.start(folder)
        time.sleep(moment)
        state = _state(folder)
        os.killpg(child, by)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found.append(
            {"moment": round(moment, 3), "state": state, "killed": status != 0, **_compare(runs, folder, whole)}
        )
        _say(f"kill {number + 1}/{kills} at {moment:.2f} s ({state})", found[-1])
    return found


def at_files(runs: Runs, place: Path, whole: dict[str, Any], operations: int, jobs: int) -> list[dict[str, Any]]:
    """Kill a run before each operation on its files, one run for each, `jobs` of them at a time."""
    found = []
    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        for each in pool.map(partial(_at_file, runs, place, whole), range(1, operations + 1)):
            found.append(each)
            _say(f"operation {each['operation']}/{operations} ({each['state']})", each)
    return found


def _at_file(runs: Runs, place: Path, whole: dict[str, Any], number: int) -> dict[str, Any]:
    folder = place / f"file_{number}"
    status = os.waitstatus_to_exitcode(os.waitpid(runs.start(folder, at=number), 0)[1])
    state = _state(folder)
    return {"operation": number, "state": state, "killed": status < 0, **_compare(runs, folder, whole)}


def _compare(runs: Runs, folder: Path, whole: dict[str, Any]) -> dict[str, Any]:
    """Finish a killed run, and say whether and where its outcome differs from that of the whole one."""
    status = runs.finish(folder)
    if status:
        return {"equal": False, "status": status, "log": folder.with_suffix(".log").read_text()[-2000:]}
    own = outcome(folder)
    differing = [name for name in sorted({*own, *whole}) if own.get(name) != whole.get(name)]
    left = [str(file.relative_to(folder)) for file in folder.rglob(".*") if file.suffix in (".tmp", ".rights")]
    if not differing:
        shutil.rmtree(folder)
        folder.with_suffix(".log").unlink()
    return {"equal": not differing} | ({"differing": differing} if differing else {}) | ({"left": left} if left else {})


def _state(folder: Path) -> str:
    """How far a run is: its newest experience, and which of the files that mark a step are there."""
    experiences = sorted(folder.glob("task_*"))
    if not experiences:
        return "before the first experience"
    marks = [name for name in ("last.ckpt", "train.json", "scores.json") if (experiences[-1] / name).exists()]
    return f"{experiences[-1].name}: {', '.join(marks) or 'nothing yet'}"


def _say(what: str, found: dict[str, Any]) -> None:
    print(f"{what}: {'equal' if found['equal'] else found}", flush=True)


def main() -> int:
    """Command line; status 1 where a run ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0, help="runs that are killed at a random moment")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--signal", choices=("KILL", "TERM", "USR1"), default="KILL", help="sent at the moments")
    parser.add_argument("--files", action="store_true", help="kill before every operation on a file, in turn")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time with --files")
    parser.add_argument("--ranks", type=int, default=1, help="processes of a run")
    parser.add_argument("--out", type=Path, help="JSON file for the outcome")
    parser.add_argument("overrides", nargs="*", help="further overrides of the run, behind --")
    given = parser.parse_args()
    if given.files and given.ranks > 1:
        parser.error("--files needs --ranks 1: operations are counted in one process")
    runs = Runs(given.overrides, given.ranks)
    place = Path(tempfile.mkdtemp(prefix="chaos-"))
    counted, started = place / "operations", time.monotonic()
    if status := os.waitstatus_to_exitcode(os.waitpid(runs.start(place / "whole", count=counted), 0)[1]):
        print((place / "whole.log").read_text(), file=sys.stderr)
        return status
    seconds = time.monotonic() - started
    whole, by = outcome(place / "whole"), signal.Signals[f"SIG{given.signal}"]
    print(f"undisturbed: {seconds:.1f} s, {len(whole)} files compared", flush=True)
    found = {"random": at_random(runs, place, whole, seconds, given.kills, given.seed, by)}
    if given.files:
        found["files"] = at_files(runs, place, whole, int(counted.read_text()), given.jobs)
    good = {way: f"{sum(each['equal'] for each in kills)} of {len(kills)}" for way, kills in found.items()}
    print("bit-equal: " + ", ".join(f"{way} {said}" for way, said in good.items()))
    if given.out:
        facts = {
            "command": command(Path("RUN"), given.overrides, given.ranks),
            "seed": given.seed,
            "signal": given.signal,
        }
        given.out.write_text(
            json.dumps({**facts, "bit_equal": good, "environment": environment({}), **found}, indent=1) + "\n"
        )
    if all(each["equal"] for kills in found.values() for each in kills):
        shutil.rmtree(place)
        return 0
    print(f"what differs is kept in {place}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""One process for each device of this machine, where one was started and `trainer.devices` asks for more.

As torchrun does, but what a process says and its exit status stay its own. The one that was started only waits.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from coin_lightning.continual.interruption import STATUS
from coin_lightning.processes import die_with_parent

COMMANDS = ("__main__.py", "coin-lightning", "coin_lightning")
"""How the program is called whose arguments may be given again."""
GRACE = 60.0
"""Seconds for the others to end by themselves when one has failed."""
SAVING = 900.0
"""The same when one was stopped by a signal: the others save, and give W&B what it lacks."""
SHORT = 0.1


def can_repeat() -> bool:
    """Whether the arguments of this process make a command that can be given again."""
    return Path(sys.argv[0]).name in COMMANDS


def launch(processes: int) -> int:
    """Give this command again in so many processes and wait for them; the exit status of the first that failed."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "coin_lightning", *sys.argv[1:]],
            env={**os.environ, **variables},
            process_group=0,  # or a terminal's Ctrl-C would reach them twice
            preexec_fn=die_with_parent,
        )
        for variables in torchrun_variables(processes)
    ]
    with _handing_on(children):
        return _wait(children)


def torchrun_variables(processes: int) -> list[dict[str, str]]:
    """What torchrun sets for each process of one machine; threads are divided among them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "coin_lightning",
    }  # fmt: skip
    if "OMP_NUM_THREADS" not in os.environ:
        common["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> int:
    failed, ends = 0, 0.0
    left = list(children)
    while left:
        for child in [each for each in left if each.poll() is not None]:
            left.remove(child)
            status = child.returncode if child.returncode >= 0 else 128 - child.returncode
            if status and not failed:
                failed, ends = status, time.monotonic() + (SAVING if status in STATUS.values() else GRACE)
        if failed and time.monotonic() > ends:
            for child in left:
                child.kill()
        time.sleep(SHORT)
    return failed


@contextmanager
def _handing_on(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Signals that ask to end go to all processes, a terminal's Ctrl-C, too."""

    def hand_on(number: int, frame: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in STATUS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""How commands end: status and last line."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from coin_lightning.cli.ending import ended, to_the_end
from coin_lightning.errors import RunError
from coin_lightning.processes import DecidedElsewhereError


def refuse(error: BaseException):
    def command(interruption: object) -> None:
        raise error

    return command


@pytest.mark.parametrize(("given", "status"), [(None, 0), ("page", 0), (0, 0), (2, 2)])
def test_a_number_is_the_status(given: object, status: int):
    assert ended(lambda interruption: given) == status


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RunError("[bold]: no such run"), "error: [bold]: no such run\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/shut"), "error: /shut: cannot be written or read (Perm"),
        (MemoryError(), "error: memory ran out (MemoryError). `python -m coin_lightning estimate` with the same"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory\nmore"),
            "error: memory ran out (DefaultCPUAllocator",
        ),
        (DecidedElsewhereError("the first process says it"), ""),
    ],
)
def test_what_a_user_can_mend_is_one_line(capsys, error: Exception, line: str):
    assert ended(refuse(error), failure=2) == 2
    text = capsys.readouterr().err
    assert text.startswith(line)
    assert text.count("\n") == bool(line)


def test_a_wrong_reference_in_a_config_is_told_too(capsys):
    assert ended(lambda interruption: OmegaConf.to_container(OmegaConf.create({"a": "${b}"}), resolve=True)) == 1
    assert capsys.readouterr().err.startswith("error: Interpolation key 'b' not found")


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), ValueError("a bug"), OSError("without a place")])
def test_a_bug_keeps_its_traceback(capsys, error: Exception):
    with pytest.raises(type(error)):
        ended(refuse(error))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGINT, 130)], ids=str
)
def test_signals_are_one_line_and_their_status(capsys, number: signal.Signals, status: int):
    before = signal.getsignal(number)
    assert ended(lambda interruption: os.kill(os.getpid(), number)) == status
    assert capsys.readouterr().err.startswith(f"stopped by {number.name}; what was done is kept")
    assert signal.getsignal(number) == before


FAILS = """
import atexit, os, sys, time
from datetime import timedelta

import torch
import torch.distributed as dist

from coin_lightning.cli.ending import to_the_end


def fail():
    dist.init_process_group("gloo", store=store(), rank=0, world_size=2, timeout=timedelta(seconds=60))
    atexit.register(print, "handled")
    dist.all_reduce(torch.ones(1), async_op=True)
    raise ZeroDivisionError("a bug")


def store():
    return dist.FileStore(sys.argv[1], 2)


other = os.fork()
if not other:
    dist.init_process_group("gloo", store=store(), rank=1, world_size=2)
    time.sleep(90)
    os._exit(0)
failed = os.fork()
if not failed:
    to_the_end(fail)
status = os.waitstatus_to_exitcode(os.waitpid(failed, 0)[1])
os.kill(other, 9)
sys.exit(status)
"""


@pytest.mark.ddp
def test_a_process_that_fails_does_not_wait_for_an_operation_of_the_others(tmp_path: Path):
    """They would wait for it: nobody else ends them before it has left."""
    script = [sys.executable, "-c", FAILS, str(tmp_path / "store")]
    failed = subprocess.run(script, capture_output=True, text=True, timeout=40, check=False)
    assert failed.returncode == 1
    assert "ZeroDivisionError: a bug" in failed.stderr
    assert failed.stdout == "handled\n"


def test_a_process_alone_leaves_as_python_does():
    with pytest.raises(SystemExit) as left:
        to_the_end(lambda: sys.exit(3))
    assert left.value.code == 3
    with pytest.raises(ZeroDivisionError):
        to_the_end(lambda: 1 / 0)

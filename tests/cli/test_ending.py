"""How commands end: status and last line."""

import errno
import os
import signal

import pytest
from omegaconf import OmegaConf

from coin_lightning.cli.ending import ended
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

"""`python -m coin_lightning data`: which command is meant."""

import pytest

from coin_lightning.cli import data_build, data_verify
from coin_lightning.cli.data import main


@pytest.mark.parametrize(("command", "module"), [("build", data_build), ("verify", data_verify)])
def test_commands_get_their_arguments_and_give_their_status(monkeypatch, command, module):
    got = []
    monkeypatch.setattr(module, "main", lambda arguments: got.append(arguments) or 7)
    assert main([command, "task=gqa", "x=1"]) == 7
    assert got == [["task=gqa", "x=1"]]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help(capsys, arguments):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "build" in printed
    assert "verify" in printed


def test_help_of_verify(capsys):
    assert main(["verify", "--help"]) == 0
    assert "tolerate=KIND" in capsys.readouterr().out


def test_arguments_come_from_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["data", "build", "--help"])
    assert main() == 0
    assert "task=NAME" in capsys.readouterr().out


def test_an_unknown_command_gets_the_nearest(capsys):
    assert main(["biuld"]) == 1
    assert capsys.readouterr().err == "error: biuld: there is no such command; did you mean build?\n"

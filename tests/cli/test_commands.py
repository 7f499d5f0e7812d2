"""The one command line: which command is meant, and what it is given."""

import sys
from pathlib import Path

import pytest

from coin_lightning.cli import commands, data, train
from coin_lightning.cli.commands import COMMANDS, main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What `train` found on the command line."""
    found: list[list[str]] = []
    monkeypatch.setattr(train, "main", lambda: found.append(sys.argv[1:]))
    return found


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ([], []),
        (["train"], []),
        (["train", "seed=1"], ["seed=1"]),
        (["+experiment=moelora_llava", "seed=1"], ["+experiment=moelora_llava", "seed=1"]),
        (["-m", "seed=1,2"], ["-m", "seed=1,2"]),
        (["--cfg", "job"], ["--cfg", "job"]),
        (["~logger", "seed=1"], ["~logger", "seed=1"]),
        (["train", "--help"], ["--help"]),
    ],
)
def test_train_is_meant_unless_another_command_is_named(monkeypatch, given, words: list[str], left: list[str]):
    monkeypatch.setattr(sys, "argv", ["coin_lightning", *words])
    main()
    assert given == [left]


def test_other_commands_get_their_arguments_and_their_status_ends_the_process(monkeypatch):
    got = []
    monkeypatch.setattr(data, "main", lambda arguments: got.append(arguments) or 2)
    monkeypatch.setattr(sys, "argv", ["coin_lightning", "data", "verify", "scenario=coin"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert got == [["verify", "scenario=coin"]]


def test_a_mistyped_command_gets_the_nearest(monkeypatch, capsys, given):
    monkeypatch.setattr(sys, "argv", ["coin_lightning", "evalute", "runs/a"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: evalute: there is no such command; did you mean evaluate?\n"
    assert given == []


def test_help_names_every_command_and_hydras_own(monkeypatch, capsys, given):
    monkeypatch.setattr(sys, "argv", ["coin_lightning", "--help"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in COMMANDS} == set(COMMANDS)
    assert [line for line in lines if "train --help" in line]
    assert max(map(len, lines)) <= 120
    assert given == []


def test_the_installed_script_is_the_same_command():
    assert f'coin-lightning = "{commands.__name__}:main"' in (ROOT / "pyproject.toml").read_text()


def test_no_module_of_a_command_is_a_command_of_its_own():
    files = sorted((ROOT / "src").rglob("*.py"))
    assert [file.name for file in files if "__name__ ==" in file.read_text()] == ["__main__.py"]

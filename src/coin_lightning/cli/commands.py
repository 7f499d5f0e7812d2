"""The one command line: `python -m coin_lightning [train] OVERRIDES...`, or another command with its arguments."""

import re
import sys
from collections.abc import Sequence
from importlib import import_module

from coin_lightning.cli.config_errors import hint
from coin_lightning.cli.ending import ended, to_the_end
from coin_lightning.cli.parsers import PARSERS, PROGRAM
from coin_lightning.errors import ConfigError
from coin_lightning.quick_imports import importing

TRAIN = "train"
COMMANDS = {
    TRAIN: "train through a scenario, evaluate after every task, write the report; goes on where it stopped",
    "evaluate": "fill the cells of the score matrix that a run has left out",
    "score": "score the kept answers of a run again, by the rules of today",
    "judge": "let a judge grade the kept answers of a run",
    "estimate": "say what a run would take: parameters and memory per device, without weights and data",
    "report": "make the page of a run again, or compare several",
    "import": "make runs of this project out of result folders that CoIN's code or a fork of it has written",
    "runs": "list the runs below some folders: how far they are, what differs, what they scored; start them again",
    "dashboard": "make a workspace and a report of a Weights & Biases project",
    "data": "build a data set from raw files, or verify one before a run uses it",
    "convert": "make a checkpoint that is published for code of its own one that runs without",
    "assets": "fetch and convert what the embedded default needs, once",
}
"""Command -> what it does. The module of the same name has its `main`, but for a name that Python keeps for itself."""
MODULES = {"import": "import_runs"}
HELP = ("-h", "--help")
BARE_WORD = re.compile(r"[A-Za-z]\w*")
"""No override: these have an equals sign, or a tilde in front."""


def main() -> None:
    """Run the command that the arguments name, `train` when they name none; exits with a status unless that is 0.

    How each of them ends is said in `ending`.
    """
    to_the_end(_command)


def _command() -> None:
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first in HELP and len(sys.argv) == 2:
        print(overview())
        return
    if first not in COMMANDS and BARE_WORD.fullmatch(first):
        sys.exit(ended(lambda interruption: _unknown(first)))
    if first not in COMMANDS or first == TRAIN:
        sys.argv[1:] = sys.argv[1 + (first == TRAIN) :]  # Hydra reads them there
        from coin_lightning.cli import train

        train.main()
        return
    if status := run(first, sys.argv[2:]):
        sys.exit(status)


def run(command: str, arguments: Sequence[str]) -> int:
    """Run one of the commands beside `train`; returns its exit status. Help needs none of its modules."""
    if command in PARSERS:
        PARSERS[command]().parse_args(arguments)
    with importing():
        module = import_module(f"coin_lightning.cli.{MODULES.get(command, command)}")
    status: int = module.main(arguments)
    return status


def overview() -> str:
    """What there is, for `--help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} [train] [KEY=VALUE ...]",
            f"       {PROGRAM} COMMAND ...",
            "",
            "coin_lightning trains a multimodal LLM through a sequence of instruction tasks and shows what it forgets.",
            "",
            *lines,
            "",
            f"  {PROGRAM} COMMAND --help      what a command takes",
            f"  {PROGRAM} train --help        the config: its groups, their options, examples",
            f"  {PROGRAM} ... --cfg job       the config that would be run (add --resolve to fill in the references)",
            f"  {PROGRAM} -m KEY=A,B ...      a sweep",
            f"  {PROGRAM} train --hydra-help  Hydra's own flags",
        ]
    )


def _unknown(word: str) -> None:
    raise ConfigError(f"{word}: there is no such command; {hint(word, COMMANDS)}")

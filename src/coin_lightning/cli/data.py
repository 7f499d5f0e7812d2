"""`python -m coin_lightning data build|verify [key=value ...]`: make a data set from raw files, or check one.

  build    instruction files in CoIN's layout from the ten raw data sets
  verify   counts, ids, images, leakage and lengths, before a run uses the data
`build --help` and `verify --help` say more.
"""

import sys
from collections.abc import Sequence

from coin_lightning.cli.config_errors import hint
from coin_lightning.cli.ending import ended
from coin_lightning.errors import ConfigError

COMMANDS = ("build", "verify")
VERIFY = """python -m coin_lightning data verify [key=value ...]: check a data set before a run uses it.

Arguments are those of a run (scenario=coin backbone=llava_1_5_7b paths.coin=/data/coin scenario.order=[gqa] ...), and
  output=FILE.html   where the page goes; default: <root>/verify/<instructions>.html
  tolerate=KIND,...  kinds of errors that count as warnings, e.g. shared_question
  workers=N          threads that decode images; default: one per core
Of the backbone all but weights is read and compared. Exit status: 0 a run may start, 1 it may not, 2 could not check.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    command, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    if command in ("-h", "--help"):
        print(__doc__)
        return 0
    if command == "build":
        from coin_lightning.cli.data_build import main as build

        return build(rest)
    if command == "verify":
        if {"-h", "--help"} & set(rest):  # said here, because what checks needs models and images
            print(VERIFY)
            return 0
        from coin_lightning.cli.data_verify import main as verify

        return verify(rest)
    return ended(lambda interruption: _unknown(command))


def _unknown(command: str) -> None:
    raise ConfigError(f"{command}: there is no such command; {hint(command, COMMANDS)}")

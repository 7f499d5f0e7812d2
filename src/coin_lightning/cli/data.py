"""`python -m coin_lightning data build|verify [key=value ...]`: make a data set from raw files, or check one.

  build    instruction files in CoIN's layout from the ten raw data sets
  verify   counts, ids, pictures, leakage and lengths, before a run uses the data
`build --help` and `verify --help` say more.
"""

import sys
from collections.abc import Sequence

from coin_lightning.cli.config_errors import hint
from coin_lightning.cli.ending import ended
from coin_lightning.errors import ConfigError

COMMANDS = ("build", "verify")


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
        from coin_lightning.cli.data_verify import main as verify

        return verify(rest)
    return ended(lambda interruption: _unknown(command))


def _unknown(command: str) -> None:
    raise ConfigError(f"{command}: there is no such command; {hint(command, COMMANDS)}")

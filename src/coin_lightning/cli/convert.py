"""`python -m coin_lightning convert qwen_vl|minigpt_v2 SRC OUT`: a checkpoint that runs without its authors' code."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from coin_lightning.backbones.conversion import minigpt_v2, qwen_vl
from coin_lightning.backbones.conversion.streaming import Conversion, convert
from coin_lightning.cli.ending import ended
from coin_lightning.cli.parsers import convert_parser
from coin_lightning.errors import ConfigError
from coin_lightning.quiet import quiet_libraries
from coin_lightning.whole_files import unwritable

MINIGPT_OPTIONS = ("lora", "language_model", "vision_tower", "checkpoint")


def main(arguments: Sequence[str]) -> int:
    """Command line; returns the exit status."""
    given = convert_parser().parse_args(arguments)
    quiet_libraries()
    return ended(lambda interruption: run(given, Console()))


def run(given: argparse.Namespace, console: Console) -> None:
    """Convert, and say what to do with the folder.

    Raises:
        AssetError: see `convert`.
        ConfigError: an option belongs to the other model, or a folder is none.
    """
    if not given.source.is_dir():
        raise ConfigError(f"{given.source}: is no folder; give the folder with the published files")
    if reason := unwritable(given.out):
        raise ConfigError(f"{given.out}: {reason}; give another folder")

    def tell(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    convert(_conversion(given), given.out, tell)
    tell(f"done: backbone={given.kind} backbone.path={given.out}")


def _conversion(given: argparse.Namespace) -> Conversion:
    options: dict[str, str | Path] = {
        name: value for name in MINIGPT_OPTIONS if (value := getattr(given, name)) is not None
    }
    if given.kind == "minigpt_v2":
        return minigpt_v2.conversion(given.source, **options)  # type: ignore[arg-type]  # argparse made their types
    if options:
        name = next(iter(options)).replace("_", "-")
        raise ConfigError(f"--{name}: is of MiniGPT-v2 only; leave it out")
    return qwen_vl.conversion(given.source)

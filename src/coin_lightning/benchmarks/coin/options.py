"""How a build is to go, what it tells on the way, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coin_lightning.benchmarks.coin.templates import FOLDERS


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    Attributes:
        types: instruction types, of `FOLDERS`.
        seed: of the 10Type draws, and of ImageNet's classes.
        skip: leave out records with problems and list them in ``skipped.json``, instead of raising.
        images: one of `places.MODES`.
        grouped: one conversation per image or book, as CoIN has; False makes every question a sample.
        options: a task's own options (`RawTask.options`) as texts.
    """

    types: tuple[str, ...] = tuple(FOLDERS)
    seed: int = 0
    skip: bool = False
    images: str = "link"
    grouped: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


class BuildProgress:
    """Hears how far a build is; this one keeps it to itself."""

    def start(self, folder: str, split: str, total: int) -> None:
        """A split begins; ``total`` bytes are to be read."""

    def read(self, count: int) -> None:
        """``count`` bytes of the raw files were read."""

    def sample(self) -> None:
        """A sample was written, to each type's file."""


@dataclass(frozen=True)
class BuiltSplit:
    """A finished split: samples, questions in them, skipped records; ``fresh`` if anything had to be written."""

    folder: str
    split: str
    samples: int
    questions: int
    skipped: int
    fresh: bool

"""What every raw reader gives: samples before any instruction is put to them, and problems instead of bad samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from coin_lightning.errors import DataError

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RawSample:
    """One question of a data set.

    Attributes:
        id: the data set's own id, of the type it has there; unique in its split.
        image: image relative to the image root, posix, without ``./``; None for a question without image.
        question: the bare question or expression; a template adds the instruction.
        answer: what the model is to say.
        group: train samples of one group become one conversation, in their order; None makes a sample of its own.
        fields: what a test sample holds beside ``answer``. With ``answer_bbox`` in it no ``answer`` is written.
    """

    id: str | int
    image: str | None
    question: str
    answer: str
    group: str | None = None
    fields: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Problem:
    """A record that gives no sample. ``text`` names file, record, value and remedy."""

    text: str


Samples = Iterator[RawSample | Problem]


@dataclass(frozen=True)
class RawTask:
    """A task as the builder sees it; each reader module ends with one, named ``RAW``.

    Attributes:
        key, folder: the project's name and CoIN's (``Instructions_*/<folder>``).
        evaluation: the split beside ``train``: ``test`` or ``val``.
        samples: ``samples(raw, split, **options)`` streams a split; DataError only for what spoils the whole split.
        sources: ``sources(raw, split, **options)`` lists the files that ``samples`` reads; DataError if one is missing.
        images: folder below the image root -> places relative to the raw folder where it may lie, best first.
        truths: file below the image root that `tasks.truth` reads -> places relative to the raw folder.
        options: names of the keyword options of ``samples`` and ``sources`` (``seed`` is the build's own).
        raw_folders: what the raw folder is called below ``raw=`` when all tasks are built at once.
        layout: the expected raw folder, for ``--help``.
        lists_images: whether samples follow from which image files there are.
    """

    key: str
    folder: str
    evaluation: str
    samples: Callable[..., Samples]
    sources: Callable[..., list[Path]]
    images: Mapping[str, tuple[str, ...]]
    truths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    raw_folders: tuple[str, ...] = ()
    layout: str = ""
    lists_images: bool = False

    @property
    def splits(self) -> tuple[str, str]:
        """``train`` and the evaluation split."""
        return "train", self.evaluation


def first_of(raw: Path, places: Sequence[str]) -> Path | None:
    """The first of ``places`` (relative to ``raw``) that exists."""
    return next((raw / place for place in places if (raw / place).exists()), None)


def needed(raw: Path, places: Sequence[str], what: str) -> Path:
    """As `first_of`.

    Raises:
        DataError: none of them exists; all are named.
    """
    if (found := first_of(raw, places)) is None:
        raise DataError(f"{raw}: {what} is missing; looked for {', '.join(places)}; check raw= or unpack it there")
    return found

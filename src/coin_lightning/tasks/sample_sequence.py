"""Samples in any order, from tables and lists; what is asked of all of them is known without decoding them."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, overload

import numpy as np
import pyarrow as pa

from coin_lightning.tasks.sample_format import Media, Sample
from coin_lightning.tasks.sample_table import Kind, RawSamples, unread

Indices = Sequence[int] | np.ndarray


class SampleFile(Generic[Sample]):
    """All samples of a source; one is decoded when it is asked for.

    Args:
        raw: where they come from.
        table: see `sample_table`.
        starts, numbers: where the images of each sample begin in `numbers`, and their places in `paths`.
        paths: of the images below the image root, each once.
        kind: of samples.
        task: that the samples are read for.
    """

    def __init__(
        self,
        raw: RawSamples,
        table: pa.Table,
        starts: np.ndarray,
        numbers: np.ndarray,
        paths: list[str],
        kind: Kind[Sample],
        task: str,
    ) -> None:
        self.raw, self.table, self.kind, self.task = raw, table, kind, task
        self.ids: list[str] = table["id"].to_pylist()
        self.unread = unread(table, kind)
        self._starts, self._numbers, self._paths = starts, numbers, paths

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        shown = self._numbers[self._starts[index] : self._starts[index + 1]].tolist()
        media = tuple(Media(self._paths[number]) for number in shown)
        return self.kind.make(json.loads(self.table["json"][index].as_py()), media, self.where(index), self.task)

    def where(self, index: int) -> str:
        """File and sample for messages."""
        return f"{self.raw.place} sample {index}"

    def counts(self, samples: np.ndarray) -> np.ndarray:
        """How many images each of these samples shows."""
        return self._starts[samples + 1] - self._starts[samples]

    def images(self, samples: np.ndarray) -> Iterator[tuple[int, str]]:
        """Samples and images in their order, an image as often as samples show it."""
        counts = self.counts(samples)
        places = np.repeat(self._starts[samples] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        shown = (self._paths[number] for number in self._numbers[places].tolist())
        return zip(np.repeat(samples, counts).tolist(), shown, strict=True)


class SampleList(Generic[Sample]):
    """Samples that are in memory already, with the abilities of a `SampleFile`."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    @property
    def ids(self) -> list[str]:
        """Ids in order."""
        return [sample.id for sample in self.samples]

    def where(self, index: int) -> str:
        """File and sample for messages."""
        return self.samples[index].where

    def counts(self, samples: np.ndarray) -> np.ndarray:
        """As of a `SampleFile`."""
        return np.array([len(self.samples[sample].media) for sample in samples.tolist()], dtype=np.int64)

    def images(self, samples: np.ndarray) -> Iterator[tuple[int, str]]:
        """As of a `SampleFile`."""
        return ((sample, media.path) for sample in samples.tolist() for media in self.samples[sample].media)


class Samples(Sequence[Sample], Generic[Sample]):
    """Samples of one or several parts. Slices and selections are views.

    Args:
        parts: where the samples are.
        places: part and number in it of each sample, `[samples, 2]`; default: all samples of all parts.
    """

    def __init__(
        self, parts: Sequence[SampleFile[Sample] | SampleList[Sample]], places: np.ndarray | None = None
    ) -> None:
        self.parts = list(parts)
        if places is None:
            sizes = [len(part) for part in self.parts]
            numbers = np.concatenate([np.arange(size) for size in sizes]) if sizes else np.arange(0)
            places = np.stack([np.repeat(np.arange(len(sizes)), sizes), numbers], axis=1)
        self.places = places

    @classmethod
    def joined(cls, sequences: Sequence[Sequence[Sample]]) -> "Samples[Sample]":
        """Samples of several sequences behind one another; plain lists are allowed."""
        parts: list[Any] = []
        places = [np.empty((0, 2), dtype=np.int64)]
        for samples in map(as_samples, sequences):
            places.append(samples.places + np.array((len(parts), 0)))
            parts += samples.parts
        return cls(parts, np.concatenate(places))

    @property
    def several(self) -> bool:
        """Whether they come from more than one part: from several tasks."""
        return len(np.unique(self.places[:, 0])) > 1

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> "Samples[Sample]": ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Samples(self.parts, self.places[index])
        part, number = self.places[index].tolist()
        return self.parts[part][number]

    def select(self, indices: Indices) -> "Samples[Sample]":
        """These samples, in this order."""
        return Samples(self.parts, self.places[np.asarray(indices, dtype=np.int64)])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list

    @property
    def ids(self) -> list[str]:
        """Ids in order; those of different parts may be equal."""
        ids = [part.ids for part in self.parts]
        return [ids[part][number] for part, number in self.places.tolist()]

    @property
    def images(self) -> list[str]:
        """Each image once, in the order of first use part by part."""
        return list(dict.fromkeys(image for part, samples in self.by_part() for _, image in part.images(samples)))

    def same_images(self) -> list[int]:
        """Of each sample a number, which those share that show the same images in the same order."""
        shown: list[tuple[Any, ...]] = [(place,) for place in range(len(self))]  # without an image: its own
        for number, part in enumerate(self.parts):
            places = np.flatnonzero(self.places[:, 0] == number)
            samples = self.places[places, 1]
            images = part.images(samples)
            for place, count in zip(places.tolist(), part.counts(samples).tolist(), strict=True):
                if count:
                    shown[place] = (number, *(image for _, image in islice(images, count)))
        numbers: dict[tuple[Any, ...], int] = {}
        return [numbers.setdefault(images, len(numbers)) for images in shown]

    def without_image(self) -> int:
        """How many samples show none."""
        return sum(int((part.counts(samples) == 0).sum()) for part, samples in self.by_part())

    def where(self, index: int) -> str:
        """File and sample for messages."""
        part, number = self.places[index].tolist()
        return self.parts[part].where(number)

    def users(self, images: Collection[str]) -> dict[str, str]:
        """`where` of the last sample that shows an image, for those of `images` that a sample shows."""
        shown = ((part, *found) for part, samples in self.by_part() for found in part.images(samples))
        return {image: part.where(sample) for part, sample, image in shown if image in images}

    def unread(self) -> Counter[str]:
        """How many samples of the files have a field that nothing reads, by field."""
        return sum((part.unread for part in self.parts if isinstance(part, SampleFile)), Counter[str]())

    def by_part(self) -> Iterator[tuple[SampleFile[Sample] | SampleList[Sample], np.ndarray]]:
        """Each part with the numbers of its samples that are used."""
        for number, part in enumerate(self.parts):
            yield part, self.places[self.places[:, 0] == number, 1]


def as_samples(samples: Sequence[Sample]) -> Samples[Sample]:
    """The sequence itself, or a plain list with the same abilities."""
    return samples if isinstance(samples, Samples) else Samples([SampleList(samples)])

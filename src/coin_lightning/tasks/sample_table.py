"""The samples of a data set as an Arrow table: made once per file, then mapped into memory at every start.

A table has a row per sample: its `id`, the paths in its field `image` as they are written, and the whole sample as
JSON. A file of CoIN's size (a quarter of a gigabyte per task) would take ten times that as Python objects.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol

import numpy as np
import pyarrow as pa

from coin_lightning.tasks.sample_format import Sample, identity, image_problems, sample_problems, written_images
from coin_lightning.whole_files import taking_place_of

VERSION = 2
"""Of what is checked of a sample and kept in a table; counted up with every change of either."""
FOLDER = "samples"
"""Name in the features folder."""
SCHEMA = pa.schema([("id", pa.string()), ("images", pa.list_(pa.string())), ("json", pa.string())])
TOGETHER = 10_000
"""Samples per record batch."""
Problems = dict[int, list[str]]
"""What is wrong with samples, by number."""


class RawSamples(Protocol):
    """Where samples come from; see `tasks/sources.py`."""

    name: str
    """Short, the key of its hash in `environment.json`."""
    place: str
    """What messages call the whole."""

    def __iter__(self) -> Iterator[Any]:
        """The samples in order as plain JSON values."""

    def key(self) -> str | None:
        """Name of the contents; None when it is not known before they are read."""

    @property
    def sha256(self) -> str:
        """Hash of the contents."""


@dataclass(frozen=True)
class Kind(Generic[Sample]):
    """How the samples of a file are looked at.

    Attributes:
        name: names its tables.
        title, text: what they are called, and the field that holds what they say.
        fields: all fields that are read.
        wrong: what is wrong with a sample apart from id and images.
        make: builds the sample.
        once: what to do about an id that comes again.
    """

    name: str
    title: str
    text: str
    fields: frozenset[str]
    wrong: Callable[[dict[str, Any]], list[str]]
    make: Callable[..., Sample]
    once: str

    def problems(self, value: Any) -> list[str]:
        """What is wrong with a sample by itself."""
        return sample_problems(value) or [*self.wrong(value), *image_problems(value)]

    def facts(self, value: Any) -> tuple[str | None, list[str]]:
        """Id and images."""
        if not isinstance(value, dict):
            return None, []
        return identity(value), [path for path in written_images(value) if isinstance(path, str) and path]


def sample_table(raw: RawSamples, kind: Kind[Any], cache: Path | None) -> tuple[pa.Table, Problems]:
    """The table of a source, and what is wrong with its samples; one without problems is kept below `cache`.

    Raises:
        DataError: the source cannot be read.
    """
    key = raw.key() if cache else None
    file = cache / FOLDER / f"{kind.name}-v{VERSION}-{key}.arrow" if cache and key else None
    if file is not None and file.is_file():
        try:
            return _mapped(file), {}
        except (pa.ArrowInvalid, OSError) as error:
            warnings.warn(f"{file}: cannot be read ({error}) and is made anew", stacklevel=2)
    table, problems = _made(raw, kind)
    if file is not None and not problems:
        try:
            _write(table, file)
        except OSError as error:
            warnings.warn(
                f"{file}: samples cannot be kept here ({error}); every start reads {raw.place} again", stacklevel=2
            )
        else:
            return _mapped(file), {}
    return table, problems


def unread(table: pa.Table, kind: Kind[Any]) -> Counter[str]:
    """How many samples have a field that nothing reads, by field."""
    fields = json.loads(table.schema.metadata[b"fields"])
    return Counter({name: count for name, count in fields.items() if name not in kind.fields})


def images_of(table: pa.Table) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images of all samples: where those of each begin `[n + 1]`, their numbers `[images]`, and by number the paths as
    they are written, each once.
    """
    column = table["images"].combine_chunks()
    words = column.flatten().dictionary_encode()
    lengths, indices = map(np.from_dlpack, (column.value_lengths(), words.indices))  # `to_numpy` would import pandas
    return (
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        indices.astype(np.int64),
        words.dictionary.to_pylist(),
    )


def _made(raw: RawSamples, kind: Kind[Any]) -> tuple[pa.Table, Problems]:
    batches, problems, fields = [], Problems(), Counter[str]()
    ids: list[str | None] = []
    images: list[list[str]] = []
    texts: list[str] = []
    for number, value in enumerate(raw):
        if lines := kind.problems(value):
            problems[number] = lines
        fields.update(value.keys() if isinstance(value, dict) else ())
        id_, shown = kind.facts(value)
        ids.append(id_)
        images.append(shown)
        texts.append(json.dumps(value, default=str))
        if len(ids) == TOGETHER:
            batches.append(pa.record_batch([ids, images, texts], schema=SCHEMA))
            ids, images, texts = [], [], []
    batches.append(pa.record_batch([ids, images, texts], schema=SCHEMA))
    notes = {"fields": json.dumps(fields)}
    return pa.Table.from_batches(batches).replace_schema_metadata(notes), problems


def _write(table: pa.Table, file: Path) -> None:
    with taking_place_of(file) as scratch, pa.ipc.new_file(str(scratch), table.schema) as writer:
        writer.write_table(table)


def _mapped(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()

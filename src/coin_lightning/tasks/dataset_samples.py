"""Samples through the `datasets` package: from the hub, or from local parquet, arrow or `save_to_disk` data.

The columns are the fields of CoIN's JSON samples. A value that is missing is a field that is not there.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.tasks.sources import spelt, task_folder

BATCH = 1000


class DatasetsSource:
    """Samples of a repository of the hub, or of a local folder.

    A local folder has, in `<path>/<instructions>/<directory>/`, per split either a folder that `save_to_disk` wrote
    (`train/`), or files `train.parquet`, `train-*.parquet`, `train.arrow` or `train-*.arrow`.

    Args:
        path: local folder, or `owner/name` on the hub.
        files: where the hub repository has a split; `{instructions}`, `{directory}` and `{split}` are filled in.
        revision: commit, tag or branch of the hub repository.
    """

    def __init__(
        self, path: str | Path, files: str = "{instructions}/{directory}/{split}.json", revision: str | None = None
    ) -> None:
        self.path, self.files, self.revision = str(path), files, revision

    def samples(self, directory: str, instructions: str, split: str) -> "DatasetSamples":
        """See `Source`."""
        place = self.file(directory, instructions, split)
        try:
            if self.is_local:
                folder = task_folder(Path(self.path), instructions, directory)
                return DatasetSamples(load_local(folder, split), split, str(folder / split))
            return DatasetSamples(self._load_remote(directory, instructions, split), split, str(place))
        except DataError:
            raise
        except Exception as error:  # the package passes on whatever a broken file or the network raises
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(f"{place}: cannot be loaded with datasets ({reason}); {self._remedy()}") from error

    def file(self, directory: str, instructions: str, split: str) -> Path:
        """See `Source`."""
        if self.is_local:
            folders = [folder for folder in spelt(Path(self.path), instructions, directory) if folder.is_dir()]
            return (folders or [Path(self.path) / instructions / directory])[0] / split
        return Path(self.path) / self.files.format(instructions=instructions, directory=directory, split=split)

    @property
    def is_local(self) -> bool:
        """Whether `path` is no id of the hub: a folder that is there, or something that no id looks like."""
        path = Path(self.path)
        return path.is_dir() or path.is_absolute() or self.path.startswith(".") or len(path.parts) > 2

    def _load_remote(self, directory: str, instructions: str, split: str) -> Any:
        import datasets

        datasets.disable_progress_bars()  # they would break ours
        files = self.files.format(instructions=instructions, directory=directory, split=split)
        return datasets.load_dataset(self.path, data_files={split: files}, split=split, revision=self.revision)

    def _remedy(self) -> str:
        if self.is_local:
            return "write the file anew, or use source=json"
        return "without network download the repository first and set source.path to its folder"


def load_local(folder: Path, split: str) -> Any:
    """The `datasets.Dataset` of a split; memory-mapped where it is arrow.

    Raises:
        DataError: the folder has nothing for the split.
    """
    import datasets

    datasets.disable_progress_bars()
    if (folder / split / "state.json").is_file():
        return datasets.load_from_disk(str(folder / split))
    for ending in ("parquet", "arrow"):
        files = sorted(map(str, [*folder.glob(f"{split}.{ending}"), *folder.glob(f"{split}-*.{ending}")]))
        if files and ending == "parquet":
            return datasets.load_dataset("parquet", data_files={split: files}, split=split)
        if files:
            return datasets.concatenate_datasets([datasets.Dataset.from_file(file) for file in files])
    raise DataError(
        f"{folder}: has neither {split}.parquet, {split}-*.parquet, {split}.arrow, {split}-*.arrow nor a folder "
        f"{split} written by save_to_disk; check source.path, or use source=json"
    )


class DatasetSamples:
    """Samples of a `datasets.Dataset`, see `RawSamples`. They are read at every start.

    Args:
        data: map-style, with CoIN's fields as columns.
        name: key of its hash.
        place: what messages call it.
    """

    def __init__(self, data: Any, name: str, place: str) -> None:
        self.data, self.name, self.place = data, name, place
        self._sha256: str | None = None

    def __iter__(self) -> Iterator[Any]:
        """All samples in order.

        Raises:
            DataError: there are none, or a column holds the images themselves.
        """
        if not len(self.data):
            raise DataError(f"{self.place}: must hold samples, found none")
        media = [name for name, feature in self.data.features.items() if hasattr(feature, "decode_example")]
        if media:
            raise DataError(
                f"{self.place}: column {media[0]!r} holds {type(self.data.features[media[0]]).__name__} data itself; "
                "write them to files below the image folder, and their paths into column 'image'"
            )
        digest = hashlib.sha256()
        for batch in self.data.iter(batch_size=BATCH):
            for values in zip(*batch.values(), strict=True):
                sample = _without_missing(dict(zip(batch, values, strict=True)))
                digest.update(json.dumps(sample, sort_keys=True, default=repr).encode())
                yield sample
        self._sha256 = digest.hexdigest()

    def key(self) -> None:
        """See `RawSamples`."""

    @property
    def sha256(self) -> str:
        """Hash of the samples, whatever kind of file they are kept in."""
        if self._sha256 is None:
            for _ in self:
                pass
        return str(self._sha256)


def _without_missing(sample: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sample.items() if value is not None}

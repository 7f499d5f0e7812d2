"""`InstructionTask`: one instruction data set as a `LightningDataModule`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.pictures import check_header, open_picture
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.features import FeatureStore, file_hash
from coin_lightning.tasks.rows import TestRow, TrainRow, chunks, draw, read_test, read_train
from coin_lightning.tasks.sampler import LengthBucketSampler, answer_batches
from coin_lightning.tasks.truth import Reference, RowFields

Truth = Callable[[Sequence[TestRow], Path], list[Reference]]
TOWER_BATCH = 32


class Rows(Dataset):
    """Rows as a map-style data set; a batch is put together by the collate function."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


class Batches(Dataset):
    """Whole batches as items: Lightning rebuilds the batch sampler of a predict loader; here is none."""

    def __init__(self, batches: Sequence[Sequence[Any]], collate: Callable[[Sequence[Any]], dict[str, Any]]) -> None:
        self.batches, self.collate = batches, collate

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.collate(self.batches[index])


class TrainLoader(DataLoader):
    """A loader that goes on in mid-epoch without state of its own: `resume_at` has told its sampler where."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing; its presence tells Lightning that the loader can be resumed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


class InstructionTask(L.LightningDataModule):
    """Rows of one CoIN task, read from the published layout.

    Args:
        name: key of the task, its column in the score matrix and the name of its scorer.
        root: folder with the image folder and the instruction folders.
        directory: the task's folder, e.g. `ScienceQA`.
        instructions: instruction type, e.g. `Instructions_Original`.
        images: image folder below `root`.
        test_split: file that is evaluated, `test` or `val`.
        truth: gives the references of the test rows; default: the row's own `answer`.
        max_new_tokens: longest answer that is generated.
        epochs: passes over the training rows.
        batch_size: training rows per device and step.
        answer_batch_size: rows generated together.
        fraction, limit_train, limit_test: subsets, drawn with `subset_seed` and the same for every method and seed.
        num_workers: loader processes; with cached features none is usually fastest.
        cache_features: run the frozen tower once per picture and keep its output below `features`.
        features: folder of the feature stores.
        max_cache_gigabytes: refuse to start when the features of this task would take more.
    """

    name: str

    def __init__(
        self,
        name: str,
        root: str | Path,
        directory: str,
        features: str | Path,
        instructions: str = "Instructions_Original",
        images: str = "cl_dataset",
        test_split: str = "test",
        truth: Truth | None = None,
        max_new_tokens: int = 16,
        epochs: int = 1,
        batch_size: int = 8,
        answer_batch_size: int = 32,
        fraction: float = 1.0,
        limit_train: int | None = None,
        limit_test: int | None = None,
        subset_seed: int = 0,
        num_workers: int = 0,
        cache_features: bool = True,
        max_cache_gigabytes: float = 50.0,
    ) -> None:
        super().__init__()
        for key, value in {
            "max_new_tokens": max_new_tokens,
            "epochs": epochs,
            "batch_size": batch_size,
            "answer_batch_size": answer_batch_size,
        }.items():
            if value < 1:
                raise ConfigError(f"task.{name}.{key}={value} must be at least 1")
        self.name, self.epochs, self.batch_size = name, epochs, batch_size
        self.max_new_tokens, self.answer_batch_size = max_new_tokens, answer_batch_size
        self.image_root = Path(root) / images
        folder = Path(root) / instructions / directory
        self.train_file, self.test_file = folder / "train.json", folder / f"{test_split}.json"
        self.truth: Truth = truth or RowFields()
        self.fraction, self.limit_train, self.limit_test, self.subset_seed = (
            fraction,
            limit_train,
            limit_test,
            subset_seed,
        )
        self.num_workers, self.cache_features = num_workers, cache_features
        self.features, self.max_cache_gigabytes = Path(features), max_cache_gigabytes
        self.train_rows: list[TrainRow] = []
        self.test_rows: list[TestRow] = []
        self.references: list[Reference] = []
        self._sampler: LengthBucketSampler | None = None
        self._resume = (0, 0)

    # before training

    def connect(self, backbone: Backbone, seed: int = 0, position: int = 0) -> None:
        """Say which model reads the rows, and where in the sequence the task stands."""
        store = (
            FeatureStore(self.features / backbone.tower_key(), backbone.feature_shape) if self.cache_features else None
        )
        self.encoder = Encoder(backbone, self.image_root, store)
        self.key = f"{seed}/{position}"

    def read(self) -> None:
        """Read both files, draw the subsets and join the truth.

        Raises:
            DataError: with every problem of the task's rows, also those outside the subset.
        """
        problems: list[str] = []
        try:
            rows = read_train(self.train_file, self.image_root)
            self.train_rows = draw(rows, self.fraction, self.limit_train, f"{self.subset_seed}/{self.name}/train")
        except DataError as error:
            problems += error.problems
        try:
            tests = read_test(self.test_file, self.image_root)
            pairs = list(zip(tests, self.truth(tests, self.image_root), strict=True))
            pairs = draw(pairs, 1.0, self.limit_test, f"{self.subset_seed}/{self.name}/test")
            self.test_rows, self.references = [row for row, _ in pairs], [reference for _, reference in pairs]
        except DataError as error:
            problems += error.problems
        if problems:
            raise DataError(problems)

    def check(self) -> None:
        """Check that every used row fits the context and every used picture can be decoded.

        Raises:
            DataError: all problems together.
        """
        rows: list[TrainRow | TestRow] = [*self.train_rows, *self.test_rows]
        problems = [line for row in rows if (line := self._too_long(row))]
        for row in self._rows_by_picture().values():
            try:
                path = self.image_root / str(row.image)
                check_header(path)
                if self.encoder.store is None or self.encoder.hash_of(str(row.image)) not in self.encoder.store:
                    open_picture(path)
            except DataError as error:
                problems += [f"{row.where}: {line}" for line in error.problems]
        if problems:
            raise DataError(problems)

    def _rows_by_picture(self) -> dict[str, TrainRow | TestRow]:
        rows: list[TrainRow | TestRow] = [*self.test_rows, *self.train_rows]
        return {row.image: row for row in rows if row.image is not None}

    def _too_long(self, row: TrainRow | TestRow) -> str | None:
        backbone = self.encoder.backbone
        room = backbone.max_length - (self.max_new_tokens if isinstance(row, TestRow) else 0)
        if backbone.token_bound(self.encoder.prompt(row)) <= room:
            return None
        ids, labels = self.encoder.encode(row)
        if len(ids) <= room:
            return None
        learned = sum(label != IGNORE for label in labels)
        part = f"an answer of {learned} tokens" if isinstance(row, TrainRow) else f"{self.max_new_tokens} answer tokens"
        return (
            f"{row.where}: {len(ids)} tokens with {part} do not fit backbone.max_length={backbone.max_length}; "
            "raise it or shorten the row"
        )

    def missing_features(self) -> list[str]:
        """Pictures of used rows whose features are not in the store yet."""
        if self.encoder.store is None:
            return []
        first: dict[str, str] = {}
        for image in self._rows_by_picture():
            first.setdefault(self.encoder.hash_of(image), image)
        gigabytes = len(first) * self.encoder.store.block / 1e9
        if gigabytes > self.max_cache_gigabytes:
            raise ConfigError(
                f"task.{self.name}: cached features of {len(first)} pictures take {gigabytes:.0f} GB, more than "
                f"max_cache_gigabytes={self.max_cache_gigabytes:g}; raise it or set scenario.cache_features=false"
            )
        return [image for digest, image in first.items() if digest not in self.encoder.store]

    def compute_features(self, report: Callable[[int], None] = lambda done: None) -> None:
        """Run the tower over the pictures that lack features; `report` gets the number done after each batch."""
        store = self.encoder.store
        if store is None:
            return
        with store.lock():
            store.refresh()
            backbone = self.encoder.backbone
            for images in chunks(self.missing_features(), TOWER_BATCH):
                pixels = torch.stack([backbone.pixels(open_picture(self.image_root / image)) for image in images])
                store.add([self.encoder.hash_of(image) for image in images], backbone.encode_pictures(pixels))
                report(len(images))

    def describe(self) -> dict[str, Any]:
        """What `environment.json` keeps of the data: where it lies, rows used, and the files' sha256."""
        files = {file.name: file_hash(file) for file in (self.train_file, self.test_file)}
        return {
            "folder": str(self.image_root),
            "train": len(self.train_rows),
            "test": len(self.test_rows),
            "sha256": files,
        }

    def prepare_data(self) -> None:
        """Nothing is left to do: rows are read and features computed for the whole scenario before the first fit."""

    # training

    def steps_per_epoch(self, world_size: int = 1) -> int:
        """Batches per rank and epoch."""
        return -(-len(self.train_rows) // (self.batch_size * world_size))

    def resume_at(self, epoch: int, batch: int) -> None:
        """Start the next training loader behind `batch` batches of `epoch`."""
        self._resume = (epoch, batch)

    def train_dataloader(self) -> DataLoader:
        """Batches of `Encoder.train_batch`, in the order of `LengthBucketSampler`."""
        lengths = [len(self.encoder.prompt(row)) for row in self.train_rows]
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        self._sampler = LengthBucketSampler(lengths, self.batch_size, f"{self.key}/{self.name}", rank, world)
        epoch, batch = self._resume
        self._sampler.set_epoch(epoch)
        self._sampler.skip_batches(batch)
        self._resume = (0, 0)
        return TrainLoader(
            Rows(self.train_rows),
            batch_sampler=self._sampler,
            collate_fn=self.encoder.train_batch,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    # answering

    def answer_loader(self, done: frozenset[str] = frozenset(), rank: int = 0, world_size: int = 1) -> DataLoader:
        """Batches of `Encoder.answer_batch`, the longest first, without those whose ids are all in `done`."""
        lengths = [len(self.encoder.prompt(row)) for row in self.test_rows]
        batches = [
            batch
            for batch in answer_batches(lengths, self.answer_batch_size)[rank::world_size]
            if not all(self.test_rows[row].id in done for row in batch)
        ]
        items = [[self.test_rows[row] for row in batch] for batch in batches]
        return DataLoader(Batches(items, self._answer_batch), batch_size=None, num_workers=self.num_workers)

    def _answer_batch(self, rows: Sequence[TestRow]) -> dict[str, Any]:
        return {**self.encoder.answer_batch(rows), "max_new_tokens": self.max_new_tokens}

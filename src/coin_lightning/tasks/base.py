"""`InstructionTask`: one instruction data set as a `LightningDataModule`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from pydantic import PositiveInt
from torch import nn
from torch.utils.data import DataLoader

from coin_lightning.assets import file_sha256
from coin_lightning.backbones.base import Backbone
from coin_lightning.errors import ConfigError, DataError, RunError
from coin_lightning.image_list import read_list, remedy
from coin_lightning.tasks.checks.answers import answer_tokens
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.features import BYTES, FeatureStore
from coin_lightning.tasks.lengths import sample_lengths
from coin_lightning.tasks.loaders import AnswerLoader, Batches, TrainLoader
from coin_lightning.tasks.options import AnswerOptions, BatchOptions, DataOptions
from coin_lightning.tasks.sample_checks import altered_images, broken_images, hashes_of_images, too_long
from coin_lightning.tasks.sample_sequence import Samples, as_samples
from coin_lightning.tasks.sample_table import RawSamples
from coin_lightning.tasks.sampler import BUCKET, LengthBucketSampler, answer_batches
from coin_lightning.tasks.samples import TestSample, TrainSample, read_test, read_train, repeated
from coin_lightning.tasks.sources import JsonSource, Source
from coin_lightning.tasks.subsets import chunks, drawn, listed, subset
from coin_lightning.tasks.truth import Reference, SampleFields

Truth = Callable[[Sequence[TestSample], Path], list[Reference]]
TOWER_BATCH = 32
READ_ALIKE = ("boxes", "long_samples", "cache_features", "features")
"""Options of the data that decide how a sample is read."""


class InstructionTask(L.LightningDataModule):
    """Samples of one CoIN task, read from the published layout.

    Args:
        name: key of the task, its column in the score matrix.
        directory: the task's folder, e.g. `ScienceQA`.
        data, batches, answers: see `tasks.options`.
        truth: gives the references of the test samples; default: the sample's own `answer`.
        title, short: name in reports, and in narrow tables; default: the key, and its first letters.
        scorers, version, parts: how answers are scored, see `evaluation.scorers.Scoring`.

    Attributes:
        train_samples, test_samples, references: what `read` found, test samples and references side by side.
        notes: sentences about the data that a report must carry.
    """

    name: str

    def __init__(
        self,
        name: str,
        directory: str,
        data: DataOptions,
        batches: BatchOptions | None = None,
        answers: AnswerOptions | None = None,
        truth: Truth | None = None,
        title: str | None = None,
        short: str | None = None,
        scorers: Mapping[str, Any] | None = None,
        version: PositiveInt = 1,
        parts: Callable[[Reference], list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.directory, self.data = name, directory, data
        self.title, self.short = title or name, short or (title or name)[:6]
        self.scoring = {"scorers": scorers, "version": version, "parts": parts}
        self.batches, self.answers = batches or BatchOptions(), answers or AnswerOptions()
        data.test_limit(name)  # refuses what could only fail when the data is read
        self.image_root = Path(data.root) / data.images
        self.source: Source = data.source or JsonSource(data.root)
        self.truth: Truth = truth or SampleFields()
        self.train_samples: Sequence[TrainSample] = []
        self._own_samples: Sequence[TrainSample] | None = None
        self.test_samples: Sequence[TestSample] = []
        self.references: list[Reference] = []
        self.notes: list[str] = []
        self._raw: dict[str, RawSamples] = {}
        self._whole: dict[str, Samples[Any]] = {}
        self._subsets: dict[str, Any] = {}
        self._image_hashes: dict[str, str] = {}
        self._measured: dict[int, tuple[Sequence[Any], np.ndarray]] = {}
        self._sampler: LengthBucketSampler | None = None
        self._resume = (0, 0)

    # before training

    @property
    def batch_size(self) -> int:
        """Training samples per device and step."""
        return self.batches.size

    @property
    def epochs(self) -> int:
        """Passes over the training samples."""
        return self.batches.epochs

    @property
    def features(self) -> Path:
        """Folder of the caches."""
        return Path(self.data.features)

    @property
    def train_file(self) -> Path:
        """Where the training samples lie."""
        return self.source.file(self.directory, self.data.instructions, "train")

    @property
    def test_file(self) -> Path:
        """Where the samples lie that are evaluated."""
        return self.source.file(self.directory, self.data.instructions, self.data.test_split)

    def connect(self, backbone: Backbone, seed: int = 0, position: int = 0) -> None:
        """Say which model reads the samples, and where in the sequence the task stands."""

        def store(frame: str | None) -> FeatureStore | None:
            if not self.data.cache_features:
                return None
            return FeatureStore(self.features / backbone.tower_key(frame), backbone.family.width)

        frame, cuts = self.answers.frame, self.data.long_samples == "truncate"
        answers = store(frame) if frame else None
        self.encoder = Encoder(backbone, self.image_root, store(None), frame, answers, self.data.boxes, cuts)
        self.key, self._measured = f"{seed}/{position}", {}

    def read(self) -> None:
        """Read both files, draw the subsets and join the truth.

        Raises:
            DataError: with every problem of the task's samples, also those outside the subset.
        """
        problems: list[str] = []
        self.notes, self._measured = [], {}
        for part in (self._read_train, self._read_test) if self.data.trains else (self._read_test,):
            try:
                part()
            except DataError as error:
                problems += error.problems
        if problems:
            raise DataError(list(dict.fromkeys(problems)))  # a folder that is missing is so for both
        self._note_oddities()

    def _note_oddities(self) -> None:
        """Say which fields nothing reads, and how many samples lack an image where others have one."""
        any_images = any(samples.images for samples in self._whole.values())
        for name, samples in self._whole.items():
            for field, count in samples.unread().most_common():
                self.notes.append(f"{self.name}: {count} {name} samples have a field {field!r}, which nothing reads.")
            without = samples.without_image()
            if without and any_images:
                self.notes.append(f"{self.name}: {without} of {len(samples)} {name} samples have no image.")

    def _read_train(self) -> None:
        self._raw["train"] = self._split("train")
        self._whole["training"] = samples = read_train(
            self._raw["train"], self.image_root, self.data.repeated_train_ids, self.name, self.features
        )
        if count := repeated(samples):
            self.notes.append(f"{self.name}: {count} training samples have the id of an earlier sample; all are used.")
        seed = f"{self.data.subset_seed}/{self.name}/train"
        chosen = drawn(len(samples), self.data.fraction, self.data.limit_train, seed)
        used = samples if chosen is None else samples.select(chosen)
        self.train_samples, self._subsets["train"] = used, subset(used, len(samples))

    def _read_test(self) -> None:
        self._raw["test"] = self._split(self.data.test_split)
        self._whole["test"] = samples = read_test(self._raw["test"], self.image_root, self.name, self.features)
        truth = self.truth(samples, self.image_root)
        limit, ids = self.data.test_limit(self.name)
        kept = listed(samples, ids, self.name) if ids else list(range(len(samples)))
        chosen = drawn(len(kept), 1.0, limit, f"{self.data.subset_seed}/{self.name}/test")
        kept = kept if chosen is None else [kept[index] for index in chosen]
        used = samples.select(kept)
        self.test_samples, self._subsets["test"] = used, subset(used, len(samples))
        self.references = [self.encoder.reference(truth[index]) for index in kept]

    @property
    def own_samples(self) -> Sequence[TrainSample]:
        """Training samples of the task's own data set, whatever `learn_from` has put in their place."""
        return self.train_samples if self._own_samples is None else self._own_samples

    def learn_from(self, samples: Sequence[TrainSample]) -> None:
        """Train on these samples, which may hold samples of other tasks."""
        self._own_samples, self.train_samples = self.own_samples, samples

    def know_images_of(self, other: "InstructionTask") -> None:
        """Be able to learn from samples of another task.

        Raises:
            ConfigError: as `check_alike`.
        """
        check_alike([self, other])
        self.encoder.hashes.update(other.encoder.hashes)
        self.encoder.sizes.update(other.encoder.sizes)

    def subsets(self) -> dict[str, Any]:
        """By split: how many samples there are, and the ids of those that are used; null means all (`subsets.json`)."""
        return dict(self._subsets)

    def check(self, on_progress: Callable[[int], None] = lambda done: None) -> None:
        """Check that every used sample fits the context and every used image can be decoded.

        Args:
            on_progress: gets the number of further images looked at.

        Raises:
            DataError: all problems together.
        """
        trains, tests = as_samples(self.train_samples), as_samples(self.test_samples)
        problems: list[str] = []
        cut = 0
        broken, survey = broken_images(tests, trains, self.image_root, self.features, on_progress)
        self.encoder.hashes.update({image: facts.sha256.hex() for image, facts in survey.facts.items()})
        self.encoder.sizes.update({image: (facts.width, facts.height) for image, facts in survey.facts.items()})
        self._image_hashes = hashes_of_images({"train": trains, "test": tests}, survey)
        listed = read_list(Path(self.data.root), self.data.images)
        broken += altered_images(tests, trains, self.image_root, survey, listed, remedy(Path(self.data.root)))
        if broken and self.encoder.converts_boxes:  # lengths depend on the images
            raise DataError(broken)
        for samples in (trains, tests):
            lines, count = too_long(samples, self._lengths(samples), self.encoder, self.answers.max_new_tokens)
            problems, cut = problems + lines, cut + count
        if cut:
            self.notes.append(
                f"{self.name}: {cut} training samples are cut at {self.encoder.backbone.max_length} tokens."
            )
        if note := self._cut_off():
            self.notes.append(note)
        if warned := survey.warned:
            image, text = next(iter(warned.items()))
            self.notes.append(f"{self.name}: Pillow warns of {len(warned)} images, as of {image}: {text}")
        if problems + broken:
            raise DataError(problems + broken)

    def _cut_off(self) -> str:
        """A sentence when the right answer does not fit into `answers.max_new_tokens`; empty when all do."""
        limit = self.answers.max_new_tokens
        answers = [str(reference["answer"]) for reference in self.references if reference.get("answer")]
        longer = {text for text in answers if len(text.encode()) > limit}  # a token has a byte at least
        sizes = dict(zip(longer, answer_tokens(self.encoder.backbone, list(longer)), strict=True))
        over = [sizes[text] for text in answers if sizes.get(text, 0) > limit]
        if not over:
            return ""
        return (
            f"{self.name}: {len(over)} of {len(answers)} right answers have more than answers.max_new_tokens={limit} "
            f"tokens, the longest {max(over)}: the model's are cut before."
        )

    def _images_by_frame(self) -> list[tuple[FeatureStore | None, str | None, list[str]]]:
        """Feature store, frame and images: one entry, or two where answers see images in another frame."""
        trains, tests = as_samples(self.train_samples).images, as_samples(self.test_samples).images
        if self.encoder.answer_frame is None:
            return [(self.encoder.store, None, list(dict.fromkeys([*tests, *trains])))]
        return [(self.encoder.store, None, trains), (self.encoder.answer_store, self.encoder.answer_frame, tests)]

    def images_to_cache(self, backbone: Backbone) -> set[tuple[str | None, Path]]:
        """Frame and file of every image whose features a run would keep; reads the samples, but no image.

        Raises:
            DataError: the files are not there, or their samples are not sound.
        """
        images = self.image_root
        self.encoder = Encoder(backbone, images, None, self.answers.frame, None, self.data.boxes)
        self.read()
        return {(frame, images / image) for _, frame, part in self._images_by_frame() for image in part}

    def missing_features(self) -> list[str]:
        """Images of used samples whose features are not in the store yet, once per frame.

        Raises:
            ConfigError: the features would take more than `max_cache_gigabytes`.
        """
        return [image for store, _, images in self._images_by_frame() for image in self._missing(store, images)]

    def _missing(self, store: FeatureStore | None, images: Sequence[str]) -> list[str]:
        if store is None:
            return []
        first: dict[str, str] = {}
        for image in images:
            first.setdefault(self.encoder.hash_of(image), image)
        gigabytes = self._feature_bytes([*first.values()]) / 1e9
        if gigabytes > self.data.max_cache_gigabytes:
            raise ConfigError(
                f"task.{self.name}: cached features of {len(first)} images take {gigabytes:.0f} GB, more than "
                f"data.max_cache_gigabytes={self.data.max_cache_gigabytes:g}; raise it or set data.cache_features=false"
            )
        return [image for digest, image in first.items() if digest not in store]

    def _feature_bytes(self, images: Sequence[str]) -> int:
        family, encoder = self.encoder.backbone.family, self.encoder
        if family.alike:
            count = len(images) * family.feature_count(())
        else:
            count = sum(family.feature_count(family.grid(encoder.size_of(image))) for image in images)
        return count * family.width * BYTES

    def compute_features(
        self, on_progress: Callable[[int], None] = lambda done: None, device: torch.device | None = None
    ) -> None:
        """Run the tower over the images that lack features.

        The store does not tell devices apart: two of them differ in last bits, as two kinds of processor do, and what
        must not (`SharedAnswers`) says on which device it was answered.

        Args:
            on_progress: gets the number done after each batch.
            device: where the tower is meanwhile; default: where it lies.
        """
        for store, frame, images in self._images_by_frame():
            if store is not None and (missing := self._missing(store, images)):
                with store.adding(len(missing)), _placed(self.encoder.backbone.tower, device):
                    self._compute(store, frame, self._missing(store, images), on_progress)

    def _compute(
        self, store: FeatureStore, frame: str | None, images: Sequence[str], on_progress: Callable[[int], None]
    ) -> None:
        backbone = self.encoder.backbone
        for part in chunks(images, TOWER_BATCH):
            pixels = [backbone.pixels(self.encoder.opened(image), frame) for image in part]
            features = backbone.encode_images(pixels)
            if bad := [image for image, found in zip(part, features, strict=True) if not found.isfinite().all()]:
                dtype = next(backbone.tower.parameters()).dtype
                raise RunError(
                    f"{self.image_root / bad[0]}: its features are beyond what the tower's {dtype} holds; set "
                    "backbone.dtype=bfloat16 or float32"
                )
            store.add([self.encoder.hash_of(image) for image in part], features)
            on_progress(len(part))

    def file_hashes(self) -> dict[str, str]:
        """The sha256 of its files by name, those of the ground truth among them; nothing of them needs to have been
        read.

        Raises:
            DataError: they cannot be found.
        """
        splits = (*(["train"] if self.data.trains else []), self.data.test_split)
        samples = {raw.name: raw.sha256 for raw in self._raw.values() or map(self._split, splits)}
        truths = {name: self.image_root / name for name in getattr(self.truth, "files", ())}
        if absent := [f"{file} is missing; it holds ground truth" for file in truths.values() if not file.is_file()]:
            raise DataError(absent)
        return samples | {name: file_sha256(file) for name, file in truths.items()}

    def _split(self, split: str) -> RawSamples:
        return self.source.samples(self.directory, self.data.instructions, split)

    def describe(self) -> dict[str, Any]:
        """What `environment.json` keeps of the data: where it lies, samples used, and the sha256 of what was read;
        behind `check` that of the images of each split, too."""
        return {
            "folder": str(self.image_root),
            "train": len(self.train_samples),
            "test": len(self.test_samples),
            "sha256": self.file_hashes(),
            "images": dict(self._image_hashes),
        }

    def prepare_data(self) -> None:
        """Nothing is left to do: samples are read and features computed for the whole scenario before the first fit."""

    def _lengths(self, samples: Sequence[Any]) -> np.ndarray:
        """Tokens of each sample, uncut; counted once per start."""
        if id(samples) not in self._measured:
            self._measured[id(samples)] = samples, sample_lengths(samples, self.encoder, self.features)
        return self._measured[id(samples)][1]

    # training

    def steps_per_epoch(self, world_size: int = 1) -> int:
        """Batches per rank and epoch."""
        return -(-len(self.train_samples) // (self.batch_size * world_size))

    def samples_per_epoch(self, rank: int = 0, world_size: int = 1) -> int:
        """Samples that a rank learns from in an epoch."""
        return LengthBucketSampler(
            [1] * len(self.train_samples), self.batch_size, "", rank, world_size
        ).samples_per_epoch()

    def resume_at(self, epoch: int, batch: int) -> None:
        """Start the next training loader behind `batch` batches of `epoch`."""
        self._resume = (epoch, batch)

    def train_dataloader(self) -> DataLoader:
        """Batches of `Encoder.train_batch`, in the order of `LengthBucketSampler`."""
        lengths = self._lengths(self.train_samples)
        if self.encoder.cuts:
            lengths = lengths.clip(max=self.encoder.backbone.max_length)
        rank, world, accumulation = 0, 1, 1
        if self.trainer:
            rank, world = self.trainer.global_rank, self.trainer.world_size
            accumulation = self.trainer.accumulate_grad_batches
        bucket = 1 if as_samples(self.train_samples).several else BUCKET
        self._sampler = LengthBucketSampler(
            lengths.tolist(), self.batch_size, f"{self.key}/{self.name}", rank, world, accumulation, bucket
        )
        epoch, batch = self._resume
        self._sampler.set_epoch(epoch)
        self._sampler.skip_batches(batch)
        self._resume = (0, 0)
        return TrainLoader(
            self.train_samples,
            self._sampler,
            accumulation,
            collate_fn=self.encoder.train_batch,
            num_workers=self.batches.num_workers,
            persistent_workers=self.batches.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    # answering

    def answer_loader(
        self, done: frozenset[str] = frozenset(), rank: int = 0, world_size: int = 1, in_step: bool = False
    ) -> DataLoader:
        """Batches of `Encoder.answer_batch`, the longest first, without what is `done`: whole batches, or samples
        of them after a change of `answers.batch_size`.

        Args:
            done: ids.
            rank, world_size: of several processes each gets every n-th batch.
            in_step: all get equally many, for a model that lies in pieces answers in all of them or in none; what fills
                up is `spare`, see `Batches`.
        """
        samples = as_samples(self.test_samples)
        lengths, ids = self._lengths(self.test_samples).tolist(), samples.ids
        batches = answer_batches(lengths, self.answers.batch_size, _groups(samples))
        batches = [left for batch in batches if (left := [sample for sample in batch if ids[sample] not in done])]
        own = batches[rank::world_size]
        spare = batches[:1] if in_step and len(own) < -(-len(batches) // world_size) else []
        items = Batches(self.test_samples, own, self._answer_batch, spare, self.batches.num_workers)
        return AnswerLoader(items, batch_size=None, num_workers=self.batches.num_workers)

    def _answer_batch(self, samples: Sequence[TestSample]) -> dict[str, Any]:
        return {**self.encoder.answer_batch(samples), "max_new_tokens": self.answers.max_new_tokens}


def check_alike(tasks: Sequence[InstructionTask]) -> None:
    """Samples of one task can be learned in another: all are read in the same way.

    Raises:
        ConfigError: their images lie below several roots, or an option of `READ_ALIKE` differs.
    """
    for other in tasks[1:]:
        ours, theirs = ({"image_root": task.image_root, **vars(task.data)} for task in (tasks[0], other))
        for key in ("image_root", *READ_ALIKE):
            if ours[key] != theirs[key]:
                raise ConfigError(
                    f"task.{tasks[0].name} and task.{other.name}: samples of one cannot be learned in the other, "
                    f"{key} is {str(ours[key])!r} and {str(theirs[key])!r}; give both the same"
                )


@contextmanager
def _placed(module: nn.Module, device: torch.device | None) -> Iterator[None]:
    """Within it the module is on the device, if one is given; a trainer would move it only later."""
    before = next(module.parameters()).device
    if device in (None, before):
        yield
        return
    module.to(device)
    try:
        yield
    finally:
        module.to(before)


def _groups(samples: Samples[TestSample]) -> list[int] | None:
    """Numbers of `Samples.same_images`, where two samples or more show the same images on average."""
    numbers = samples.same_images()
    return numbers if 2 * len(set(numbers)) <= len(numbers) else None

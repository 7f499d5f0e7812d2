"""Samples to tensors: right padding to learn, left padding to answer."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.box_formats import BoxFormat, box_on_disk
from coin_lightning.backbones.family import Grid
from coin_lightning.backbones.images import check_frame, check_header, image_hash, open_image, unlike
from coin_lightning.backbones.prompts import Turn
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.tasks.features import FeatureStore
from coin_lightning.tasks.sample_format import Media, TestSample, TrainSample
from coin_lightning.tasks.sample_sequence import as_samples

BOXES = ("as_written", "converted")
LONGEST = 128
"""Tokens of a right answer at most. Limits beyond it are for models that ramble: CoIN's longest takes some 40."""


class Encoder:
    """Turns samples into token ids and image inputs for one backbone.

    Args:
        backbone: gives tokenizer, prompt and preprocessing.
        image_root: folder of the images.
        store: cached features, or None to give pixels and let the tower run in every step.
        answer_frame: frame of the images of test samples (`images.FRAMES`), if it is another than the backbone's.
        answer_store: cached features of that frame, or None for pixels.
        boxes: `as_written` leaves boxes as the files have them, `converted` gives them in the backbone's own format
            (`Backbone.box_format`).
        cuts: cut training samples at the end of the backbone's context.

    Attributes:
        hashes: `image_hash` of images by path, as far as known; others are read when they are asked for.
        sizes: width and height, likewise.

    Raises:
        ConfigError: an unknown frame or way with boxes.
    """

    def __init__(
        self,
        backbone: Backbone,
        image_root: Path,
        store: FeatureStore | None,
        answer_frame: str | None = None,
        answer_store: FeatureStore | None = None,
        boxes: str = "as_written",
        cuts: bool = False,
    ) -> None:
        if boxes not in BOXES:
            raise ConfigError(f"protocol.boxes={boxes!r} is unknown; use {' or '.join(BOXES)}")
        self.backbone, self.image_root, self.store = backbone, image_root, store
        frames = backbone.family.frames
        own = answer_frame is None or check_frame(answer_frame, frames, "answer_frame") == backbone.image_frame
        self.answer_frame, self.answer_store = (None, store) if own else (answer_frame, answer_store)
        self.converts_boxes = boxes == "converted" and not backbone.box_format.as_on_disk
        self.cuts = cuts
        self.hashes: dict[str, str] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self._opened: set[str] = set()

    def room(self, max_new_tokens: int) -> int:
        """Tokens of the context that a test question leaves to its answer: all that it may have. Where training samples
        are cut, as in the published code, those of a right one: there an answer may go on beyond the context.
        """
        return min(max_new_tokens, LONGEST) if self.cuts else max_new_tokens

    def turns(self, sample: TrainSample | TestSample) -> list[Turn]:
        """The conversation, boxes in the backbone's format; a test question shows all images of its sample."""
        if isinstance(sample, TestSample):
            return [Turn(sample.text, images=len(sample.media))]
        if not self.converts_boxes:
            return list(sample.turns)
        return [self._learned(sample, *each) for each in zip(sample.turns, sample.pictured(), strict=True)]

    def _learned(self, sample: TrainSample, turn: Turn, shown: Sequence[Media]) -> Turn:
        box = box_on_disk(turn.answer or "")
        if box is None:
            return turn
        if len(shown) != 1:
            where = f"with {len(shown)} images" if shown else "without an image"
            raise DataError(f"{sample.where}: a box {where} cannot be converted; set protocol.boxes=as_written")
        size = self.size_of(shown[0].path)
        answer = self._box_format(size).write(box, size)
        return replace(turn, answer=answer, tags=True)

    def reference(self, reference: dict[str, Any]) -> dict[str, Any]:
        """The reference of a test sample, for its record.

        One with a box says in which format the model answers, so that scoring needs no model (`box_formats.read_box`).
        """
        if not self.converts_boxes or "answer_bbox" not in reference:
            return reference
        return {**reference, "box_format": self._box_format(reference.get("size")).describe()}

    def _box_format(self, size: Sequence[int] | None) -> BoxFormat:
        """Of an image of this width and height."""
        found = self.backbone.box_format
        if found.numbers != "pixels" or size is None:
            return found
        return replace(found, shown=self.backbone.family.shown((size[0], size[1])))

    def prompt(self, sample: TrainSample | TestSample) -> str:
        """The text as the model gets it, with one `<image>` for the image's tokens."""
        return self.backbone.prompt.render(self.turns(sample))[0]

    def encode(self, sample: TrainSample | TestSample) -> tuple[list[int], list[int]]:
        """Token ids and labels; of a training sample where it is cut, as many as the context holds.

        Raises:
            DataError: the ids have not just the room that the sample's images take.
        """
        ids, labels = self.cut(sample)
        found = ids.count(self.backbone.image_token_id)
        wanted = self.backbone.image_tokens(self.grids(sample))
        if found != wanted:
            raise DataError(
                f"{sample.where}: its prompt has {found} image tokens, its {len(sample.media)} images take {wanted}; "
                f"check backbone.prompt ({self.backbone.prompt.name}) and "
                f"backbone.max_length={self.backbone.max_length}"
            )
        return ids, labels

    def cut(self, sample: TrainSample | TestSample) -> tuple[list[int], list[int]]:
        """As `encode`, unchecked."""
        ids, labels = self.whole(sample)
        if self.cuts and isinstance(sample, TrainSample):
            return ids[: self.backbone.max_length], labels[: self.backbone.max_length]
        return ids, labels

    def whole(self, sample: TrainSample | TestSample) -> tuple[list[int], list[int]]:
        """Token ids and labels, however many there are."""
        return self.backbone.tokens(self.backbone.prompt.render(self.turns(sample)), self.grids(sample))

    def grids(self, sample: TrainSample | TestSample) -> list[Grid]:
        """What lays out the sample's images, see `Family.grids`; sizes are read only where it depends on them."""
        if self.backbone.family.alike:
            return [()] * len(sample.media)
        return self.backbone.family.grids([self.size_of(media.path) for media in sample.media])

    def size_of(self, image: str) -> tuple[int, int]:
        """Width and height of an image of this task, read once."""
        if image not in self.sizes:
            self.sizes[image] = check_header(self.image_root / image)
        return self.sizes[image]

    def hash_of(self, image: str) -> str:
        """`image_hash` of an image of this task, read once."""
        if image not in self.hashes:
            self.hashes[image] = image_hash(self.image_root / image)
        return self.hashes[image]

    def opened(self, image: str) -> Image.Image:
        """An image of this task, decoded. The first time its bytes are compared with what is known of them.

        Raises:
            DataError: as `open_image`, or they are others.
        """
        path = self.image_root / image
        if image in self.hashes and image not in self._opened and (said := unlike(path, self.hashes[image])):
            raise DataError(said)
        self._opened.add(image)
        return open_image(path)

    def pixels(self, image: str, answering: bool = False) -> dict[str, Tensor]:
        """What the tower takes of an image of this task (`Family.pixels`); as for test samples or not."""
        return self.backbone.pixels(self.opened(image), self.answer_frame if answering else None)

    def features(self, image: str, answering: bool = False) -> Tensor:
        """Cached features `[count, width]` of an image of this task; as for test samples or not."""
        store = self.answer_store if answering else self.store
        assert store is not None
        return store.get(self.hash_of(image))

    def images(
        self, samples: Sequence[TrainSample | TestSample], ids: Tensor, mask: Tensor | None = None
    ) -> dict[str, Any]:
        """What a batch has of its images; `mask` where test samples are padded on the left.

        Returns:
            `grids` of each sample's images, and `layout` (`Family.layout`). Of all images in order: `features`
            `[sum of their counts, width]` from the store, or a list of their `pixels`; neither when there is none.
        """
        answering = mask is not None
        store = self.answer_store if answering else self.store
        paths = [media.path for sample in samples for media in sample.media]
        grids = [self.grids(sample) for sample in samples]
        batch: dict[str, Any] = {"grids": grids, "layout": self.backbone.layout(ids, mask, [*chain(*grids)])}
        if paths and store is not None:
            batch["features"] = torch.cat([self.features(path, answering) for path in paths])
        elif paths:
            batch["pixels"] = [self.pixels(path, answering) for path in paths]
        return batch

    def train_batch(self, samples: Sequence[TrainSample]) -> dict[str, Any]:
        """`input_ids`, `labels` `[b, l]` padded on the right, image inputs, and what `spoken` says of the samples."""
        encoded = [self.encode(sample) for sample in samples]
        width = max(len(ids) for ids, _ in encoded)
        ids = torch.full((len(samples), width), self.backbone.end_id)
        labels = torch.full((len(samples), width), IGNORE)
        for at, (sample_ids, sample_labels) in enumerate(encoded):
            ids[at, : len(sample_ids)] = torch.tensor(sample_ids)
            labels[at, : len(sample_labels)] = torch.tensor(sample_labels)
        return {"input_ids": ids, "labels": labels, **spoken(samples), **self.images(samples, ids)}

    def answer_batch(self, samples: Sequence[TestSample]) -> dict[str, Any]:
        """`input_ids`, `attention_mask` `[b, l]` padded on the left, image inputs, what `spoken` says.

        `same_images`: see `Samples.same_images`.
        """
        encoded = [self.encode(sample)[0] for sample in samples]
        width = max(map(len, encoded))
        ids = torch.full((len(samples), width), self.backbone.end_id)
        mask = torch.zeros((len(samples), width), dtype=torch.long)
        for at, sample_ids in enumerate(encoded):
            ids[at, width - len(sample_ids) :] = torch.tensor(sample_ids)
            mask[at, width - len(sample_ids) :] = 1
        same = as_samples(samples).same_images()
        images = self.images(samples, ids, mask)
        return {"input_ids": ids, "attention_mask": mask, "same_images": same, **spoken(samples), **images}


def spoken(samples: Sequence[TrainSample | TestSample]) -> dict[str, list[str]]:
    """Of each sample: `ids`, which tasks may share; `tasks`; `texts`, its questions as the data set words them."""
    return {
        "ids": [sample.id for sample in samples],
        "tasks": [sample.task for sample in samples],
        "texts": [_question(sample) for sample in samples],
    }


def _question(sample: TrainSample | TestSample) -> str:
    return sample.text if isinstance(sample, TestSample) else "\n".join(turn.question for turn in sample.turns)

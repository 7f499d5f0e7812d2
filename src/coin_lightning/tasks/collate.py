"""Rows to tensors: right padding to learn, left padding to answer."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.box_formats import box_on_disk
from coin_lightning.backbones.images import check_frame, check_header, image_hash, open_image
from coin_lightning.backbones.prompts import Turn
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.tasks.features import FeatureStore
from coin_lightning.tasks.row_format import TestRow, TrainRow

BOXES = ("as_written", "converted")


class Encoder:
    """Turns rows into token ids and image inputs for one backbone.

    Args:
        backbone: gives tokenizer, prompt and preprocessing.
        image_root: folder of the images.
        store: cached features, or None to give pixels and let the tower run in every step.
        answer_frame: frame of the images of test rows (`images.FRAMES`), if it is another than the backbone's.
        answer_store: cached features of that frame, or None for pixels.
        boxes: `as_written` leaves boxes as the files have them, `converted` gives them in the backbone's own format
            (`Backbone.box_format`).
        cuts: cut training rows at the end of the backbone's context.

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
        own = answer_frame is None or check_frame(answer_frame, "answer_frame") == backbone.image_frame
        self.answer_frame, self.answer_store = (None, store) if own else (answer_frame, answer_store)
        self.converts_boxes = boxes == "converted" and not backbone.box_format.as_on_disk
        self.cuts = cuts
        self.hashes: dict[str, str] = {}
        self.sizes: dict[str, tuple[int, int]] = {}

    def turns(self, row: TrainRow | TestRow) -> list[Turn]:
        """The conversation, boxes in the backbone's format; a test question shows all images of its row."""
        if isinstance(row, TestRow):
            return [Turn(row.text, images=len(row.media))]
        return [self._learned(row, turn) for turn in row.turns]

    def _learned(self, row: TrainRow, turn: Turn) -> Turn:
        box = box_on_disk(turn.answer or "") if self.converts_boxes else None
        if box is None:
            return turn
        if row.image is None:
            raise DataError(f"{row.where}: a box without an image cannot be converted; set protocol.boxes=as_written")
        answer = self.backbone.box_format.write(box, self.size_of(row.image))
        return replace(turn, answer=answer, tags=True)

    def reference(self, reference: dict[str, Any]) -> dict[str, Any]:
        """The reference of a test row, for its record.

        One with a box says in which format the model answers, so that scoring needs no model (`box_formats.read_box`).
        """
        if not self.converts_boxes or "answer_bbox" not in reference:
            return reference
        return {**reference, "box_format": self.backbone.box_format.describe()}

    def prompt(self, row: TrainRow | TestRow) -> str:
        """The text as the model gets it, with one `<image>` for the image's tokens."""
        return self.backbone.prompt.render(self.turns(row))[0]

    def encode(self, row: TrainRow | TestRow) -> tuple[list[int], list[int]]:
        """Token ids and labels; of a training row where it is cut, as many as the context holds.

        Raises:
            DataError: the ids have not just the room that the row's images take.
        """
        ids, labels = self.cut(row)
        found = ids.count(self.backbone.image_token_id)
        wanted = len(row.media) * self.backbone.tokens_per_image
        if found != wanted:
            raise DataError(
                f"{row.where}: its prompt has {found} image tokens, its {len(row.media)} images take {wanted}; check "
                f"backbone.prompt ({self.backbone.prompt.name}) and backbone.max_length={self.backbone.max_length}"
            )
        return ids, labels

    def cut(self, row: TrainRow | TestRow) -> tuple[list[int], list[int]]:
        """As `encode`, unchecked."""
        ids, labels = self.whole(row)
        if self.cuts and isinstance(row, TrainRow):
            return ids[: self.backbone.max_length], labels[: self.backbone.max_length]
        return ids, labels

    def whole(self, row: TrainRow | TestRow) -> tuple[list[int], list[int]]:
        """Token ids and labels, however many there are."""
        return self.backbone.tokens(*self.backbone.prompt.render(self.turns(row)))

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

    def pixels(self, image: str, answering: bool = False) -> Tensor:
        """Cached features `[tokens, width]`, or pixels `[3, S, S]` when there is no store; as for test rows or not."""
        store = self.answer_store if answering else self.store
        if store is not None:
            return store.get(self.hash_of(image))
        return self.backbone.pixels(open_image(self.image_root / image), self.answer_frame if answering else None)

    def image_tensors(self, rows: Sequence[TrainRow | TestRow], answering: bool = False) -> dict[str, Tensor]:
        """`features` or `pixels` of all images of the rows, stacked in their order; empty when there is none."""
        found = [self.pixels(media.path, answering) for row in rows for media in row.media]
        name = "pixels" if (self.answer_store if answering else self.store) is None else "features"
        return {name: torch.stack(found)} if found else {}

    def train_batch(self, rows: Sequence[TrainRow]) -> dict[str, Any]:
        """`input_ids`, `labels` `[b, l]` padded on the right, image inputs, and what `spoken` says of the rows."""
        encoded = [self.encode(row) for row in rows]
        width = max(len(ids) for ids, _ in encoded)
        ids = torch.full((len(rows), width), self.backbone.end_id)
        labels = torch.full((len(rows), width), IGNORE)
        for at, (row_ids, row_labels) in enumerate(encoded):
            ids[at, : len(row_ids)] = torch.tensor(row_ids)
            labels[at, : len(row_labels)] = torch.tensor(row_labels)
        return {"input_ids": ids, "labels": labels, **spoken(rows), **self.image_tensors(rows)}

    def answer_batch(self, rows: Sequence[TestRow]) -> dict[str, Any]:
        """`input_ids`, `attention_mask` `[b, l]` padded on the left, image inputs, and what `spoken` says."""
        encoded = [self.encode(row)[0] for row in rows]
        width = max(map(len, encoded))
        ids = torch.full((len(rows), width), self.backbone.end_id)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for at, row_ids in enumerate(encoded):
            ids[at, width - len(row_ids) :] = torch.tensor(row_ids)
            mask[at, width - len(row_ids) :] = 1
        images = self.image_tensors(rows, answering=True)
        return {"input_ids": ids, "attention_mask": mask, **spoken(rows), **images}


def spoken(rows: Sequence[TrainRow | TestRow]) -> dict[str, list[str]]:
    """Of each row: `ids`, which tasks may share; `tasks`; `texts`, its questions as the data set words them."""
    return {
        "ids": [row.id for row in rows],
        "tasks": [row.task for row in rows],
        "texts": [_question(row) for row in rows],
    }


def _question(row: TrainRow | TestRow) -> str:
    return row.text if isinstance(row, TestRow) else "\n".join(turn.question for turn in row.turns)

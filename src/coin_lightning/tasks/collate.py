"""Rows to tensors: right padding to learn, left padding to answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.pictures import open_picture
from coin_lightning.backbones.prompts import Turn, picture_first
from coin_lightning.tasks.features import FeatureStore, file_hash
from coin_lightning.tasks.rows import TestRow, TrainRow


class Encoder:
    """Turns rows into token ids and picture inputs for one backbone.

    Args:
        backbone: gives tokenizer, prompt and preprocessing.
        images: image root.
        store: cached features, or None to give pixels and let the tower run in every step.
    """

    def __init__(self, backbone: Backbone, images: Path, store: FeatureStore | None) -> None:
        self.backbone, self.images, self.store = backbone, images, store
        self._hashes: dict[str, str] = {}

    def turns(self, row: TrainRow | TestRow) -> list[Turn]:
        """The conversation with `<image>` in front of its first question where the row has a picture."""
        has_picture = row.image is not None
        if isinstance(row, TestRow):
            return [Turn(picture_first(row.text, has_picture))]
        return [
            Turn(picture_first(turn.question, has_picture and index == 0), turn.answer)
            for index, turn in enumerate(row.turns)
        ]

    def prompt(self, row: TrainRow | TestRow) -> str:
        """The text as the model gets it, with one `<image>` for the picture's tokens."""
        return self.backbone.prompt.render(self.turns(row))[0]

    def encode(self, row: TrainRow | TestRow) -> tuple[list[int], list[int]]:
        """Token ids and labels."""
        return self.backbone.tokens(*self.backbone.prompt.render(self.turns(row)))

    def hash_of(self, image: str) -> str:
        """sha256 of a picture of this task, read once."""
        if image not in self._hashes:
            self._hashes[image] = file_hash(self.images / image)
        return self._hashes[image]

    def picture(self, image: str) -> Tensor:
        """Cached features `[tokens, width]`, or pixels `[3, S, S]` when there is no store."""
        if self.store is not None:
            return self.store.get(self.hash_of(image))
        return self.backbone.pixels(open_picture(self.images / image))

    def pictures(self, rows: Sequence[TrainRow | TestRow]) -> dict[str, Tensor]:
        """`features` or `pixels` of the rows that have a picture, stacked in row order; empty when none has."""
        found = [self.picture(row.image) for row in rows if row.image is not None]
        name = "pixels" if self.store is None else "features"
        return {name: torch.stack(found)} if found else {}

    def train_batch(self, rows: Sequence[TrainRow]) -> dict[str, Any]:
        """`input_ids`, `labels` `[b, l]` padded on the right, picture inputs, and the rows' ids."""
        encoded = [self.encode(row) for row in rows]
        width = max(len(ids) for ids, _ in encoded)
        ids = torch.full((len(rows), width), self.backbone.end_id)
        labels = torch.full((len(rows), width), IGNORE)
        for at, (row_ids, row_labels) in enumerate(encoded):
            ids[at, : len(row_ids)] = torch.tensor(row_ids)
            labels[at, : len(row_labels)] = torch.tensor(row_labels)
        return {"input_ids": ids, "labels": labels, "ids": [row.id for row in rows], **self.pictures(rows)}

    def answer_batch(self, rows: Sequence[TestRow]) -> dict[str, Any]:
        """`input_ids`, `attention_mask` `[b, l]` padded on the left, picture inputs, and the rows' ids."""
        encoded = [self.encode(row)[0] for row in rows]
        width = max(map(len, encoded))
        ids = torch.full((len(rows), width), self.backbone.end_id)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for at, row_ids in enumerate(encoded):
            ids[at, width - len(row_ids) :] = torch.tensor(row_ids)
            mask[at, width - len(row_ids) :] = 1
        return {"input_ids": ids, "attention_mask": mask, "ids": [row.id for row in rows], **self.pictures(rows)}

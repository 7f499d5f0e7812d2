"""Align the projector of `llava_smol`: `python experiments/stage1/align.py [--recipe FILE] [--limit N]`.

Where the recipe has `cells`, it first learns to name what each cell of an image shows (`cells.py`); then, through the
frozen language model, captions. Writes weights with the recipe's hash in their metadata and beside them as JSON.
"""

import argparse
import hashlib
import json
import time
from itertools import chain
from pathlib import Path
from typing import Any

import cells
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import save_file
from torch import Tensor

from coin_lightning import assets
from coin_lightning.backbones import llava_smol
from coin_lightning.backbones.base import Backbone
from coin_lightning.backbones.images import open_image
from coin_lightning.benchmarks import coin_mini
from coin_lightning.continual.environment import machine
from coin_lightning.schedules import cosine
from coin_lightning.seeding import seed_everything
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.features import FeatureStore
from coin_lightning.tasks.sampler import LengthBucketSampler
from coin_lightning.tasks.samples import TrainSample, read_train
from coin_lightning.tasks.subsets import chunks

RECIPE = Path(__file__).with_name("llava_smol.yaml")


def recipe_hash(recipe: dict[str, Any], data: Path) -> str:
    """sha256 over the recipe's values and the caption file."""
    text = json.dumps(recipe, sort_keys=True).encode()
    return hashlib.sha256(text + data.read_bytes()).hexdigest()


def store_features(encoder: Encoder, rows: list[TrainSample]) -> None:
    """Run the tower over the images that the store lacks."""
    store = encoder.store
    assert store is not None
    first: dict[str, str] = {}
    for row in rows:
        for media in row.media:
            if encoder.hash_of(media.path) not in store:
                first.setdefault(encoder.hash_of(media.path), media.path)
    for part in chunks(list(first.items()), 32):
        pixels = [encoder.backbone.pixels(open_image(encoder.image_root / image)) for _, image in part]
        store.add([digest for digest, _ in part], encoder.backbone.encode_images(pixels))


def loss_of(backbone: Backbone, batch: dict[str, Any]) -> Tensor:
    """Mean cross-entropy of the caption tokens."""
    images = backbone.project(batch.get("features"), [*chain(*batch["grids"])])
    hidden = backbone.hidden_states(batch["input_ids"], images)
    logits, targets = backbone.answer_logits(hidden, batch["labels"])
    return F.cross_entropy(logits.float(), targets)


def align(recipe: dict[str, Any], limit: int | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train the projector; returns its weights and what was measured."""
    root = coin_mini.ensure()
    backbone = llava_smol.load(aligned=False, dtype="auto")
    store = FeatureStore(assets.cache_root() / "features" / backbone.tower_key(), backbone.family.width)
    encoder = Encoder(backbone, root / recipe["images"], store)
    rows = read_train(root / recipe["data"], encoder.image_root)[:limit]
    store_features(encoder, rows)
    held_out, rows = rows[: recipe["held_out"]], rows[recipe["held_out"] :]
    projector = backbone.core.multi_modal_projector.float().requires_grad_(True)
    seed_everything(recipe["seed"])
    before = evaluate(backbone, encoder, held_out)
    named = cells.learn(backbone, projector, recipe["cells"]) if "cells" in recipe else None
    rates = {"lr": recipe["learning_rate"], "weight_decay": recipe["weight_decay"]}
    optimizer = torch.optim.AdamW(projector.parameters(), **rates)
    lengths = [len(encoder.prompt(row)) for row in rows]
    sampler = LengthBucketSampler(lengths, recipe["batch_size"], f"stage1/{recipe['seed']}")
    total = len(sampler) * recipe["epochs"]
    schedule = cosine(optimizer, total, recipe["warmup_ratio"])
    between = evaluate(backbone, encoder, held_out)
    started, step = time.monotonic(), 0
    for epoch in range(recipe["epochs"]):
        sampler.set_epoch(epoch)
        for batch in sampler:
            loss = loss_of(backbone, encoder.train_batch([rows[index] for index in batch]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(projector.parameters(), recipe["gradient_clip"])
            optimizer.step()
            schedule.step()
            step += 1
            if step % 10 == 0:
                pace = (time.monotonic() - started) / step
                print(f"step {step}/{total} loss {loss.item():.3f} {pace:.2f} s/step", flush=True)
    after = evaluate(backbone, encoder, held_out)
    seconds = round(time.monotonic() - started)
    losses = {"before": before, "after_cells": between, "after": after}
    measured = {"cells_named_right": named, "steps": step, "seconds": seconds, "held_out_loss": losses}
    return {name: tensor.detach().half().contiguous() for name, tensor in projector.state_dict().items()}, measured


@torch.no_grad()
def evaluate(backbone: Backbone, encoder: Encoder, rows: list[TrainSample]) -> float:
    """Mean loss over held-out captions."""
    losses = [loss_of(backbone, encoder.train_batch(part)).item() for part in chunks(rows, 20)]
    return sum(losses) / len(losses)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="default: that of the shipped weights")
    parser.add_argument("--limit", type=int, help="use only the first N captions (a trial, not the shipped recipe)")
    parser.add_argument("--out", type=Path, default=llava_smol.shipped_projector())
    options = parser.parse_args()
    recipe = yaml.safe_load(options.recipe.read_text())
    weights, measured = align(recipe, options.limit)
    digest = recipe_hash(recipe, coin_mini.ensure() / recipe["data"])
    save_file(weights, options.out, metadata={"recipe": digest, "format": "pt"})
    note = {"recipe_sha256": digest, "recipe": recipe, "limit": options.limit, "machine": machine(), **measured}
    if "cells" in recipe:
        note["first_scenes_sha256"] = cells.first_scenes_sha256(recipe["cells"])
    options.out.with_suffix(".json").write_text(json.dumps(note, indent=1) + "\n")
    print(json.dumps(measured))


if __name__ == "__main__":
    main()

"""A plain PyTorch training loop whose parts can be switched one by one between the Trainer's way and ours."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
import torch.nn.functional as F
from harness import clock
from ours import device, on_device, precision
from torch import Tensor
from trainer_side import padding_mask, with_pixels

from coin_lightning.backbones.base import IGNORE
from coin_lightning.module import ContinualMLLM
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.samples import TrainSample


@dataclass(frozen=True)
class Recipe:
    """Which of our ways are on.

    Attributes:
        features: cached features; else pixels through the tower.
        answers_only: logits at learned tokens; else at every position.
        buckets: samples of like length together; else random.
        unmasked: no attention mask; else one made from the padding.
        attention: transformers' name of the language model's attention, None leaves it.
    """

    features: bool = True
    answers_only: bool = True
    buckets: bool = True
    unmasked: bool = True
    attention: str | None = None


def plan(task: InstructionTask, recipe: Recipe) -> list[list[TrainSample]]:
    """The task's samples in batches."""
    if recipe.buckets:
        task.train_dataloader()
        assert task._sampler is not None
        return [[task.train_samples[sample] for sample in batch] for batch in task._sampler.plan()]
    samples = random.Random(0).sample(task.train_samples, len(task.train_samples))
    return [samples[start : start + task.batch_size] for start in range(0, len(samples), task.batch_size)]


def batches(task: InstructionTask, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Tensors of one epoch, made one batch at a time."""
    encoder = task.encoder if recipe.features else with_pixels(task)
    for samples in plan(task, recipe):
        batch = encoder.train_batch(samples)
        yield batch if recipe.unmasked else {**batch, "attention_mask": padding_mask(batch["labels"])}


def loss_of(module: ContinualMLLM, batch: dict[str, Any], recipe: Recipe) -> Tensor:
    """Mean cross-entropy of the learned tokens."""
    backbone = module.backbone
    images = backbone.project(module.image_features(batch), [*chain(*batch["grids"])])
    mask = {} if recipe.unmasked else {"attention_mask": batch["attention_mask"]}
    hidden = backbone.hidden_states(batch["input_ids"], images, {**batch.get("layout", {}), **mask})
    if recipe.answers_only:
        logits, targets = backbone.answer_logits(hidden, batch["labels"])
        return F.cross_entropy(logits.float(), targets)
    logits = backbone.model.lm_head(hidden)[:, :-1].float()
    return F.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORE)


def epoch(
    module: ContinualMLLM,
    task: InstructionTask,
    recipe: Recipe,
    clip: float,
    losses: list[float] | None = None,
    limit: int | None = None,
) -> float:
    """Train one epoch, or `limit` steps, with a new optimizer; seconds of the loop. `losses` gets each step's."""
    module.to(device()).train()
    if recipe.attention is not None:
        module.backbone.core.language_model.set_attn_implementation(recipe.attention)
    optimizer = module.optimizer(module.optimizer_groups())
    schedule = module.schedule(optimizer, total_steps=task.steps_per_epoch())
    weights = list(module.trainable().values())
    found = []
    start = clock()
    for batch in islice(batches(task, recipe), limit):
        optimizer.zero_grad()
        with precision(module):
            loss = loss_of(module, on_device(batch, module), recipe)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()
        schedule.step()
        found.append(loss.detach())
    if module.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = clock() - start
    if losses is not None:
        losses += [loss.item() for loss in found]
    return seconds

"""The other side: `transformers.Trainer` with PEFT LoRA, set up as its documentation shows for a LLaVA model.

Each batch is padded to its longest sample, with an attention mask, labels masked outside answers, and pixels that go
through the vision tower in every step; the model computes logits at every position. Samples come in random order, from
no extra process.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import clock
from omegaconf import DictConfig
from ours import mixed_dtype
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from coin_lightning.backbones.base import IGNORE
from coin_lightning.module import ContinualMLLM
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.samples import TrainSample


def with_pixels(task: InstructionTask) -> Encoder:
    """The task's encoder without stored features: images are opened and preprocessed for each batch."""
    return Encoder(task.encoder.backbone, task.image_root, None)


def padding_mask(labels: torch.Tensor) -> torch.Tensor:
    """1 for the tokens of a right-padded sample, 0 for padding; `[b, l]`. A sample ends with a learned token."""
    width = labels.shape[1]
    lengths = width - (labels != IGNORE).flip(1).int().argmax(1)
    return (torch.arange(width) < lengths.unsqueeze(1)).long()


def model_inputs(encoder: Encoder, samples: Sequence[TrainSample]) -> dict[str, torch.Tensor]:
    """What `forward` takes: `input_ids`, `attention_mask`, `labels` `[b, l]` and, with images, `pixel_values`."""
    batch = encoder.train_batch(samples)
    inputs = {
        "input_ids": batch["input_ids"],
        "labels": batch["labels"],
        "attention_mask": padding_mask(batch["labels"]),
    }
    return inputs | (
        {"pixel_values": torch.cat([each["pixel_values"] for each in batch["pixels"]])} if "pixels" in batch else {}
    )


class TrainerClock(TrainerCallback):
    """Seconds from the first batch's loading to the end of the last step."""

    seconds = 0.0

    def on_train_begin(self, *args: Any, **options: Any) -> None:
        """The Trainer's hook."""
        self.seconds = -clock()

    def on_train_end(self, *args: Any, **options: Any) -> None:
        """The Trainer's hook."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += clock()


def plain(module: ContinualMLLM) -> ContinualMLLM:
    """The module with stock attention and a tower that `Trainer` cannot put into training mode (its batch statistics
    are part of the frozen weights, and both sides must compute the same)."""
    module.backbone.core.language_model.set_attn_implementation("sdpa")
    tower = module.backbone.core.vision_tower.eval()
    tower.train = lambda mode=True: tower
    return module


def make_trainer(
    config: DictConfig, module: ContinualMLLM, task: InstructionTask, folder: Path, save: str = "no"
) -> tuple[Trainer, TrainerClock]:
    """A Trainer for one epoch over the task's samples, with our optimizer, schedule, clipping, precision and logging
    interval."""
    watch, dtype = TrainerClock(), mixed_dtype(module)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=task.batch_size,
        num_train_epochs=1,
        max_grad_norm=config.trainer.gradient_clip_val,
        bf16=dtype == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=config.trainer.log_every_n_steps,
        report_to="none",
        save_strategy=save,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        label_names=["labels"],
        seed=config.seed,
    )
    optimizer = module.optimizer(module.optimizer_groups())
    schedule = module.schedule(optimizer, total_steps=task.steps_per_epoch())
    trainer = Trainer(
        model=module.peft,
        args=arguments,
        data_collator=partial(model_inputs, with_pixels(task)),
        train_dataset=task.train_samples,
        optimizers=(optimizer, schedule),
        callbacks=[watch],
    )
    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)
    return trainer, watch

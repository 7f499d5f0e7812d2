"""Training: our step loop with MoELoRA against `transformers.Trainer` with PEFT LoRA, and what the difference is.

    python experiments/benchmarks/training.py

Both sides train the same backbone on the same samples with the same rank, targets, projector, batch size, precision,
optimizer, schedule and clipping. Between them stand bare loops that change one thing after the other, all of them
with `--ladder`.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bare_loop import Recipe, epoch, loss_of
from harness import RESULTS, interleaved, machine, show, write_json
from omegaconf import DictConfig
from ours import (
    common_facts,
    config_for,
    continual,
    cross_section,
    device,
    fit,
    on_device,
    options,
    precision,
    prepared,
)
from trainer_side import make_trainer, model_inputs, plain, with_pixels

from coin_lightning.backbones.attention import NAME as OUR_ATTENTION
from coin_lightning.module import ContinualMLLM
from coin_lightning.seeding import seed_everything
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.samples import TrainSample

AIM = 2.0
STEPS: dict[str, Recipe] = {
    "bare loop, LoRA": Recipe(False, False, False, False, "sdpa"),
    "+ features cached": Recipe(True, False, False, False, "sdpa"),
    "+ logits at answers only": Recipe(True, True, False, False, "sdpa"),
    "+ length buckets": Recipe(True, True, True, False, "sdpa"),
    "+ no mask": Recipe(True, True, True, True, "sdpa"),
    "+ own attention backward": Recipe(attention=OUR_ATTENTION),
}
TRAINER, GROUPED = "transformers.Trainer, LoRA", "+ adapters with a common input together"
STOCK = next(reversed(STEPS))
MOELORA, OURS = "+ MoELoRA for LoRA", "our fit, MoELoRA"
MODULES = {"stock": ("lora", "backbone.fast=off"), "lora": ("lora",), "moelora": ("moelora",)}
"""Stock: PEFT's LoRA as the Trainer and the loops before `GROUPED` have it."""


def trainer_seconds(config: DictConfig, module: ContinualMLLM, task: InstructionTask) -> float:
    """One epoch of the Trainer."""
    module.backbone.core.language_model.set_attn_implementation("sdpa")
    seed_everything(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer, watch = make_trainer(config, module, task, Path(folder))
        trainer.train()
    return watch.seconds


def losses(lora: ContinualMLLM, task: InstructionTask) -> dict[str, float]:
    """Loss of the first batch before any step, as either side computes it with the same LoRA, dropout off."""
    samples = task.train_samples[: task.batch_size]
    lora.to(device()).eval()
    inputs = on_device(model_inputs(with_pixels(task), samples), lora)
    batch = on_device(task.encoder.train_batch(samples), lora)
    with torch.no_grad(), precision(lora):
        theirs, ours = lora.peft(**inputs).loss, loss_of(lora, batch, Recipe())
    return {"trainer": theirs.item(), "ours": ours.item()}


def sides(
    configs: dict[str, DictConfig], modules: dict[str, ContinualMLLM], tasks: dict[str, InstructionTask], ladder: bool
) -> dict[str, Callable[[], float]]:
    """All sides on one task; with `ladder` also what stands between them."""
    stock, moelora = modules["stock"], modules["moelora"]
    clip = configs["stock"].trainer.gradient_clip_val
    found: dict[str, Callable[[], float]] = {TRAINER: partial(trainer_seconds, configs["stock"], stock, tasks["stock"])}
    for name in STEPS if ladder else [STOCK]:
        recipe = STEPS[name]
        found[name] = partial(epoch, stock, tasks["stock"], recipe, clip)
    found[GROUPED] = partial(epoch, modules["lora"], tasks["lora"], Recipe(), clip)
    found[MOELORA] = partial(epoch, moelora, tasks["moelora"], Recipe(), clip)
    found[OURS] = partial(fit, configs["moelora"], moelora, tasks["moelora"])
    return found


def measure(
    args: argparse.Namespace, configs: dict[str, DictConfig], modules: dict[str, ContinualMLLM]
) -> list[dict[str, Any]]:
    """Seconds of every side on every task, and the two losses that must agree."""
    tasks = {side: prepared(configs[side], module.backbone, args.tasks) for side, module in modules.items()}
    results = []
    for each in zip(*tasks.values(), strict=True):
        own = dict(zip(tasks, each, strict=True))
        stock = own["stock"]
        chosen = cross_section(stock, args.steps)
        runs = sides(configs, modules, own, args.ladder)
        _give(each, chosen[: stock.batch_size])
        interleaved(runs, repeats=0, warmup=args.warmup, own_clock=True)
        _give(each, chosen)
        agreed = losses(modules["stock"], stock)
        times = interleaved(runs, repeats=args.rounds, warmup=0, own_clock=True, limit_s=args.limit_s)
        samples = len(chosen)
        results.append({"task": stock.name, "samples": samples, "loss_of_first_batch": agreed, "seconds": times})
    return results


def _give(tasks: Iterable[InstructionTask], samples: list[TrainSample]) -> None:
    for task in tasks:
        task.train_samples = samples


def rates(results: list[dict[str, Any]]) -> dict[str, float]:
    """Samples per second of each side: all samples over the sum of each task's median seconds."""
    samples = sum(result["samples"] for result in results)
    names = results[0]["seconds"]
    return {name: samples / sum(median(result["seconds"][name]) for result in results) for name in names}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, ["scienceqa", "gqa", "ocrvqa"], rounds=3, limit_s=120.0)
    parser.add_argument("--steps", type=int, default=3, help="steps per task and round")
    parser.add_argument("--ladder", action="store_true", help="also each way of ours added to a bare loop by itself")
    parser.add_argument("--warmup", type=int, default=1, help="rounds of a single step, which do not count")
    parser.add_argument("--out", default=str(RESULTS / "training.json"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    args = parse(argv)
    configs = {side: config_for(args, *words) for side, words in MODULES.items()}
    found = machine(device())
    modules = {side: continual(config) for side, config in configs.items()}
    plain(modules["stock"])
    results = measure(args, configs, modules)
    speed = rates(results)
    samples: list[list[Any]] = [[name, rate, rate / speed[TRAINER]] for name, rate in speed.items()]
    show(
        f"training, {modules['lora'].backbone.name}, rank {configs['lora'].adapter.rank}",
        ["side", "samples/s", "x Trainer"],
        samples,
    )
    content = {
        "benchmark": "training",
        "aim": {"ours_over_trainer_at_least": AIM},
        "machine": found,
        **common_facts(args, configs["moelora"], modules["moelora"]),
        "steps": args.steps,
        "compares": "samples/s of the loop from the first batch to the last step; same samples, rank, targets, "
        "projector, batch, autocast, AdamW, schedule and clipping on both sides; Trainer with PEFT's LoRA, ours with "
        "MoELoRA",
        "samples_per_second": speed,
        "ours_over_trainer": speed[OURS] / speed[TRAINER],
        "moelora_time_over_peft_lora": speed[STOCK] / speed[MOELORA],
        "moelora_time_over_own_lora": speed[GROUPED] / speed[MOELORA],
        "results": results,
    }
    print(f"written: {write_json(args.out, content)}")


if __name__ == "__main__":
    main()

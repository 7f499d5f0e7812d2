"""One GPU: training and answering on a published shape with random weights.

    python experiments/benchmarks/gpu.py                      # LLaVA-1.5-7B; a CUDA device with 80 GB; about 4 minutes
    python experiments/benchmarks/gpu.py --shape qwen3_vl_4b  # or qwen3_vl_8b; not run on a GPU by this project yet
    python experiments/benchmarks/gpu.py --toy                # the same code on a CPU, in seconds

Training: our step with MoELoRA and with LoRA against `transformers.Trainer` with PEFT's LoRA of the same rank, then
what activation checkpointing and larger batches change. Answers: batches of ours against the library's `generate`,
one question after the other from pixels. Both adapters' models stay on the card, so that sides can take turns.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from bare_loop import Recipe, loss_of
from flops import Step, peak_flops, step_flops
from gpu_shapes import (
    CHARACTERS,
    SHAPES,
    build,
    features,
    image_tokens,
    layout_of,
    train_batch,
    without_features,
)
from harness import RESULTS, clock, interleaved, machine, milliseconds, ratio, show, write_json
from ours import mixed_dtype, precision
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.module import ContinualMLLM

TRAINER, LORA, MOELORA = "transformers.Trainer, LoRA", "ours, LoRA", "ours, MoELoRA"
GIB = 2**30


def synchronize() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_peak(device: str, size: int = 8192, repeats: int = 10) -> float:
    """FLOP/s of one large bfloat16 product of random matrices: what this card really reaches."""
    left, right = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    times = interleaved({"product": lambda: left @ right}, repeats=repeats, warmup=3, device=device)["product"]
    return 2 * size**3 / median(times)


def checkpointing(module: ContinualMLLM, on: bool) -> None:
    """Recompute the language model's layers in the backward pass, or keep their activations."""
    language = module.backbone.core.language_model
    if on:
        language.gradient_checkpointing_enable({"use_reentrant": False})
    for part in language.modules():
        if hasattr(part, "gradient_checkpointing"):
            part.gradient_checkpointing = on


class Stepper:
    """Our training step on one random batch: forward, backward, clipping, fused AdamW."""

    def __init__(self, module: ContinualMLLM, step: Step) -> None:
        self.module, self.batch = module, train_batch(module, step)
        self.weights = list(module.trainable().values())
        self.optimizer = torch.optim.AdamW(module.optimizer_groups(), fused=module.device.type == "cuda")
        self.losses: list[float] = []

    def __call__(self) -> None:
        """One step."""
        self.module.train()
        self.optimizer.zero_grad()
        with precision(self.module):
            loss = loss_of(self.module, self.batch, Recipe())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.losses.append(loss.item())


class StepClock(TrainerCallback):
    """Seconds of the last of the Trainer's steps; those before it warm up."""

    seconds = 0.0

    def on_step_begin(self, *args: Any, **options: Any) -> None:
        """The Trainer's hook."""
        synchronize()
        self.seconds = -clock()

    def on_step_end(self, *args: Any, **options: Any) -> None:
        """The Trainer's hook."""
        synchronize()
        self.seconds += clock()


def joined(samples: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch: the tensors of its samples behind one another."""
    return {name: torch.cat([sample[name] for sample in samples]) for name in samples[0]}


def trainer_seconds(module: ContinualMLLM, step: Step) -> float:
    """One step of `transformers.Trainer` on random samples from pixels, as its documentation sets it up."""
    inputs = without_features(train_batch(module, step), module)
    parts = {name: values.cpu().chunk(step.samples) for name, values in inputs.items()}
    samples = [{name: values[sample] for name, values in parts.items()} for sample in range(step.samples)] * 2
    watch, cuda = StepClock(), module.device.type == "cuda"
    module.train()
    tower = module.backbone.tower
    tower.train = lambda mode=True: tower
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=step.samples,
            max_steps=2,
            bf16=mixed_dtype(module) == torch.bfloat16,
            use_cpu=not cuda,
            optim="adamw_torch_fused" if cuda else "adamw_torch",
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=cuda,
            label_names=["labels"],
        )
        trainer = Trainer(
            model=module.peft, args=arguments, train_dataset=samples, callbacks=[watch], data_collator=joined
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return watch.seconds


def compared(modules: dict[str, ContinualMLLM], step: Step, args: argparse.Namespace) -> dict[str, Any]:
    """The three sides in turns, on one batch size, activations kept."""
    ours = {name: Stepper(modules[name], step) for name in (LORA, MOELORA)}
    sides: dict[str, Callable[[], float]] = {TRAINER: partial(trainer_seconds, modules[LORA], step)}
    sides |= {name: partial(timed, stepper) for name, stepper in ours.items()}
    times = interleaved(sides, repeats=args.rounds, warmup=1, own_clock=True)
    return {
        "samples": step.samples,
        "milliseconds_per_step": {name: milliseconds(seconds) for name, seconds in times.items()},
        "moelora_over_lora": ratio(times, MOELORA, LORA),
        "ours_over_trainer": ratio(times, TRAINER, MOELORA),
        "ours_lora_over_trainer": ratio(times, TRAINER, LORA),
        "losses": {name: stepper.losses for name, stepper in ours.items()},
    }


def timed(work: Callable[[], Any]) -> float:
    """Seconds, the device's included."""
    synchronize()
    start = clock()
    work()
    synchronize()
    return clock() - start


def scaled(module: ContinualMLLM, step: Step, on: bool, args: argparse.Namespace) -> dict[str, Any] | None:
    """Speed and memory of our MoELoRA step; None when it does not fit."""
    cuda = module.device.type == "cuda"
    checkpointing(module, on)
    try:
        stepper = Stepper(module, step)
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if cuda else 0
        times = interleaved({"step": stepper}, repeats=args.rounds, warmup=2, device=module.device.type)["step"]
        peak = torch.cuda.max_memory_allocated() - before if cuda else None
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None
    finally:
        module.zero_grad()
        checkpointing(module, False)
    work, seconds = step_flops(module.backbone.model.config, step, args.rank, args.experts), median(times)
    return {
        "samples": step.samples,
        "length": step.length,
        "checkpointing": on,
        "seconds_per_step": seconds,
        "samples_per_second": step.samples / seconds,
        "tokens_per_second": step.samples * step.length / seconds,
        "flops_per_step": work,
        "flops_per_second": sum(work.values()) / seconds,
        "bytes_beside_weights": peak,
    }


def scaling(module: ContinualMLLM, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every batch size with and without checkpointing, each up to the first that does not fit."""
    results = []
    for on in (False, True):
        for samples in sorted(args.batch):
            found = scaled(module, step_of(module, samples, args), on, args)
            if found is None:
                print(f"{samples} samples do not fit, checkpointing {on}", file=sys.stderr)
                break
            results.append(found)
    return results


def step_of(module: ContinualMLLM, samples: int, args: argparse.Namespace) -> Step:
    """A step on samples with one image each."""
    images = image_tokens(module)
    return Step(samples, images + args.text_tokens, images, args.learned_tokens)


def questions(module: ContinualMLLM, samples: int, args: argparse.Namespace) -> torch.Tensor:
    """Prompts `[samples, image tokens + text]`, the image first."""
    images = image_tokens(module)
    ids = torch.randint(*CHARACTERS, (samples, images + args.text_tokens), device=module.device)
    ids[:, :images] = module.backbone.image_token_id
    return ids


def in_batch(module: ContinualMLLM, ids: torch.Tensor, tokens: int) -> None:
    """Our way: cached features, one batch."""
    with torch.no_grad(), precision(module):
        grids = [module.backbone.benchmark_grid] * len(ids)
        images = module.backbone.project(features(module, len(ids)).flatten(0, 1), grids)
        module.backbone.answer(ids, torch.ones_like(ids), tokens, images, layout_of(module, ids))


def one_by_one(module: ContinualMLLM, ids: torch.Tensor, tokens: int) -> None:
    """The library's `generate`, a question at a time, from pixels."""
    for sample in ids.split(1):
        with torch.no_grad(), precision(module):
            inputs = without_features({"input_ids": sample, "labels": sample}, module)
            inputs.pop("labels")
            module.peft.generate(
                **inputs,
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=module.backbone.end_id,
            )


def answers(module: ContinualMLLM, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Answers per second for each number of new tokens; random weights hardly ever end an answer before it."""
    module.eval()
    module.peft.generation_config.eos_token_id = None
    results = []
    for tokens in args.new_tokens:
        sides: dict[str, Callable[[], float]] = {}
        for samples in args.answer_batch:
            sides[f"batch {samples}"] = partial(
                timed, partial(in_batch, module, questions(module, samples, args), tokens)
            )
        alone = questions(module, args.alone, args)
        sides["one by one"] = partial(timed, partial(one_by_one, module, alone, tokens))
        times = interleaved(sides, repeats=args.rounds_of_answers, warmup=1, own_clock=True)
        counts = [*args.answer_batch, args.alone]
        rates = {name: samples / median(times[name]) for name, samples in zip(sides, counts, strict=True)}
        over = max(rate for name, rate in rates.items() if name != "one by one") / rates["one by one"]
        results.append({"new_tokens": tokens, "answers_per_second": rates, "best_over_alone": over})
    return results


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="toy sizes on the CPU")
    parser.add_argument("--compare-samples", nargs="+", type=int, default=[4, 16], help="where the sides take turns")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 4, 8, 16, 32], help="until memory is full")
    parser.add_argument("--text-tokens", type=int, default=96)
    parser.add_argument("--learned-tokens", type=int, default=8)
    parser.add_argument("--new-tokens", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--answer-batch", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--alone", type=int, default=8, help="questions that are answered one by one")
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rounds-of-answers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shape", choices=SHAPES, default="llava_7b")
    parser.add_argument("--out", default=None, help="default: gpu.json, with another shape's name behind gpu_")
    args = parser.parse_args(argv)
    name = "gpu" if args.shape == "llava_7b" else f"gpu_{args.shape}"
    args.out = args.out or str(RESULTS / f"{name}.json")
    args.device = "cpu" if args.toy else "cuda"
    return args


def built(args: argparse.Namespace) -> dict[str, ContinualMLLM]:
    """The module of each adapter, same rank and scale."""
    size: dict[str, Any] = {"rank": args.rank, "alpha": 2 * args.rank, "dropout": args.dropout}
    adapters = {LORA: lora(**size), MOELORA: moelora(num_experts=args.experts, **size)}
    return {name: build(adapter, args.device, args.toy, args.seed, args.shape) for name, adapter in adapters.items()}


def tables(content: dict[str, Any]) -> None:
    """Print what was measured."""
    peak, samples = content["measured_peak_flops_per_second"], list[Sequence[Any]]()
    for turns in content["compared"]:
        times = turns["milliseconds_per_step"]
        samples += [[name, turns["samples"], time, times[TRAINER] / time] for name, time in times.items()]
    show(f"{content['backbone']}, in turns", ["side", "samples", "ms / step", "x Trainer"], samples)
    samples = [
        [
            r["samples"],
            "all" if r["checkpointing"] else "none",
            r["tokens_per_second"],
            r["samples_per_second"],
            r["flops_per_second"] / peak,
            (r["bytes_beside_weights"] or 0) / GIB,
        ]
        for r in content["scaling"]
    ]
    show(MOELORA, ["samples", "recomputed", "tokens/s", "samples/s", "of the peak", "GiB + weights"], samples)
    sides = list(content["answers"][0]["answers_per_second"])
    samples = [[r["new_tokens"], *r["answers_per_second"].values(), r["best_over_alone"]] for r in content["answers"]]
    show("answers per second", ["new tokens", *sides, "best / alone"], samples)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write; exit status 2 without a GPU."""
    args = parse(argv)
    if not args.toy and not torch.cuda.is_available():
        print("gpu needs a CUDA device and this machine has none; --toy runs the same code on a CPU", file=sys.stderr)
        sys.exit(2)
    found = machine(args.device)
    peak = matrix_peak(args.device, 256 if args.toy else 8192)
    modules = built(args)
    module = modules[MOELORA]
    content: dict[str, Any] = {
        "benchmark": "gpu",
        "machine": found,
        "backbone": module.backbone.name,
        "dtype": str(module.backbone.model.dtype).removeprefix("torch."),
        "rank": args.rank,
        "experts": args.experts,
        "dropout": args.dropout,
        "seed": args.seed,
        "image_tokens": image_tokens(module),
        "text_tokens": args.text_tokens,
        "compares": "forward, backward, clipping and fused AdamW on random samples; ours from cached features, the "
        "Trainer from pixels; bytes beside weights are the peak of a step less what lies on the card before it",
        "trainable_parameters": {
            name: sum(parameter.numel() for parameter in one.trainable().values()) for name, one in modules.items()
        },
        "measured_peak_flops_per_second": peak,
        "data_sheet_peak_flops_per_second": peak_flops(found.get("gpu", "")),
    }
    content["compared"] = [compared(modules, step_of(module, samples, args), args) for samples in args.compare_samples]
    modules.pop(LORA)
    if not args.toy:
        torch.cuda.empty_cache()
    content["scaling"] = scaling(module, args)
    content["answers"] = answers(module, args)
    tables(content)
    print(f"written: {write_json(args.out, content)}")


if __name__ == "__main__":
    main()

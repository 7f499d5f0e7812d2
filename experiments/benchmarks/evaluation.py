"""Evaluation: our batched, length-sorted generation against `generate` called for one question after the other.

    python experiments/benchmarks/evaluation.py

All sides answer the same questions greedily with the same MoELoRA weights, which have been trained for a few steps so
that answers end as they do in a run; what goes one by one, and the library's own batches, do so with each adapter layer
by itself (`backbone.fast=off`). Answers must be identical in float32; in other types rounding may turn a near tie.
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from harness import CLOCK, RESULTS, interleaved, machine, show, write_json
from ours import (
    common_facts,
    config_for,
    continual,
    device,
    fit,
    mixed_dtype,
    on_device,
    options,
    precision,
    prepared,
)
from trainer_side import with_pixels

from coin_lightning.backbones.base import native_dtype
from coin_lightning.module import ContinualMLLM
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.samples import TestSample

AIM = 5.5
OURS, LIBRARY = "ours, batched", "generate, batched"
PIXELS = "generate one by one, pixels"


def batched(module: ContinualMLLM, task: InstructionTask) -> dict[str, str]:
    """Our way: id -> answer."""
    answers: dict[str, str] = {}
    for batch in task.answer_loader():
        with precision(module):
            found = module.predict_step(on_device(batch, module), 0)
        answers.update(zip(found["ids"], found["answers"], strict=True))
    return answers


def from_pixels(module: ContinualMLLM, encoder: Encoder, sample: TestSample, limit: int) -> str:
    """One question through the PEFT model's own `generate`."""
    backbone, batch = module.backbone, on_device(encoder.answer_batch([sample]), module)
    images = (
        {"pixel_values": torch.cat([each["pixel_values"] for each in batch["pixels"]])} if "pixels" in batch else {}
    )
    with precision(module):
        output = module.peft.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            **images,
            max_new_tokens=limit,
            do_sample=False,
            num_beams=1,
            eos_token_id=backbone.end_id,
            pad_token_id=backbone.end_id,
        )
    return backbone.decode(output[0, batch["input_ids"].shape[1] :])


def one_by_one(module: ContinualMLLM, task: InstructionTask, encoder: Encoder) -> dict[str, str]:
    """id -> answer of all test samples."""
    limit = task.answers.max_new_tokens
    return {sample.id: from_pixels(module, encoder, sample, limit) for sample in task.test_samples}


def measure(
    module: ContinualMLLM, stock: ContinualMLLM, tasks: list[InstructionTask], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Seconds and answers of every side on every task; `stock` with `backbone.fast=off`."""
    module.eval()
    stock.eval()
    results = []
    for task in tasks:
        answers: dict[str, dict[str, str]] = {}

        def keep(side: str, run: Callable[[], dict[str, str]], into: dict[str, dict[str, str]] = answers) -> None:
            into[side] = run()

        runs = {
            OURS: partial(batched, module, task),
            LIBRARY: partial(batched, stock, task),
            PIXELS: partial(one_by_one, stock, task, with_pixels(task)),
        }
        with torch.inference_mode():
            from_pixels(stock, with_pixels(task), task.test_samples[0], 2)  # warm
            sides = {name: partial(keep, name, run) for name, run in runs.items()}
            times = interleaved(sides, repeats=args.rounds, warmup=0, limit_s=args.limit_s)
        differing = {name: sum(found[id_] != answers[PIXELS][id_] for id_ in found) for name, found in answers.items()}
        words = [len(module.backbone.tokenizer(text)["input_ids"]) for text in answers[OURS].values()]
        results.append(
            {
                "task": task.name,
                "answers": len(task.test_samples),
                "mean_answer_tokens": sum(words) / len(words),
                "seconds": times,
                "answers_that_differ_from_one_by_one_with_pixels": differing,
            }
        )
    return results


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Answers per second, factors over one by one, and differing answers over all tasks."""
    count = sum(result["answers"] for result in results)
    key = "answers_that_differ_from_one_by_one_with_pixels"
    rates = {name: count / sum(median(r["seconds"][name]) for r in results) for name in (OURS, LIBRARY, PIXELS)}
    return {
        "answers_per_second": rates,
        "ours_over_pixels": rates[OURS] / rates[PIXELS],
        "answers": count,
        "differing": {name: sum(result[key][name] for result in results) for name in (OURS, LIBRARY)},
        "tasks": results,
    }


def trained(args: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Trainable weights after a few steps on samples of all the tasks, in the run's own dtype."""
    config = config_for(args, "moelora", "data.limit_test=1", f"data.limit_train={args.train_samples}")
    module = continual(config)
    tasks = prepared(config, module.backbone, args.tasks)
    tasks[0].train_samples = [sample for task in tasks for sample in task.train_samples]
    fit(config, module, tasks[0])
    return {name: parameter.detach().clone() for name, parameter in module.trainable().items()}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, ["scienceqa", "gqa", "grounding", "ocrvqa"], rounds=1)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "auto"])
    parser.add_argument("--samples", type=int, default=32, help="questions per task")
    parser.add_argument(
        "--float32-samples", type=int, default=8, help="the same in float32, where it is about identity"
    )
    parser.add_argument("--train-samples", type=int, default=24, help="per task, to learn how answers end")
    parser.add_argument("--out", default=str(RESULTS / "evaluation.json"))
    return parser.parse_args(argv)


def measured(
    args: argparse.Namespace, dtype: str, samples: int, weights: dict[str, torch.Tensor]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Result and settings with a model of one dtype and `samples` questions per task."""
    own = (f"++backbone.dtype={dtype}", f"data.limit_test={samples}", "data.limit_train=1")
    config = config_for(args, "moelora", *own)
    module, stock = continual(config), continual(config_for(args, "moelora", *own, "backbone.fast=off"))
    for each in (module, stock):
        each.load_state_dict(weights, strict=False)
        each.to(device())
    tasks = prepared(config, module.backbone, args.tasks)
    result = summary(measure(module, stock, tasks, args))
    lines = [
        [name, rate, rate / result["answers_per_second"][PIXELS], result["differing"].get(name, "")]
        for name, rate in result["answers_per_second"].items()
    ]
    show(
        f"answers, {module.backbone.name}, {native_dtype(dtype)}",
        ["side", "answers/s", "x one by one", "differing"],
        lines,
    )
    result["dtype"], result["autocast"] = (
        str(module.backbone.model.dtype).removeprefix("torch."),
        mixed_dtype(module) is not None,
    )
    return result, {**common_facts(args, config, module), "answer_batch_size": config.answers.batch_size}


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    args = parse(argv)
    CLOCK["cpu"] = args.cpu_time
    found = machine(device())
    weights = trained(args)
    dtypes = list(dict.fromkeys(str(native_dtype(name)).removeprefix("torch.") for name in args.dtypes))
    # the last type is the one that runs use, whose speed counts; float32 before it is about identity
    samples = [args.float32_samples] * (len(dtypes) - 1) + [args.samples]
    pairs = [measured(args, dtype, count, weights) for dtype, count in zip(dtypes, samples, strict=True)]
    facts = {**pairs[-1][1], "dtype": dtypes}
    content = {
        "benchmark": "evaluation",
        "aim": {"ours_over_one_by_one_at_least": AIM, "differing_answers_in_float32": 0},
        "machine": found,
        **facts,
        "train_samples_per_task": args.train_samples,
        "compares": "answers/s over the test samples, tokenising and images included; ours with router statistics, "
        "from cached features; one by one with pixels through the tower",
        "results": [result for result, _ in pairs],
    }
    print(f"written: {write_json(args.out, content)}")


if __name__ == "__main__":
    main()

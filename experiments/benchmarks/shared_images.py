"""Answers where several questions ask about one image: one pass over the image for all of them, or one for each.

    python experiments/benchmarks/shared_images.py

`llava_smol`'s language model with MoELoRA, and images of LLaVA-1.5's 576 tokens (random features: what is in them does
not matter for the time). Both sides run `Backbone.answer`, interleaved; with one question per image the second way must
cost nothing. In float32 the answers must be the same.
"""

import argparse
from functools import partial
from statistics import median
from typing import Any

import torch
from harness import CLOCK, RESULTS, interleaved, machine, show, write_json
from ours import common_facts, config_for, continual, device, options, precision

from coin_lightning.backbones.prompts import Turn
from coin_lightning.module import ContinualMLLM

AIM = 4.0
APART, TOGETHER = "a pass per question", "a pass per image"
TOKENS, LIMIT = 576, 8
ASKED = (
    "Is the {thing} in the picture to the {side} of what stands at the {place}?\nAnswer with a single word or phrase."
)


def batch_of(module: ContinualMLLM, images: int, questions: int) -> dict[str, Any]:
    """Questions of similar length on images with random features, padded on the left."""
    backbone = module.backbone
    backbone.family.config.image_seq_length = TOKENS
    backbone.family._expansion.cache_clear()
    things = ("dog", "apple", "red heart", "sunflower", "old castle", "bus", "guitar", "zebra")
    pages = []
    for image in range(images):
        for at in range(questions):
            question = ASKED.format(
                thing=things[(image + at) % 8], side=("left", "right")[at % 2], place=things[at % 5]
            )
            pages.append(backbone.tokens(backbone.prompt.render([Turn(question, images=1)]), [()])[0])
    width = max(map(len, pages))
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(images, TOKENS, backbone.family.width, generator=generator)
    owners = [image for image in range(images) for _ in range(questions)]
    return {
        "input_ids": torch.tensor([[backbone.end_id] * (width - len(page)) + page for page in pages]),
        "attention_mask": torch.tensor([[0] * (width - len(page)) + [1] * len(page) for page in pages]),
        "features": features[owners].flatten(0, 1).to(torch.bfloat16),
        "grids": [[()]] * len(pages),
        "layout": {},
        "ids": [str(at) for at in range(len(pages))],
        "max_new_tokens": LIMIT,
        "same_images": owners,
    }


def answers(module: ContinualMLLM, batch: dict[str, Any], together: bool, into: dict[str, list[str]]) -> None:
    """By `predict_step`, as a run asks."""
    own = batch if together else {key: value for key, value in batch.items() if key != "same_images"}
    with precision(module):
        into[TOGETHER if together else APART] = module.predict_step(own, 0)["answers"]


def measure(module: ContinualMLLM, images: int, questions: int, rounds: int, limit_s: float) -> dict[str, Any]:
    """Answers per second of both sides."""
    batch = batch_of(module, images, questions)
    found: dict[str, list[str]] = {}
    sides = {
        APART: partial(answers, module, batch, False, found),
        TOGETHER: partial(answers, module, batch, True, found),
    }
    with torch.inference_mode():
        answers(module, batch_of(module, 1, 2), True, {})  # warm
        times = interleaved(sides, repeats=rounds, warmup=0, device=device(), limit_s=limit_s)
    count = images * questions
    rates = {side: count / median(seconds) for side, seconds in times.items()}
    return {
        "images": images,
        "questions_per_image": questions,
        "tokens": int(batch["attention_mask"].sum()) // count,
        "answers_per_second": rates,
        "together_over_apart": rates[TOGETHER] / rates[APART],
        "differing": sum(one != other for one, other in zip(found[APART], found[TOGETHER], strict=True)),
        "seconds": times,
    }


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, [], rounds=2)
    parser.add_argument("--questions", nargs="+", type=int, default=[16, 5, 1], help="on each image")
    parser.add_argument("--batch", type=int, default=16, help="questions of a batch")
    parser.add_argument("--out", default=str(RESULTS / "shared_images.json"))
    args = parser.parse_args(argv)
    results = []
    for dtype in ("float32", "auto"):
        config = config_for(args, "moelora", f"++backbone.dtype={dtype}", "++backbone.max_length=2048")
        CLOCK["cpu"] = args.cpu_time
        module = continual(config).to(device()).eval()
        counts = args.questions if dtype == "auto" else [max(args.questions[0] // 2, 1)]  # two images, not one
        rounds = args.rounds if dtype == "auto" else 1
        for questions in counts:
            found = measure(module, max(args.batch // questions, 1), questions, rounds, args.limit_s)
            results.append({"dtype": str(module.backbone.model.dtype).removeprefix("torch."), **found})
    lines = [
        [
            *(each["dtype"], each["questions_per_image"], *each["answers_per_second"].values()),
            *(each["together_over_apart"], each["differing"]),
        ]
        for each in results
    ]
    show("answers/s", ["dtype", "questions per image", APART, TOGETHER, "x", "differing"], lines)
    content = {
        "benchmark": "shared_images",
        "aim": {"together_over_apart_at_16_questions_at_least": AIM, "differing_answers_in_float32": 0},
        "machine": machine(device()),
        **common_facts(args, config, module),
        "image_tokens": TOKENS,
        "results": results,
    }
    print(f"written: {write_json(args.out, content)}")


if __name__ == "__main__":
    main()

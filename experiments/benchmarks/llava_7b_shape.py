"""MoELoRA training on the shape of LLaVA-1.5-7B with random weights: tokens/s, share of peak FLOP/s, peak memory.

    python experiments/benchmarks/llava_7b_shape.py            # needs a CUDA device with 40 GB or more
    python experiments/benchmarks/llava_7b_shape.py --tiny     # the same code on a CPU, sizes of a toy

Random weights cost what trained ones do. Vision features are taken as cached, as in a run.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from bare_loop import Recipe, loss_of
from flops import Step, peak_flops, step_flops
from harness import RESULTS, interleaved, machine, show, write_json
from ours import precision
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from coin_lightning.adapters.build import moelora
from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.prompts import IMAGE, prompt_format
from coin_lightning.methods.base import Method
from coin_lightning.module import ContinualMLLM
from coin_lightning.schedules import constant


class NoPictures:
    """Stands for the image processor: features are given."""

    image_mean = (0.5, 0.5, 0.5)


def shape_7b(image_id: int) -> LlavaConfig:
    """LLaVA-1.5-7B: Vicuna-7B (Llama 2) behind CLIP ViT-L/14 at 336 pixels (arXiv 2310.03744)."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=32064,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
    )
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_id, image_seq_length=576)


@contextmanager
def _made(device: str, dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def build(args: argparse.Namespace) -> ContinualMLLM:
    """Random weights, drawn on the device itself."""
    torch.manual_seed(args.seed)
    tokenizer = tiny.byte_tokenizer()
    config = tiny.config(len(tokenizer)) if args.tiny else shape_7b(tokenizer.convert_tokens_to_ids(IMAGE))
    with _made(args.device, torch.float32 if args.tiny else torch.bfloat16):
        model = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    if args.checkpointing:
        model.model.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    backbone = Backbone(
        model, tokenizer, NoPictures(), prompt_format("chatml"), "tiny shape" if args.tiny else "llava-1.5-7b shape"
    )
    adapter = moelora(rank=args.rank, alpha=2 * args.rank, num_experts=args.experts)
    return ContinualMLLM(backbone, adapter, Method(), torch.optim.AdamW, constant).to(args.device).train()


def batch_of(module: ContinualMLLM, step: Step) -> dict[str, torch.Tensor]:
    """Random rows: the picture first, then text, the learned tokens last."""
    backbone, device = module.backbone, module.device
    ids = torch.randint(5, 200, (step.rows, step.length), device=device)
    ids[:, : step.picture_tokens] = backbone.image_token_id
    labels = torch.full_like(ids, IGNORE)
    labels[:, -step.learned :] = ids[:, -step.learned :]
    features = torch.randn(step.rows, *backbone.feature_shape, device=device).half()
    return {"input_ids": ids, "labels": labels, "features": features}


def train_step(module: ContinualMLLM, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> float:
    """Forward, backward, clipping, AdamW."""
    optimizer.zero_grad()
    with precision(module):
        loss = loss_of(module, batch, Recipe())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(module.trainable().values()), 1.0)
    optimizer.step()
    return loss.item()


def measure(module: ContinualMLLM, rows: int, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of one batch size."""
    config = module.backbone.model.config
    pictures = config.image_seq_length
    step = Step(rows, pictures + args.text_tokens, pictures, args.learned_tokens)
    optimizer = torch.optim.AdamW(module.optimizer_groups(), fused=not args.tiny)
    batch, losses = batch_of(module, step), []
    cuda = args.device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    run = partial(train_step, module, optimizer, batch)
    times = interleaved(
        {"step": lambda: losses.append(run())}, repeats=args.steps, warmup=args.warmup, device=args.device
    )["step"]
    seconds = sorted(times)[len(times) // 2]
    work = step_flops(config, step, args.rank, args.experts)
    per_second, peak = sum(work.values()) / seconds, peak_flops(machine(args.device).get("gpu", ""), args.peak_tflops)
    return {
        "rows": rows,
        "length": step.length,
        "seconds_per_step": seconds,
        "tokens_per_second": rows * step.length / seconds,
        "flops_per_step": work,
        "flops_per_second": per_second,
        "peak_flops_per_second": peak,
        "share_of_peak": None if peak is None else per_second / peak,
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        "losses": losses,
    }


def largest_that_fits(module: ContinualMLLM, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Results from the smallest batch up to the last that fits."""
    results: list[dict[str, Any]] = []
    for rows in sorted(args.batch):
        try:
            results.append(measure(module, rows, args))
        except torch.cuda.OutOfMemoryError:
            print(f"{rows} rows do not fit", file=sys.stderr)
            break
    return results


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="toy sizes on the CPU")
    parser.add_argument(
        "--batch", nargs="+", type=int, default=[4, 8, 16, 32], help="rows; from the smallest up until memory is full"
    )
    parser.add_argument("--text-tokens", type=int, default=96)
    parser.add_argument("--learned-tokens", type=int, default=8)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations in the backward pass")
    parser.add_argument("--peak-tflops", type=float, help="of a device that is not in the list")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=str(RESULTS / "llava_7b_shape.json"))
    args = parser.parse_args(argv)
    args.device = "cpu" if args.tiny else "cuda"
    return args


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write; exit status 2 without a GPU."""
    args = parse(argv)
    if not args.tiny and not torch.cuda.is_available():
        print(
            "llava_7b_shape needs a CUDA device and this machine has none; --tiny runs the same code on a CPU",
            file=sys.stderr,
        )
        sys.exit(2)
    found = machine(args.device)
    module = build(args)
    results = largest_that_fits(module, args)
    rows = [
        [r["rows"], r["tokens_per_second"], r["share_of_peak"] or "", (r["peak_memory_bytes"] or 0) / 2**30]
        for r in results
    ]
    show(
        f"{module.backbone.name}, rank {args.rank}, {args.experts} experts",
        ["rows", "tokens/s", "share of peak", "GiB"],
        rows,
    )
    content = {
        "benchmark": "llava_7b_shape",
        "machine": found,
        "backbone": module.backbone.name,
        "rank": args.rank,
        "experts": args.experts,
        "dtype": str(module.backbone.model.dtype).removeprefix("torch."),
        "checkpointing": args.checkpointing,
        "seed": args.seed,
        "compares": "forward, backward, clipping and AdamW on random rows with cached features; "
        "all tokens of a row count, learned or not",
        "trainable_parameters": sum(parameter.numel() for parameter in module.trainable().values()),
        "results": results,
    }
    print(f"written: {write_json(args.out, content)}")


if __name__ == "__main__":
    main()

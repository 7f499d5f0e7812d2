"""Forward + backward of one adapted Linear: MoELoRA at several expert counts against PEFT LoRA of the same rank, and
against MoELoRA computed by a loop over experts (the formulation of the paper's code).

    python experiments/benchmarks/layer.py                                   # CPU, both shapes
    python experiments/benchmarks/layer.py --device cuda --dtype bfloat16    # GPU, autocast
"""

import argparse
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from harness import RESULTS, interleaved, machine, milliseconds, ratio, saved_bytes, show, write_json
from peft import LoraConfig, PeftConfig, get_peft_model
from torch import Tensor, nn

from coin_lightning.adapters.moelora import MoELoraConfig

AIMS = {"over_lora_at_most": 1.08, "loop_over_ours_at_least_at_8_experts": 2.0}


class Shape(NamedTuple):
    """Sizes of one case: d_in x d_out, tokens per step, repetitions."""

    d_in: int
    d_out: int
    tokens: int
    repeats: int


class ExpertLoop(nn.Module):
    """The comparison: one pair of small Linears per expert, a Python loop, a dropout mask for each expert."""

    def __init__(self, base: nn.Linear, rank: int, experts: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.base, self.scaling, self.dropout = base, alpha / rank, nn.Dropout(dropout)
        self.downs = nn.ModuleList(nn.Linear(base.in_features, rank // experts, bias=False) for _ in range(experts))
        self.ups = nn.ModuleList(nn.Linear(rank // experts, base.out_features, bias=False) for _ in range(experts))
        self.router = nn.Linear(base.in_features, experts, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result = self.base(x)
        gates = self.router(x).softmax(-1)
        for expert, (down, up) in enumerate(zip(self.downs, self.ups, strict=True)):
            result = result + up(down(self.dropout(x))) * self.scaling * gates[..., expert : expert + 1]
        return result


def _adapted(config: PeftConfig, base: nn.Linear) -> nn.Module:
    return get_peft_model(nn.ModuleDict({"target": base}), config).base_model.model["target"]


def _frozen(shape: Shape, dtype: torch.dtype) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(shape.d_in, shape.d_out, bias=False, dtype=dtype).requires_grad_(False)


def build(shape: Shape, args: argparse.Namespace, dropout: float) -> dict[str, nn.Module]:
    """All sides of one shape, on the device, in training mode."""
    dtype, alpha = getattr(torch, args.dtype), 2.0 * args.rank
    common: dict[str, Any] = {"target_modules": ["target"], "r": args.rank}
    lora = LoraConfig(lora_alpha=alpha, lora_dropout=dropout, **common)
    sides = {"lora": _adapted(lora, _frozen(shape, dtype))}
    for experts in args.experts:
        ours = MoELoraConfig(num_experts=experts, alpha=alpha, dropout=dropout, init_weights=False, **common)
        sides[f"ours_{experts}"] = _adapted(ours, _frozen(shape, dtype))
    for experts in args.loop_experts:
        sides[f"loop_{experts}"] = ExpertLoop(_frozen(shape, dtype), args.rank, experts, alpha, dropout)
    return {name: side.to(args.device).train() for name, side in sides.items()}


def _forward(layer: nn.Module, x: Tensor, autocast: Callable[[], AbstractContextManager[Any]]) -> Callable[[], Tensor]:
    def forward() -> Tensor:
        with autocast():
            return layer(x)

    return forward


def _step(layer: nn.Module, x: Tensor, forward: Callable[[], Tensor], grad: Tensor) -> Callable[[], None]:
    leaves = [x, *layer.parameters()]

    def step() -> None:
        forward().backward(grad)
        for leaf in leaves:
            leaf.grad = None

    return step


def measure(shape: Shape, args: argparse.Namespace, dropout: float) -> dict[str, Any]:
    """Times, ratios and saved bytes of one shape at one dropout."""
    dtype = getattr(torch, args.dtype)
    mixed = dtype != torch.float32
    x = torch.randn(1, shape.tokens, shape.d_in, device=args.device, dtype=dtype, requires_grad=True)
    grad = torch.randn(1, shape.tokens, shape.d_out, device=args.device, dtype=dtype)
    layers = build(shape, args, dropout)
    context = (lambda: torch.autocast(args.device.split(":")[0], dtype)) if mixed else nullcontext
    forwards = {name: _forward(layer, x, context) for name, layer in layers.items()}
    steps = {name: _step(layer, x, forwards[name], grad) for name, layer in layers.items()}
    times = interleaved(steps, repeats=args.repeats or shape.repeats, device=args.device, limit_s=args.limit_s)
    kept = {name: saved_bytes(forwards[name], [x, *layers[name].parameters()]) for name in layers}
    return {
        "shape": shape._asdict(),
        "dropout": dropout,
        "repeats": len(times["lora"]),
        "milliseconds": {name: milliseconds(seconds) for name, seconds in times.items()},
        "saved_bytes_beside_input": kept,
        "over_lora": {str(e): ratio(times, f"ours_{e}", "lora") for e in args.experts},
        "loop_over_ours": {str(e): ratio(times, f"loop_{e}", f"ours_{e}") for e in args.loop_experts},
    }


def report(result: dict[str, Any], args: argparse.Namespace) -> None:
    """Print the table of one shape."""
    shape, kept = result["shape"], result["saved_bytes_beside_input"]
    rows: list[list[Any]] = [["PEFT LoRA", result["milliseconds"]["lora"], "", "", kept["lora"] / 2**20]]
    for experts in args.experts:
        loop = result["loop_over_ours"].get(str(experts), "")
        over, name = result["over_lora"][str(experts)], f"ours_{experts}"
        rows.append([f"MoELoRA E={experts}", result["milliseconds"][name], over, loop, kept[name] / 2**20])
    title = f"{shape['d_in']} -> {shape['d_out']}, {shape['tokens']} tokens, r={args.rank}, dropout {result['dropout']}"
    show(title, ["side", "ms", "/ LoRA", "loop / ours", "kept MiB"], rows)


def _shape(text: str) -> Shape:
    return Shape(*(int(part) for part in text.split("x")))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [Shape(576, 1536, 640, 40), Shape(576, 1536, 2048, 20), Shape(2048, 4096, 640, 10)]
    parser.add_argument("--shapes", nargs="+", type=_shape, default=default, help="d_in x d_out x tokens x repeats")
    parser.add_argument("--experts", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--loop-experts", nargs="*", type=int, default=[8])
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0, 0.05])
    parser.add_argument("--repeats", type=int, default=0, help="overrides the repeats of the shapes")
    parser.add_argument("--limit-s", type=float, default=20.0, help="fewer repeats of a shape where they take longer")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--out", default=str(RESULTS / "layer.json"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure every shape, print, write."""
    args = parse(argv)
    found, results = machine(args.device), []
    for shape, dropout in itertools.product(args.shapes, args.dropout):
        results.append(measure(shape, args, dropout))
        report(results[-1], args)
    settings = {"rank": args.rank, "dtype": args.dtype}
    path = write_json(args.out, {"benchmark": "layer", "aims": AIMS, "machine": found, **settings, "results": results})
    print(f"written: {path}")


if __name__ == "__main__":
    main()

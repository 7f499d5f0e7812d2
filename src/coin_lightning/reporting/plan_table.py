"""`plan.json` on the terminal: what is trained, at which rates, in how many steps, before the first of them."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from coin_lightning.reporting.names import count

POINTS = ("first", "warm", "middle", "last")
"""Sampled steps: the first, the first at full rate, the middle one, the last one."""


def run_plan(plan: Mapping[str, Any]) -> RenderableType:
    """The content of `plan.json`, at most 80 columns wide."""
    if not plan["tasks"]:
        return Padding(Text("Nothing is trained: the zero-shot row only."), (0, 0, 1, 0))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("trains", Text(_trained(plan)))
    for group in plan["groups"]:
        facts.add_row(f"rate of {group['name']}", Text(f"{group['lr']:g} ({group['tensors']} tensors)"))
    facts.add_row("schedule", Text(_schedule(plan)))
    for name in plan.get("mixed_in_by", []):
        facts.add_row(name, Text("mixes samples into later tasks; their steps are counted when they begin"))
    return Padding(Group(facts, _steps(plan)), (0, 0, 1, 0))


def _trained(plan: Mapping[str, Any]) -> str:
    parts = ", ".join(f"{name} {count(number)}" for name, number in plan["trainable"].items())
    total = sum(plan["trainable"].values())
    share = f"{100 * total / plan['parameters']:.2g} % of {count(plan['parameters'])}"
    return f"{parts}; together {count(total)}, {share}; {plan['adapted_layers']} adapted layers"


def _schedule(plan: Mapping[str, Any]) -> str:
    ratio = plan["warmup_ratio"]
    return f"{plan['schedule']}, " + ("no warm-up" if ratio is None else f"warm-up {100 * ratio:g} % of the steps")


def _steps(plan: Mapping[str, Any]) -> Table:
    """A line per task: samples, samples per step (batch x accumulation x devices), steps, and sampled rates."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("learns", no_wrap=True)
    for name in ("samples", "per step", "steps", "warm-up"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in POINTS:
        table.add_column(name, justify="right", no_wrap=True, style="dim")
    for task in plan["tasks"]:
        sizes = f"{task['batch_size']}x{task['accumulation']}x{task['devices']}={task['global_batch']}"
        epochs = f"x{task['epochs']}" if task["epochs"] > 1 else ""
        warmup = "-" if task["warmup_steps"] is None else str(task["warmup_steps"])
        numbers = (f"{task['samples']}{epochs}", sizes, str(task["steps"]), warmup)
        table.add_row(task["short"], *numbers, *(_rates(task["rates"], point) for point in POINTS))
    return table


def _rates(rates: Mapping[str, Mapping[str, float]], point: str) -> str:
    """The adapter's rate as `2.9e-4`; all groups follow the same curve from their own base rates."""
    mantissa, exponent = f"{next(iter(rates.values()))[point]:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}" if float(mantissa) else "0"

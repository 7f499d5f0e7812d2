"""An estimate on the terminal: parameters, memory per device, features on disk, batches by task."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coin_lightning.reporting.names import count

GIB, MIB, KIB = 2**30, 2**20, 2**10
LEFT_OUT = (
    "An estimate. Left out: fragmentation, the device's own context (0.3 to 1 GiB on CUDA), buffers that kernels free "
    "within an operation, the tower where features are not cached, what plugins keep (EWC: importances and old "
    "weights), what a layer holds for a moment while it answers, and the CPU's memory. Gradients come while "
    "activations go, so that without accumulation a step stays below the sum. Every sample is counted at full length, "
    "with an image and the longest answer of the tasks."
)
SHARDED = " trainer.strategy={strategy} may divide weights among devices; here each has all of them."


def size(number: float) -> str:
    """Bytes for readers, `1.50 GiB`, `102.0 MiB`, `0.4 KiB`."""
    if number >= GIB:
        return f"{number / GIB:.2f} GiB"
    return f"{number / MIB:.1f} MiB" if number >= MIB else f"{number / KIB:.1f} KiB"


def estimate_table(found: Mapping[str, Any]) -> RenderableType:
    """The content of `estimate --json`, about 80 columns wide."""
    target, strategy = found["target"], str(found["target"]["strategy"] or "auto")
    name = "a CPU" if target["device"] == "cpu" else "a GPU"
    bits = f", {target['quantization']}" if target["quantization"] else ""
    head = f"{target['backbone']} on {name}, {target['precision']}{bits}, {target['devices']} device(s)"
    notes = LEFT_OUT + ("" if strategy == "auto" or strategy.startswith("ddp") else SHARDED.format(strategy=strategy))
    parts: list[RenderableType] = [Text(head, style="bold"), _table("parameters", _parameters(found["parameters"]))]
    parts.append(_table("memory per device, training" if found["tasks"] else "memory per device", _memory(found)))
    parts += [_table("memory per device, answering", _answering(found)), _table("on disk", _disk(found["features"]))]
    return Group(*parts, *([_tasks(found["tasks"])] if found["tasks"] else []), Text(notes, style="dim"))


def _table(title: str, rows: Iterator[tuple[str, str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(title, overflow="fold", min_width=52)
    table.add_column("", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _parameters(parameters: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    yield "frozen", count(parameters["frozen"])
    yield "trained", count(parameters["trained"])
    names = {"adapter": "experts", "router": "router", "projector": "projector", "method": "of methods and plugins"}
    yield from ((f"  of which {text}", count(parameters[key])) for key, text in names.items() if key in parameters)


def _memory(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    memory, target, activations = found["memory"], found["target"], found["activations"]
    yield from ((f"weights, {dtype}", size(number)) for dtype, number in memory["weights"].items())
    if not activations:
        return
    yield "gradients", size(memory["gradients"])
    if memory["ddp_buckets"]:
        yield "buckets in which DDP sums them up", size(memory["ddp_buckets"])
    yield "optimizer", size(memory["optimizer"])
    yield "trained weights as the task began, to prove they moved", size(memory["weights_before"])
    chosen = target["recomputed"]
    shape = f"{activations['rows']} x {activations['length']} tokens of {activations['task']}"
    yield f"activations, {shape}, gradient_checkpointing={chosen}", size(memory["activations"])
    yield "  of which logits and losses, where answers are", size(activations["head"])
    yield "together", size(together(memory))
    for other in ("none", "all"):
        if other != chosen:
            yield (
                f"  with gradient_checkpointing={other}",
                size(together({**memory, "activations": activations[other]})),
            )


def together(memory: Mapping[str, Any]) -> int:
    """Bytes of all parts of a training step."""
    parts = (number for name, number in memory.items() if name != "weights")
    return int(sum(memory["weights"].values()) + sum(parts))


def _answering(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    answers = found["answers"]
    yield f"keys and values, {answers['rows']} x {answers['length']} tokens", size(answers["kv_cache"])
    yield "with the weights", size(answers["kv_cache"] + sum(found["memory"]["weights"].values()))


def _disk(features: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not features["bytes_per_image"]:
        yield "features are not cached", ""
        return
    of = f" of {features['image_size'][0]} x {features['image_size'][1]} pixels" if features["image_size"] else ""
    yield f"features of an image{of}", size(features["bytes_per_image"])
    if features["images"] is None:
        yield "of all images: the data set is not there, or not sound", "not known"
    else:
        yield f"of {features['images']} images at most", size(features["bytes"])


def _tasks(tasks: list[dict[str, Any]]) -> Table:
    """A line per task: what an optimizer step learns from."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("samples per optimizer step", min_width=28)
    for name in ("batch", "accumulation", "devices", "together"):
        table.add_column(name, justify="right")
    for task in tasks:
        numbers = (task[key] for key in ("batch_size", "accumulation", "devices", "global_batch"))
        table.add_row(task["title"], *map(str, numbers))
    return table

"""`python -m coin_lightning estimate OVERRIDES...`: parameters and memory of a run, without its weights and its data.

The model is built on torch's `meta` device from config.json; tokenizer and image preprocessing are read, weights are
not. `tiny`, which has no files, is made and then emptied.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from coin_lightning import processes
from coin_lightning.backbones.base import Backbone, native_dtype
from coin_lightning.backbones.recomputation import ALL, NONE
from coin_lightning.cli.assembly import make_module
from coin_lightning.cli.build import build, check_config
from coin_lightning.cli.data_verify import composed, text_backbone
from coin_lightning.cli.ending import ended
from coin_lightning.cli.parsers import estimate_parser
from coin_lightning.cli.trainers import precision_of, protocol_of
from coin_lightning.continual.dry_pass import FUSED, ON_CPU, DryPass
from coin_lightning.continual.footprint import gradient_bytes, optimizer_bytes, quantised, weight_bytes
from coin_lightning.continual.plan import trainable_parts
from coin_lightning.continual.scenario import Scenario
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.module import ContinualMLLM
from coin_lightning.quiet import quiet_libraries
from coin_lightning.reporting.estimate_table import estimate_table
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.collate import LONGEST
from coin_lightning.tasks.features import BYTES

PHOTO = (640, 480)
"""Width and height for which features are counted where images differ: the usual one of COCO, of which most are."""
AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Target:
    """What the run is going to compute on and with.

    Attributes:
        device: `gpu`, or `cpu` where `trainer.accelerator` says so.
        devices: processes that train, one per device.
        precision: Lightning's name.
        quantization: of the base, None for none.
        recomputed: `backbone.gradient_checkpointing`.
        length: tokens of every sample.
    """

    device: str
    devices: int
    precision: str
    quantization: str | None
    recomputed: str
    length: int


def estimate(config: DictConfig, length: int | None = None) -> dict[str, Any]:
    """Parameters, memory per device in bytes, features on disk, and batches by task.

    Args:
        config: composed and checked.
        length: tokens of every sample; default: `backbone.max_length`.

    Raises:
        CoinLightningError: config, tokenizer or preprocessing cannot be read, or do not fit each other.
    """
    scenario: Scenario = build(config.scenario)
    protocol = protocol_of(config)
    protocol.check_names(scenario.names)
    protocol.check_learned([task.name for task in scenario.train_tasks.values()])
    devices = _devices(config)
    tasks = [_task(config, task, devices) for task in scenario.train_tasks.values()]
    device = "cpu" if config.trainer.accelerator == "cpu" else "gpu"
    module = empty_module(config, scenario, device)
    target = Target(
        device,
        devices,
        _precision(config, module),
        config.backbone.get("quantization"),
        config.backbone.get("gradient_checkpointing", NONE),
        _length(length, module.backbone.max_length),
    )
    found: dict[str, Any] = {
        "target": {**vars(target), "backbone": module.backbone.name, "strategy": config.trainer.get("strategy")},
        "parameters": _parameters(module),
        "memory": _static(module, target),
        "features": _features(module.backbone, scenario.tasks),
        "tasks": tasks,
    }
    attention = config.backbone.get("attention", "auto")
    passes = DryPass(
        module, AUTOCAST[target.precision], attention if attention == "eager" else ON_CPU if device == "cpu" else FUSED
    )
    found["activations"] = _activations(passes, scenario, target)
    found["answers"] = _answers(passes, scenario.tasks, target)
    found["memory"]["activations"] = found["activations"][target.recomputed] if tasks else 0
    return found


def empty_module(config: DictConfig, scenario: Scenario, device: str) -> ContinualMLLM:
    """What learns, on the `meta` device, in the structure that it has at the end of the sequence.

    Args:
        config: composed and checked.
        scenario: its tasks need not be read.
        device: `gpu`, or `cpu`, which decides what `backbone.dtype=auto` is.
    """
    backbone = text_backbone(_readable(config))
    backbone.model.to("meta")
    if (name := config.backbone.get("dtype")) is not None:
        dtype = torch.bfloat16 if name == "auto" and device == "gpu" else native_dtype(name)
        for tensor in backbone.model.state_dict(keep_vars=True).values():  # what is not in files keeps its own dtype
            tensor.data = tensor.data.to(dtype) if tensor.is_floating_point() else tensor.data
    with torch.device("meta"):
        module = make_module(config, backbone, [task.name for task in scenario.train_tasks.values()])
        module.restore(len(scenario.train_tasks))
    return module


def _readable(config: DictConfig) -> DictConfig:
    """Without the parts of `starting_weights=pretrained` where one is not named: shapes are those of the checkpoint."""
    parts = config.backbone.get("pretrained")
    if config.backbone.get("starting_weights") == "pretrained" and parts is not None and not all(parts.values()):
        config = config.copy()
        with open_dict(config):
            config.backbone.starting_weights = "backbone"
    return config


def _length(wanted: int | None, longest: int) -> int:
    if wanted is not None and not 1 <= wanted <= longest:
        raise ConfigError(f"--length {wanted}: must lie between 1 and backbone.max_length={longest}")
    return wanted or longest


def _devices(config: DictConfig) -> int:
    """As Lightning reads `trainer.devices`: a number, a list of them, or all that there are."""
    given: Any = config.trainer.devices
    nodes = int(config.trainer.get("num_nodes", 1))
    if OmegaConf.is_list(given):
        return len(given) * nodes
    if str(given) in ("auto", "-1"):
        each = 1 if config.trainer.get("accelerator") == "cpu" else max(torch.cuda.device_count(), 1)
        return max(processes.world_size(), each * nodes)
    return (len([each for each in given.split(",") if each.strip()]) if "," in str(given) else int(given)) * nodes


def _precision(config: DictConfig, module: ContinualMLLM) -> str:
    name = precision_of(config, module)
    if name not in AUTOCAST:
        raise ConfigError(
            f"trainer.precision={name}: memory of this one is not estimated; use auto or one of {', '.join(AUTOCAST)}"
        )
    return name


def _task(config: DictConfig, task: InstructionTask, devices: int) -> dict[str, Any]:
    own = config.trainer.accumulate_grad_batches
    steps = protocol_of(config).accumulation(task.name, task.batch_size, devices, own)
    sizes = {"batch_size": task.batch_size, "accumulation": steps, "devices": devices}
    return {"task": task.name, "title": task.title, **sizes, "global_batch": task.batch_size * steps * devices}


def _parameters(module: ContinualMLLM) -> dict[str, Any]:
    everything, parts = sum(weight.numel() for weight in module.parameters()), trainable_parts(module)
    trained = sum(parts.values())
    return {"all": everything, "trained": trained, "frozen": everything - trained, **parts}


def _static(module: ContinualMLLM, target: Target) -> dict[str, Any]:
    gradients = gradient_bytes(module)
    return {
        "weights": weight_bytes(module, quantised(module.backbone, target.quantization), target.quantization),
        "gradients": gradients,
        "ddp_buckets": gradients if target.devices > 1 else 0,
        "optimizer": optimizer_bytes(module) if gradients else 0,
        "weights_before": gradients,
    }


def _activations(passes: DryPass, scenario: Scenario, target: Target) -> dict[str, Any]:
    """Of the task whose batch is the largest, with an image and the longest answer in each sample; bytes by choice."""
    if not scenario.train_tasks:
        return {}
    task = max(scenario.train_tasks.values(), key=lambda each: each.batch_size)
    newest = min(max(each.answers.max_new_tokens for each in scenario.tasks), LONGEST)
    answers = task.batch_size * newest
    kept = passes.training_step(task.batch_size, target.length, answers, _grid(passes.backbone))
    choices = dict.fromkeys((NONE, ALL, target.recomputed))
    sizes = {"task": task.name, "rows": task.batch_size, "length": target.length, "answer_tokens": answers}
    return {**sizes, "head": kept.head, **{choice: kept.peak(choice) for choice in choices}}


def _answers(passes: DryPass, tasks: Sequence[InstructionTask], target: Target) -> dict[str, Any]:
    rows = max(task.answers.batch_size for task in tasks)
    return {"rows": rows, "length": target.length, "kv_cache": passes.answering(rows, target.length)}


def _grid(backbone: Backbone) -> Any:
    return backbone.family.grid(PHOTO)


def _features(backbone: Backbone, tasks: Sequence[InstructionTask]) -> dict[str, Any]:
    """Of cached features: bytes of an image, and of all images where the data set is there."""
    each = backbone.family.feature_count(_grid(backbone)) * backbone.family.width * BYTES
    size = None if backbone.family.alike else list(PHOTO)
    cached = [task for task in tasks if task.data.cache_features]
    count = _images(backbone, cached)
    total = None if count is None else count * each
    return {"bytes_per_image": each if cached else 0, "image_size": size, "images": count, "bytes": total}


def _images(backbone: Backbone, tasks: Sequence[InstructionTask]) -> int | None:
    """Images of which features are kept, once per frame; None when a task's files are not there or not sound."""
    found: set[tuple[Any, ...]] = set()
    for task in tasks:
        try:
            found |= task.images_to_cache(backbone)
        except (DataError, OSError):
            return None
    return len(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = estimate_parser().parse_args(arguments)
    folders = [f"hydra.searchpath=[{','.join(f'file://{folder.absolute()}' for folder in options.folders)}]"]

    def command(interruption: object) -> None:
        quiet_libraries()
        config = composed([*options.overrides, *(folders if options.folders else [])])
        check_config(config)
        found = estimate(config, options.length)
        if options.json:
            print(json.dumps(found, indent=2))
        else:
            Console().print(estimate_table(found))

    return ended(command)

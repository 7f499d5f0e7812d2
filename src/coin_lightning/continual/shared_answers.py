"""Zero-shot answers, which depend neither on what is learned nor on the adapter: given once, used by every run alike.

An entry is named after a hash of everything that decides the answers of a task: the tensors of the frozen model, the
batches as the model gets them (prompts, images, padding, options), tokenizer and model configuration, precision, device
and threads, versions of the libraries, and the source of this package. Where part of that cannot be told (an adapter
that adds something from the start, a method with a say in answering, quantised weights, several processes), nothing is
shared. A wrong answer here would be in every run of a sweep, so doubt means no.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from filelock import FileLock
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from coin_lightning import processes
from coin_lightning.adapters.moelora.layer import MoELoraLinear
from coin_lightning.adapters.shared_input import GroupedLora
from coin_lightning.continual.base_model import frozen_tensors
from coin_lightning.continual.environment import machine
from coin_lightning.evaluation.suite import AnswerWriter
from coin_lightning.methods.base import overriding
from coin_lightning.module import ContinualMLLM
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.whole_files import unwritable, write_json

LIBRARIES = ("torch", "transformers", "peft", "lightning", "tokenizers", "numpy", "pillow")
VARIABLES = ("MKL_", "ONEDNN_", "DNNL_", "CUBLAS_", "NVIDIA_TF32", "TORCH_", "PYTORCH_")
"""How variables of the environment begin that choose kernels."""
ANSWERING = ("inputs", "slot_weights")
"""Hooks with a say in how a sample is answered."""


class CannotTell(Exception):
    """Something that decides the answers is nothing that can be compared."""


class SharedAnswers:
    """A folder of zero-shot answers.

    Args:
        folder: made when missing; None: nothing is shared.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def keys(self, module: ContinualMLLM, trainer: L.Trainer, tasks: Sequence[InstructionTask]) -> dict[str, str]:
        """By task, the name of its entry; empty where nothing is to be shared."""
        if self.folder is None or unwritable(self.folder):
            return {}
        try:
            common = _common(module, trainer)
            return {task.name: _digest((common, [_digest(batch) for batch in task.answer_loader()])) for task in tasks}
        except CannotTell:
            return {}

    @contextmanager
    def using(self, keys: Mapping[str, str], writer: AnswerWriter) -> Iterator[list[str]]:
        """Within it nobody else gives these answers; gives the tasks whose answers are there already.

        Those are put where an interrupted evaluation keeps its own, so that they are not asked for again. At its end,
        unless it was stopped, the answers of the others are kept.

        Args:
            keys: of `keys`.
            writer: without answers of these tasks so far, or with those of an evaluation that was stopped.
        """
        with ExitStack() as locks:
            reused: list[str] = []
            missing: dict[str, str] = {}
            for task, key in sorted(keys.items(), key=lambda item: item[1]):  # in one order for all: no deadlock
                if writer.done(task):
                    continue
                if self._put(task, key, writer):
                    reused.append(task)
                    continue
                locks.enter_context(FileLock(self._file(key).with_suffix(".lock")))
                if self._put(task, key, writer):  # given while this one waited
                    reused.append(task)
                else:
                    missing[task] = key
            yield [task for task in keys if task in reused]
            for task, key in missing.items():
                (batches,) = writer.batches(task)
                write_json(self._file(key), {"task": task, "sha256": _of_text(batches), "batches": batches})

    def _put(self, task: str, key: str, writer: AnswerWriter) -> bool:
        batches = self._read(key)
        if batches is not None:
            writer.put(task, batches)
        return batches is not None

    def _read(self, key: str) -> list[dict[str, Any]] | None:
        """An entry; None where there is none, or a damaged one, which is then given anew."""
        try:
            kept = json.loads(self._file(key).read_text(encoding="utf-8"))
            return list(kept["batches"]) if kept["sha256"] == _of_text(kept["batches"]) else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{key}.json"


def _common(module: ContinualMLLM, trainer: L.Trainer) -> str:
    """Hash of everything beside the batches.

    Raises:
        CannotTell: something may have a say that is not in it.
    """
    methods = [*module.methods.values()]
    if processes.world_size() > 1 or any(overriding(methods, hook) for hook in ANSWERING):
        raise CannotTell
    backbone = module.backbone
    tokenizer = getattr(backbone.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise CannotTell
    config = backbone.model.config
    facts = {
        "source": _source(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "machine": {**machine(), "capability": torch.backends.cpu.get_cpu_capability()},
        "variables": {name: value for name, value in os.environ.items() if _chooses_kernels(name)},
        "matmul": [torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32,
                   torch.backends.cudnn.allow_tf32, torch.are_deterministic_algorithms_enabled()],
        "trainer": [str(trainer.precision), type(trainer.strategy).__qualname__, trainer.strategy.root_device.type],
        "backbone": [backbone.name, type(backbone).__qualname__, type(backbone.family).__qualname__, backbone.fast,
                     backbone.in_step, backbone.end_id, backbone.image_token_id, backbone.prompt.name,
                     str(backbone.model.dtype)],
        "config": config.to_json_string(use_diff=False),
        "attention": str(getattr(config, "_attn_implementation", None)),
        "generation": backbone.model.generation_config.to_json_string(use_diff=False),
        "tokenizer": tokenizer.to_str(),
        "layers": sorted({type(layer).__qualname__ for layer in module.modules()}),
        "adapted": _adapted(module),
    }  # fmt: skip
    return _digest((facts, list(_frozen(module))))


def _adapted(module: ContinualMLLM) -> list[str]:
    """Names of the layers that have an adapter, each of which adds exactly nothing.

    Raises:
        CannotTell: one adds something, or is of a kind that nobody knows.
    """
    found = []
    for name, layer in module.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        if isinstance(layer, MoELoraLinear):
            added = [*layer.moelora_B.values()]
        elif isinstance(layer, LoraLinear) and type(layer) in (LoraLinear, GroupedLora):
            added = [part.weight for part in layer.lora_B.values()]
            if layer.lora_variant or layer.merged or any(layer.lora_bias.values()):
                raise CannotTell
        else:
            raise CannotTell
        if any(weight.any() for weight in added):
            raise CannotTell
        found.append(name)
    return found


def _frozen(module: ContinualMLLM) -> Iterator[tuple[str, Tensor]]:
    """What the adapter, which adds nothing, is put on.

    Raises:
        CannotTell: it is quantised.
    """
    for name, tensor in frozen_tensors(module):
        if not tensor.is_floating_point() and tensor.dtype != torch.int64 and tensor.dtype != torch.bool:
            raise CannotTell
        yield name, tensor


def _chooses_kernels(name: str) -> bool:
    return name.startswith(VARIABLES) and not name.endswith("_NUM_THREADS")  # `machine` has the threads


@cache
def _source() -> str:
    """Of all modules of this package: whatever is changed in it, nothing that was kept before is used."""
    root = Path(__file__).parents[1]
    files = sorted(root.rglob("*.py"))
    return _digest([(file.relative_to(root).as_posix(), file.read_bytes()) for file in files])


def _of_text(batches: Any) -> str:
    return hashlib.sha256(json.dumps(batches, sort_keys=True).encode()).hexdigest()


def _digest(value: Any) -> str:
    """sha256 of nested plain values, tensors and dataclasses.

    Raises:
        CannotTell: there is something else among them.
    """
    hasher = hashlib.sha256()
    for part in _bytes_of(value):
        hasher.update(part)
    return hasher.hexdigest()


def _bytes_of(value: Any) -> Iterator[bytes | memoryview]:
    if value is None or isinstance(value, bool | int | float | str):
        yield f"{type(value).__name__}:{value!r};".encode()
    elif isinstance(value, bytes):
        yield f"bytes:{len(value)};".encode()
        yield value
    elif isinstance(value, Tensor):
        yield f"tensor:{value.dtype}{list(value.shape)};".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    elif isinstance(value, np.ndarray | np.generic):
        yield f"array:{value.dtype}{value.shape};".encode()
        yield value.tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping:{len(value)};".encode()
        for key, part in value.items():
            yield from _bytes_of(key)
            yield from _bytes_of(part)
    elif is_dataclass(value) and not isinstance(value, type):
        yield f"{type(value).__qualname__};".encode()
        for field in fields(value):
            yield from _bytes_of(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        yield f"list:{len(value)};".encode()
        yield from _each(value)
    else:
        raise CannotTell(type(value).__qualname__)


def _each(values: Iterable[Any]) -> Iterator[bytes | memoryview]:
    for value in values:
        yield from _bytes_of(value)

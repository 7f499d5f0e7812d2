"""HiDe-LLaVA: a low-rank pair for each task; fused below, mixed by similarity of the sample in the last layer.

Guo et al., "HiDe-LLaVA: Hierarchical Decoupling for Continual Instruction Tuning of Multimodal Large Language Model",
ACL 2025 (arXiv 2503.12941).
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftConfig
from pydantic import PositiveFloat
from torch import Tensor

from coin_lightning.adapters.moelora import moelora_layers
from coin_lightning.methods.base import Context, Method
from coin_lightning.methods.task_slots import bank_of_one, hold_slots

LAYER = re.compile(r"\.layers\.(\d+)\.")


class HiDeLLaVA(Method):
    """In training only the task's own slot takes part. In answering, all layers but the last add the slots of all tasks
    so far; the last one mixes them per sample, with weights softmax(s / temperature), s_i being the mean of the cosine
    similarities of the sample's image and text to the task's prototypes; a sample without an image goes by its text.

    Prototypes are means over the task's training samples. The published code takes them from CLIP's image and text
    towers; a LLaVA has no text tower, so the text is the mean of the frozen token embeddings, and the image that of the
    frozen vision tower (`ContinualMLLM.frozen_features`). Fused is sum_i B_i A_i; the published code multiplies the
    sums of B and of A.

    Args:
        temperature: of the softmax; 0.1 in the published code.
        name: shown in reports.
    """

    images: Tensor
    texts: Tensor

    def __init__(self, temperature: PositiveFloat = 0.1, name: str = "hide_llava") -> None:
        super().__init__(name)
        self.temperature = temperature
        self._most, self._slot, self._known = 1, 0, 0
        self._model: tuple[Any, ...] = ()
        self._last: tuple[str, ...] = ()

    def adapter(self, config: PeftConfig, tasks: Sequence[str]) -> PeftConfig:
        """A bank of one slot, which will grow; raises as `bank_of_one`."""
        self._most = max(len(tasks), 1)
        return bank_of_one(self.name, config)

    def restore(self, model: Any, position: int) -> None:
        """The slots of the tasks so far have prototypes; before the first, whose B is zero, that slot has none. Raises
        as `hold_slots`."""
        self._model, self._known = (model,), min(position, self._most)
        if not hasattr(self, "images"):
            self._make_prototypes(model)
        self._choose(model, max(self._known, 1) - 1)

    def before_experience(self, context: Context) -> None:
        """The task's own slot learns."""
        self._choose(context.module, min(context.position, self._most) - 1)

    def slot_weights(self, batch: dict[str, Any]) -> Any:
        """One slot in training; in answering 1 for each of the tasks so far, and the sample's own in the last layer."""
        if "labels" in batch:
            return self._slot
        (model,) = self._model
        ones = torch.ones(max(self._known, 1), device=model.device)
        weights: dict[str, Tensor] = dict.fromkeys(moelora_layers(model.peft), ones)
        if self._known:
            weights |= dict.fromkeys(self._last, self._by_similarity(*model.frozen_features(batch)))
        return weights

    def after_experience(self, context: Context) -> None:
        """Mean features of the task's samples; of images over the samples that have one."""
        totals = [torch.zeros_like(part[0], dtype=torch.float64) for part in (self.images, self.texts)]
        for batch in context.batches(context.samples()):
            features_of = zip(totals, context.module.frozen_features(batch), strict=True)
            for total, features in features_of if batch["samples"] else ():
                total += features.double().sum(dim=0)
        # their lengths do not matter for cosines, so neither do the counts
        for kept, total in zip((self.images, self.texts), totals, strict=True):
            kept[self._slot] = F.normalize(context.all_reduce(total), dim=0).float()
        self._known = self._slot + 1

    def _by_similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Weights `[b, slots]`, in float32: prototypes of two tasks may be more alike than bfloat16 can tell."""
        prototypes = self.images[: self._known], self.texts[: self._known]
        with torch.autocast(images.device.type, enabled=False):
            cosines = torch.stack([images @ prototypes[0].t(), texts @ prototypes[1].t()])
            seen = images.any(dim=1, keepdim=True)
            similarity = torch.where(seen, cosines.mean(dim=0), cosines[1])
            return (similarity / self.temperature).softmax(dim=1)

    def _make_prototypes(self, model: Any) -> None:
        backbone = model.backbone
        widths = backbone.family.width, backbone.model.get_input_embeddings().embedding_dim
        for name, width in zip(("images", "texts"), widths, strict=True):
            self.register_buffer(name, torch.zeros(self._most, width, device=model.device))
        numbers = {name: int(found[1]) for name in moelora_layers(model.peft) if (found := LAYER.search(name))}
        self._last = tuple(name for name, number in numbers.items() if number == max(numbers.values()))

    def _choose(self, model: Any, slot: int) -> None:
        self._slot = slot
        hold_slots(model, slot + 1)

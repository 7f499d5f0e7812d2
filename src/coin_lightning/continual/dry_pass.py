"""What a pass through the model keeps in memory, found by sending tensors without contents through the module itself.

PyTorch's `FakeTensorMode` runs every operation for its shapes, types and sharing of storage alone: what autograd saves
for the backward pass is then counted, of any model, adapter and precision, in seconds and without a weight. So nobody
has to keep formulas per model (as Korthikanti et al. 2022, arXiv 2205.05198, section 4, give for GPT) in step with the
code. What is not seen: buffers that kernels use and free within an operation.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from coin_lightning.adapters.moelora.flags import flags_of
from coin_lightning.adapters.moelora.layer import MoELoraLinear
from coin_lightning.adapters.routing import slot_layers, slot_weights
from coin_lightning.backbones.attention import attention_forward
from coin_lightning.backbones.family import Grid
from coin_lightning.backbones.recomputation import ALL, NONE, decoder_layers, recompute, spacing
from coin_lightning.module import ContinualMLLM

FUSED, ON_CPU = "dry_fused", "dry_cpu"
"""Attention of a dry pass: as fused kernels of a GPU keep it, and as this project trains on a CPU."""


class _Fused(torch.autograd.Function):
    """Keeps what FlashAttention keeps: q, k, v, its output and a number per row (Dao 2023, arXiv 2307.08691)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`[n, h, l, d]` to `[n, l, h, d]`; without values."""
        n, heads, length, width = q.shape
        out = q.new_empty(n, length, heads, width)
        ctx.save_for_backward(q, k, v, out, q.new_empty(n, heads, length, dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """Empty gradients."""
        return tuple(torch.empty_like(each) for each in ctx.saved_tensors[:3])


def _fused(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **_: Any
) -> tuple[Tensor, None]:
    if attention_mask is not None:  # with one, heads of a group are written out
        key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], dim=1) for each in (key, value))
    return _Fused.apply(query, key, value), None


def _mask(**options: Any) -> Tensor | None:
    """Only for a window that is shorter than the samples: else kernels are causal by themselves."""
    window = options.get("local_size")
    return sdpa_mask(**options) if window is not None and options["kv_length"] > window else None


AttentionInterface.register(FUSED, _fused)
AttentionInterface.register(ON_CPU, attention_forward)
for _name in (FUSED, ON_CPU):
    AttentionMaskInterface.register(_name, _mask)


@dataclass(frozen=True)
class Kept:
    """Bytes that a training step keeps between forward and backward pass.

    Attributes:
        layers: of the language model, all of them kept.
        inputs: of the language model, when every layer is recomputed.
        count: decoder layers.
        head: logits and losses, where answers are.
        projector: of the images, through the part that may learn.
    """

    layers: int
    inputs: int
    count: int
    head: int
    projector: int

    @property
    def layer(self) -> int:
        """What one layer keeps beyond its input; while it is computed again it keeps that, too."""
        return ceil((self.layers - self.inputs) / self.count)

    def saved(self, choice: str) -> int:
        """Between the passes, with these layers recomputed (see `recomputation.spacing`).

        Of L layers, n of which are recomputed, L - n keep all and n their inputs: layers - n * layer (Chen et al. 2016,
        arXiv 1604.06174, section 4.1).
        """
        every = spacing(choice)
        recomputed = ceil(self.count / every) if every else 0
        return self.layers - recomputed * self.layer + self.head + self.projector

    def peak(self, choice: str) -> int:
        """In the backward pass: `saved`, and one layer that is being computed again."""
        return self.saved(choice) + (self.layer if spacing(choice) else 0)


class DryPass:
    """Passes of one module, whose weights turn into tensors without contents; it is of no other use afterwards.

    Args:
        module: on the `meta` device.
        mixed: dtype of autocast; None for none.
        attention: `FUSED`, `ON_CPU`, or an implementation of transformers.
    """

    def __init__(self, module: ContinualMLLM, mixed: torch.dtype | None, attention: str = FUSED) -> None:
        self.module, self.mixed = module, mixed
        self.backbone: Any = module.backbone
        for layer in module.modules():
            if isinstance(layer, MoELoraLinear):  # their flags need contents; they are remembered
                for config in layer.moelora_config.values():
                    flags_of(config, torch.device("cpu"))
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        with self._mode:
            module.to_empty(device="cpu")
        decoder: Any = module.backbone.language_model
        decoder.set_attn_implementation(attention)
        self.decoder = decoder
        self._weights = {_storage(tensor) for tensor in chain(module.parameters(), module.buffers())}

    def training_step(self, rows: int, length: int, targets: int, grid: Grid) -> Kept:
        """What `rows` samples of `length` tokens keep, with an image of this grid each and `targets` answer tokens in
        all."""
        self.module.train()
        learns = any(weight.requires_grad for part in self.backbone.projectors for weight in part.parameters())
        with self._open(rows):
            with self._counted() as projector:
                count = self.backbone.family.feature_count(grid) * rows
                features = torch.empty(count, self.backbone.family.width, dtype=torch.bfloat16)
                self.backbone.project(features, [grid] * rows)
            kept = {}
            for choice in (NONE, ALL):
                recompute(self.decoder, choice)
                embeds = self._embeddings(rows, length).requires_grad_(learns)
                with self._counted() as counted:
                    hidden = self.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
                kept[choice] = sum(counted.values())
            with self._counted() as head:
                logits = self.backbone.model.lm_head(hidden.flatten(0, 1)[:targets])
                self.module.objective(logits, torch.zeros(targets, dtype=torch.long))
        own = sum(head.values()) - hidden.untyped_storage().nbytes() * (_storage(hidden) in head)
        return Kept(kept[NONE], kept[ALL], len(decoder_layers(self.decoder)), own, sum(projector.values()))

    def answering(self, rows: int, length: int) -> int:
        """Bytes of keys and values of `rows` samples of `length` tokens, the new ones included."""
        self.module.eval()
        with torch.no_grad(), self._open(rows), self.module.peft.disable_adapter():  # they change no shape
            found = self.decoder(inputs_embeds=self._embeddings(rows, length), use_cache=True).past_key_values
            states = {
                _storage(each): each.untyped_storage().nbytes()
                for layer in found.layers
                for each in vars(layer).values()
                if isinstance(each, Tensor)
            }
        return sum(states.values())

    def _embeddings(self, rows: int, length: int) -> Tensor:
        table = self.backbone.model.get_input_embeddings().weight
        return torch.empty(rows, length, table.shape[1], dtype=table.dtype)

    @contextmanager
    def _open(self, rows: int) -> Iterator[None]:
        """Within it tensors have no contents; slots that wait for a method's weights get some."""
        slots = {name: layer for name, layer in slot_layers(self.module.peft).items() if not layer.has_router}
        autocast = torch.autocast("cpu", self.mixed or torch.bfloat16, enabled=self.mixed is not None)
        with self._mode, autocast:
            given = {name: torch.ones(rows, layer.num_slots) for name, layer in slots.items()}
            with slot_weights(self.module.peft, given) if given else nullcontext():
                yield

    @contextmanager
    def _counted(self) -> Iterator[dict[int, int]]:
        """Fills up with the bytes of each storage that autograd saves within, but of weights."""
        found: dict[int, int] = {}
        alive: list[Tensor] = []  # an address that is free again would be counted as one

        def keep(tensor: Tensor) -> Tensor:
            if _storage(tensor) not in self._weights:
                found[_storage(tensor)] = tensor.untyped_storage().nbytes()
                alive.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            yield found


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata

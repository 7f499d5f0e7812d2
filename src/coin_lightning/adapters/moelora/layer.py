"""One target Linear with its MoELoRA branch."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, _get_in_out_features, check_adapters_to_merge
from peft.utils.quantization_utils import resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from coin_lightning.adapters.moelora.config import MoELoraConfig
from coin_lightning.adapters.moelora.dropout import keep_mask
from coin_lightning.adapters.moelora.function import Branch, moe_branch
from coin_lightning.adapters.moelora.routing import given_weights, sink_for, spread_weights
from coin_lightning.errors import ConfigError

INIT_STD = 0.01  # of A, as the paper's code


@lru_cache(maxsize=256)
def _outside(slots: tuple[int, ...], num_experts: int, device: torch.device) -> Tensor:
    """bool [E], True for slots that are not in `slots`; made once, also when first asked for in inference mode."""
    with torch.inference_mode(False):
        return torch.tensor([slot not in slots for slot in range(num_experts)], device=device)


def _mask_outside(slots: list[int] | None, num_experts: int, device: torch.device) -> Tensor | None:
    return None if slots is None else _outside(tuple(slots), num_experts, device)


class MoELoraLinear(nn.Module, BaseTunerLayer):
    """y = W x + b + (alpha / r) * sum_e softmax(R x)_e * B_e A_e dropout(x)   (CoIN, arXiv 2403.08350).

    Parameters per adapter name: `moelora_A` [E, r/E, d_in] ([1, r/E, d_in] when shared), `moelora_B` [E, d_out, r/E],
    `moelora_router` [E, d_in] (not with `mixing="given"`). The base layer is called as it is, so a quantised one stays
    quantised. Slot flags are read from the adapter's config, the one place that is saved.

    Args:
        base_layer: `nn.Linear`, `Conv1D` or a quantised linear layer that PEFT knows.
        adapter_name: name of the first adapter.
        config: its settings.
    """

    adapter_layer_names = ("moelora_A", "moelora_B", "moelora_router")
    other_param_names = ("moelora_config",)

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: MoELoraConfig, **kwargs: Any) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.quantization_backend = resolve_quantization_backend(
            self.get_base_layer(), get_apply_tensor_subclass=kwargs.get("get_apply_tensor_subclass")
        )
        self.moelora_A, self.moelora_B = nn.ParameterDict(), nn.ParameterDict()
        self.moelora_router = nn.ParameterDict()
        self.moelora_config: dict[str, MoELoraConfig] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self._unmerged_weight: Tensor | None = None
        self.in_features, self.out_features = self._features()
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def _features(self) -> tuple[int, int]:
        inputs, outputs = _get_in_out_features(self.get_base_layer())
        if inputs is None or outputs is None:
            raise ConfigError(f"a {type(self.get_base_layer()).__name__} has no in_features and out_features to adapt.")
        return inputs, outputs

    @property
    def num_experts(self) -> int:
        """Experts of the first active adapter that this layer has."""
        name = next((name for name in self.active_adapters if name in self.moelora_B), next(iter(self.moelora_B)))
        return self.moelora_B[name].shape[0]

    def update_layer(self, adapter_name: str, config: MoELoraConfig) -> None:
        """Add the parameters of one more adapter, on the device of the base layer."""
        experts, rank = config.num_experts, config.expert_rank
        self.moelora_config[adapter_name] = config
        self.moelora_A[adapter_name] = nn.Parameter(
            torch.empty(1 if config.shared_a else experts, rank, self.in_features)
        )
        self.moelora_B[adapter_name] = nn.Parameter(torch.empty(experts, self.out_features, rank))
        if config.mixing == "token":
            self.moelora_router[adapter_name] = nn.Parameter(torch.empty(experts, self.in_features))
        self.reset_parameters(adapter_name)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    @torch.no_grad()
    def reset_parameters(self, adapter_name: str) -> None:
        """A ~ N(0, 0.01^2), B = 0, R as `nn.Linear`; from torch's global generator."""
        nn.init.normal_(self.moelora_A[adapter_name], std=INIT_STD)
        if self.moelora_config[adapter_name].init_weights:
            nn.init.zeros_(self.moelora_B[adapter_name])
        else:
            nn.init.normal_(self.moelora_B[adapter_name], std=INIT_STD)
        if adapter_name in self.moelora_router:
            bound = self.in_features**-0.5
            nn.init.uniform_(self.moelora_router[adapter_name], -bound, bound)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map x [..., d_in] to [..., d_out], in the dtype of the base layer's output."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        result = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        for name in self.active_adapters:
            if name in self.moelora_A:
                result = self._add_branch(name, x, result)
        return result

    def _add_branch(self, name: str, x: Tensor, result: Tensor) -> Tensor:
        config, a, b = self.moelora_config[name], self.moelora_A[name], self.moelora_B[name]
        kind = x.device.type
        given = self._given(name, x)
        branch = Branch(
            scaling=config.scaling,
            dtype=torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else a.dtype,
            keep=1.0 - config.dropout if self.training else 1.0,
            inactive=_mask_outside(config.active_slots, config.num_experts, x.device),
            frozen=_mask_outside(config.trainable_slots, config.num_experts, x.device),
            sink=sink_for(self, x.shape[:-1]),
        )
        router = self.moelora_router[name] if given is None else None
        return moe_branch(
            result, x, a, b, router=router, given=given, mask=self._dropout_mask(x, branch.keep), branch=branch
        )

    def _dropout_mask(self, x: Tensor, keep: float) -> Tensor | None:
        """bool [N, d_in] for all experts, or None."""
        return None if keep == 1.0 else keep_mask(x.shape[:-1].numel(), x.shape[-1], keep, x.device)

    def _given(self, name: str, x: Tensor) -> Tensor | None:
        config, weights = self.moelora_config[name], given_weights(self)
        if weights is None and config.mixing == "given":
            weights = torch.tensor(self._fixed_weights(name), device=x.device)
        if weights is None:
            return None
        if weights.shape[-1] != config.num_experts:
            raise ConfigError(
                f"slot weights for {weights.shape[-1]} slots given to adapter {name!r} with {config.num_experts} slots."
            )
        return spread_weights(weights, x)

    def _fixed_weights(self, name: str) -> list[float]:
        weights = self.moelora_config[name].fixed_weights
        if weights is None:
            raise ConfigError(
                f'adapter {name!r} has mixing="given" and no weights: open slot_weights(model, weights) around the '
                "call (until backward has run, with activation checkpointing) or set fixed_weights."
            )
        return weights

    def delta_weight(self, name: str, weights: Tensor) -> Tensor:
        """(alpha / r) * sum_e w_e B_e A_e over active slots for fixed weights [E]; [d_out, d_in], dtype of A."""
        config, a, b = self.moelora_config[name], self.moelora_A[name], self.moelora_B[name]
        weights = weights.to(a)
        if (inactive := _mask_outside(config.active_slots, config.num_experts, a.device)) is not None:
            weights = weights.masked_fill(inactive, 0.0)
        scaled = b * (config.scaling * weights).view(-1, 1, 1)
        return torch.einsum("eok,eki->oi", scaled, a.expand(b.shape[0], -1, -1))

    def frozen_numbers(self) -> Iterator[tuple[nn.Parameter, int]]:
        """Each tensor of the adapters with how many of its numbers lie in slots that do not learn."""
        for name, config in self.moelora_config.items():
            slots = config.trainable_slots
            frozen = 0 if slots is None else config.num_experts - len(slots)
            for tensors in (self.moelora_A, self.moelora_B, self.moelora_router):
                if name in tensors:
                    tensor = tensors[name]
                    own = tensor.shape[0] == config.num_experts  # a shared A belongs to all slots
                    yield tensor, tensor.numel() // config.num_experts * frozen if own else 0

    def check_mergeable(self) -> None:
        """`ConfigError` when the base is quantised (rounding again would change all of it) or something is merged."""
        if self.quantization_backend is not None or not self.weight.is_floating_point():
            raise ConfigError("slots cannot be merged into a quantised base layer; load the base unquantised first.")
        if self.merged:
            raise ConfigError(
                f"adapter {self.merged_adapters[0]!r} is merged already; call unmerge_slots(model) first."
            )

    @torch.no_grad()
    def merge_slots(self, name: str, weights: Tensor) -> None:
        """Add `delta_weight` to the base weight and keep the old one for `unmerge`. Raises as `check_mergeable`."""
        self.check_mergeable()
        before = self.get_base_weight()
        delta = self.delta_weight(name, weights)
        self.set_base_weight(
            (before + (delta.t() if isinstance(self.get_base_layer(), Conv1D) else delta)).to(before.dtype)
        )
        self._unmerged_weight = before
        self.merged_adapters.append(name)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """PEFT's merge: only for `fixed_weights`, see `MoELoraModel._check_merge_allowed`."""
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.moelora_A:
                self.merge_slots(name, torch.tensor(self._fixed_weights(name)))

    def unmerge(self) -> None:
        """Put the base weight back as it was before `merge_slots`, bit by bit."""
        if self._unmerged_weight is not None:
            self.set_base_weight(self._unmerged_weight.to(self.weight.device))
        self._unmerged_weight = None
        self.merged_adapters.clear()

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """False: a gate that depends on the token has no weight difference that LoRA could take over."""
        return False

    def extra_repr(self) -> str:
        """Experts and rank of each adapter."""
        return ", ".join(
            f"{name}: E={c.num_experts} r={c.r} mixing={c.mixing}" for name, c in self.moelora_config.items()
        )

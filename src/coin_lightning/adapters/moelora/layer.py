"""One target Linear with its MoELoRA branch."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, _get_in_out_features, check_adapters_to_merge
from peft.utils.quantization_utils import resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from coin_lightning.adapters.grouped_function import Bank
from coin_lightning.adapters.moelora.config import MoELoraConfig
from coin_lightning.adapters.moelora.dropout import keep_mask
from coin_lightning.adapters.moelora.flags import flags_of
from coin_lightning.adapters.moelora.function import Branch, moe_branch
from coin_lightning.adapters.routing import SlotLayer, given_weights, sink_for, spread_weights
from coin_lightning.adapters.shared_input import SharesInput, plain_base, usable
from coin_lightning.errors import ConfigError

INIT_STD = 0.01  # of A, as the paper's code


class MoELoraLinear(SlotLayer, SharesInput, BaseTunerLayer):
    """y = W x + b + (alpha / r) * sum_e softmax(R x)_e * B_e A_e dropout(x)   (CoIN, arXiv 2403.08350).

    Parameters per adapter name: `moelora_A` [r, d_in] ([r/E, d_in] when shared) and `moelora_B` [r, d_out], the rows of
    one slot behind those of the other, and `moelora_router` [E, d_in] (not with `mixing="given"`). The base layer is
    called as it is, so a quantised one stays quantised; only a group of layers on one input (`shared_input`), computed
    together, takes the weights of plain ones. Slot flags are read from the adapter's config, the one place
    that is saved.

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
    def num_slots(self) -> int:
        """Slots of the first active adapter that this layer has."""
        name = next((name for name in self.active_adapters if name in self.moelora_B), next(iter(self.moelora_B)))
        return self.moelora_config[name].num_experts

    @property
    def has_router(self) -> bool:
        """Whether one of its adapters has one."""
        return len(self.moelora_router) > 0

    def update_layer(self, adapter_name: str, config: MoELoraConfig) -> None:
        """Add the parameters of one more adapter, on the device of the base layer."""
        self.moelora_config[adapter_name] = config
        rows = config.slot_ranks[0] if config.shared_a else config.r
        self.moelora_A[adapter_name] = nn.Parameter(torch.empty(rows, self.in_features))
        self.moelora_B[adapter_name] = nn.Parameter(torch.empty(config.r, self.out_features))
        if config.mixing == "token":
            self.moelora_router[adapter_name] = nn.Parameter(torch.empty(config.num_experts, self.in_features))
        self.reset_parameters(adapter_name)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def slot(self, adapter_name: str, slot: int) -> tuple[Tensor, Tensor]:
        """A [k, d_in] and B [k, d_out] of one slot, views of the parameters."""
        ranks = self.moelora_config[adapter_name].slot_ranks
        rows = slice(sum(ranks[:slot]), sum(ranks[: slot + 1]))
        a, b = self.moelora_A[adapter_name], self.moelora_B[adapter_name]
        return (a if a.shape[0] < b.shape[0] else a[rows]), b[rows]

    @torch.no_grad()
    def rearrange(self, adapter_name: str, ranks: Sequence[int], kept: Sequence[int], new: Sequence[int]) -> None:
        """Of slots of these ranks keep some, in this order, with new ones of given ranks behind them, drawn as usual.

        The parameters are new objects: optimizers are made afterwards.
        """
        config = self.moelora_config[adapter_name]
        starts = list(accumulate(ranks, initial=0))
        rows = [row for slot in kept for row in range(starts[slot], starts[slot + 1])]
        old = {"moelora_B": self.moelora_B[adapter_name][rows]}
        if not config.shared_a:
            old["moelora_A"] = self.moelora_A[adapter_name][rows]
        if adapter_name in self.moelora_router:
            old["moelora_router"] = self.moelora_router[adapter_name][list(kept)]
        fresh = {
            name: tensor.new_empty(len(new) if name == "moelora_router" else sum(new), tensor.shape[1])
            for name, tensor in old.items()
        }
        _draw(fresh.get("moelora_A"), fresh["moelora_B"], fresh.get("moelora_router"), zero_b=config.init_weights)
        for name, tensor in old.items():
            parameters = getattr(self, name)
            learns = parameters[adapter_name].requires_grad
            parameters[adapter_name] = nn.Parameter(torch.cat([tensor, fresh[name]]), requires_grad=learns)

    def reset_parameters(self, adapter_name: str) -> None:
        """A ~ N(0, 0.01^2), B = 0, router as `nn.Linear`; from torch's global generator."""
        router = self.moelora_router.get(adapter_name)
        zero_b = self.moelora_config[adapter_name].init_weights
        _draw(self.moelora_A[adapter_name], self.moelora_B[adapter_name], router, zero_b=zero_b)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map x [..., d_in] to [..., d_out], in the dtype of the base layer's output."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        if not (args or kwargs) and (grouped := self.grouped(x)) is not None:
            return grouped
        result = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        for name in self.active_adapters:
            if name in self.moelora_A:
                result = self._add_branch(name, x, result)
        return result

    def bank(self, x: Tensor) -> Bank | None:
        """None with adapters that are off, merged or several, dropout, a shared A, slots of unlike rank, weights of
        slots that learn, or tensors that are not whole."""
        names = [name for name in self.active_adapters if name in self.moelora_A]
        base = plain_base(self)
        if self.disable_adapters or self.merged or len(names) != 1 or base is None:
            return None
        (name,) = names
        config, a, b = self.moelora_config[name], self.moelora_A[name], self.moelora_B[name]
        flags, given = flags_of(config, x.device), self._given(name, x)
        router = self.moelora_router[name] if given is None else None
        learns = given is not None and given.requires_grad
        if config.dropout or config.shared_a or flags.owner is not None or learns:
            return None
        if not usable(a, b, router, learn=True):
            return None
        return Bank(*base, a, b, router, given, config.scaling, flags, sink_for(self, x.shape[:-1]))

    def _add_branch(self, name: str, x: Tensor, result: Tensor) -> Tensor:
        config, a, b = self.moelora_config[name], self.moelora_A[name], self.moelora_B[name]
        kind = x.device.type
        given = self._given(name, x)
        branch = Branch(
            scaling=config.scaling,
            dtype=torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else a.dtype,
            keep=1.0 - config.dropout if self.training else 1.0,
            flags=flags_of(config, x.device),
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
        config = self.moelora_config[name]
        if not config.is_fixed:
            raise ConfigError(
                f'adapter {name!r} has mixing="given" and no weights: open slot_weights(model, weights) around the '
                "call (until backward has run, with activation checkpointing) or set fixed_weights."
            )
        return [weight or 0.0 for weight in config.fixed_weights or ()]  # None only where the slot is off

    def delta_weight(self, name: str, weights: Tensor) -> Tensor:
        """(alpha / r) * sum_s w_s B_s^T A_s over active slots for fixed weights [E]; [d_out, d_in], dtype of A."""
        config, a, b = self.moelora_config[name], self.moelora_A[name], self.moelora_B[name]
        weights = weights.to(a)
        if (off := flags_of(config, a.device).off) is not None:
            weights = weights.masked_fill(off, 0.0)
        of_rows = weights.repeat_interleave(torch.tensor(config.slot_ranks, device=a.device))
        every_a = a.repeat(b.shape[0] // a.shape[0], 1)  # a shared one serves all slots
        return (b * (config.scaling * of_rows).unsqueeze(-1)).t() @ every_a

    def frozen_numbers(self) -> Iterator[tuple[nn.Parameter, int]]:
        """Each tensor of the adapters with how many of its numbers lie in slots that do not learn."""
        for name, config in self.moelora_config.items():
            flags = flags_of(config, torch.device("cpu"))
            for tensors, rows in (
                (self.moelora_A, flags.frozen_ranks),
                (self.moelora_B, flags.frozen_ranks),
                (self.moelora_router, flags.frozen),
            ):
                if name in tensors:
                    tensor = tensors[name]
                    if rows is None or len(rows) != len(tensor):  # a shared A belongs to all slots
                        yield tensor, 0
                    else:
                        yield tensor, int(rows.sum()) * tensor.shape[1]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Also tensors from before slots could differ in rank: A [E, k, d_in] and B [E, d_out, k]."""
        for key, tensor in state_dict.items():
            if tensor.dim() == 3 and key.startswith(f"{prefix}moelora_"):
                rows = tensor.transpose(1, 2) if key.startswith(f"{prefix}moelora_B") else tensor
                state_dict[key] = rows.flatten(0, 1)
        super()._load_from_state_dict(state_dict, prefix, *args)

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


@torch.no_grad()
def _draw(a: Tensor | None, b: Tensor, router: Tensor | None, *, zero_b: bool) -> None:
    """First values of a bank, or of the slots that are new in one."""
    if a is not None:
        _fill(a, partial(nn.init.normal_, std=INIT_STD))
    if zero_b:
        nn.init.zeros_(b)
    else:
        _fill(b, partial(nn.init.normal_, std=INIT_STD))
    if router is not None:
        _fill(router, partial(nn.init.uniform_, a=-(router.shape[1] ** -0.5), b=router.shape[1] ** -0.5))


def _fill(tensor: Tensor, draw: Callable[[Tensor], Any]) -> None:
    """With numbers of the CPU's generator: a run that goes on after a kill may find the model on another device."""
    values = tensor if tensor.device.type in ("cpu", "meta") else torch.empty_like(tensor, device="cpu")
    draw(values)
    tensor.copy_(values)

"""Configuration of the MoELoRA tuner, and the member it adds to PEFT's enum of tuner types."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from peft.config import PeftConfig
from peft.utils import PeftType

from coin_lightning.errors import ConfigError


def _extend_peft_type(name: str) -> PeftType:
    """The member `name` of `PeftType`, added when missing.

    PEFT looks tuners up by members of a closed enum and offers no way to add one. A plain string would work as a key
    (the enum is a `str`), but PEFT and transformers also read `.value`, so the member is built as `enum` itself builds
    one: it has a name and a value, is found by `PeftType[name]` and `PeftType(name)`, and pickles. Nothing existing is
    altered.
    """
    if name in PeftType.__members__:
        return PeftType[name]
    member = str.__new__(PeftType, name)
    member._name_ = member._value_ = name
    member.__objclass__ = PeftType  # type: ignore[attr-defined]
    member._sort_order_ = len(PeftType)  # type: ignore[attr-defined]
    type.__setattr__(PeftType, name, member)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member
    return member


PEFT_TYPE = _extend_peft_type("MOELORA")
MIXINGS = ("token", "given")


def _names(value: Any) -> Any:
    """A string (regex, "all-linear") stays; other collections become a sorted list, so that saved files are stable."""
    return value if value is None or isinstance(value, str) else sorted(set(value))


def _slots(key: str, value: Sequence[int] | None, num_experts: int) -> list[int] | None:
    if value is None:
        return None
    slots = sorted({int(slot) for slot in value})
    if any(not 0 <= slot < num_experts for slot in slots):
        raise ConfigError(f"{key}={list(value)}: slots of {num_experts} experts are numbered 0 to {num_experts - 1}.")
    return slots


@dataclass
class MoELoraConfig(PeftConfig):
    """Settings of `MoELoraModel`. Defaults are CoIN's MoELoRA scripts': r 128, alpha 256, 8 experts, dropout 0.05.

    A layer is a bank of slots; MoELoRA calls them experts. Each takes part with the weight that the router gives it,
    with a fixed one, or not at all, and learns or is frozen.

    Args:
        r: total rank, split evenly over the slots (`r % num_experts == 0`) unless `ranks` says otherwise.
        alpha: the branch is scaled by `alpha / r` (r total, as the paper's code).
        num_experts: slots per target layer.
        ranks: rank of each slot, of sum r; None splits r evenly.
        scale: of the branch, in place of `alpha / r`; set when slots are added or dropped, which must not change it.
        dropout: probability, on the input of the experts, not of the router. One mask serves all experts of a layer;
            the paper's code draws one per expert, for `num_experts` times the memory and time and the same expectation.
        target_modules: names (matched as suffixes), a regular expression, or "all-linear".
        modules_to_save: modules trained and saved in full beside the adapter, for example the projector.
        mixing: "token" = softmax router per token; "given" = no router, weights from `adapters.routing.slot_weights` or
            `fixed_weights`.
        fixed_weights: a number is the slot's weight where no `slot_weights` block is open; None (of a slot, or for all)
            leaves it to the router, or with `mixing="given"` to that block.
        groups: slots that share a router: each group has a softmax of its own. None = one group of all slots.
        top_k: so many slots of each group take part for a token: those of the largest logits, with the softmax over
            these alone. None = all.
        shared_a: one A for all slots (B and router per slot).
        active_slots: slots that take part, None = all. The others get gate 0; the softmax runs over the active ones.
        trainable_slots: slots that learn, None = all. The others get zero gradients (use a new optimizer, no decay).
        init_weights: False starts B at random too, so that the branch is not zero (tests, benchmarks).

    Raises:
        ConfigError: a value is out of range; the message has the remedy.
    """

    r: int = 128
    alpha: float = 256.0
    num_experts: int = 8
    ranks: list[int] | None = None
    scale: float | None = None
    dropout: float = 0.05
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    mixing: str = "token"
    fixed_weights: list[float | None] | None = None
    shared_a: bool = False
    groups: list[list[int]] | None = None
    top_k: int | None = None
    active_slots: list[int] | None = None
    trainable_slots: list[int] | None = None
    init_weights: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PEFT_TYPE
        self.target_modules = _names(self.target_modules)
        self.exclude_modules = _names(self.exclude_modules)
        self.modules_to_save = list(self.modules_to_save) if self.modules_to_save is not None else None
        self.alpha = float(self.alpha)
        self.check()

    def check(self) -> None:
        """Also after a change of slots or their flags; raises as the class says."""
        self._check_numbers()
        self._check_ranks()
        self.active_slots = _slots("active_slots", self.active_slots, self.num_experts)
        self.trainable_slots = _slots("trainable_slots", self.trainable_slots, self.num_experts)
        self._check_mixing()
        self._check_groups()

    @property
    def scaling(self) -> float:
        """Of the branch: `alpha / r`, unless `scale` is set."""
        return self.alpha / self.r if self.scale is None else self.scale

    @property
    def slot_ranks(self) -> list[int]:
        """Rank of each slot."""
        return [self.r // self.num_experts] * self.num_experts if self.ranks is None else self.ranks

    @property
    def routed_slots(self) -> list[int]:
        """Slots to which the router gives a weight."""
        fixed = self.fixed_weights or [None] * self.num_experts
        active = range(self.num_experts) if self.active_slots is None else self.active_slots
        return [slot for slot in active if fixed[slot] is None]

    @property
    def is_fixed(self) -> bool:
        """Whether every slot that takes part has a fixed weight: then one weight matrix equals the bank."""
        return self.fixed_weights is not None and not self.routed_slots

    def to_dict(self) -> dict[str, Any]:
        """As PEFT's, with sets (PEFT makes some) as sorted lists: the same adapter writes the same bytes."""
        return {key: sorted(value) if isinstance(value, set) else value for key, value in asdict(self).items()}

    def _check_numbers(self) -> None:
        if self.num_experts < 1:
            raise ConfigError(f"num_experts={self.num_experts}: at least 1 expert is needed.")
        if self.r < 1:
            raise ConfigError(f"r={self.r}: the total rank must be at least num_experts={self.num_experts}.")
        if not self.alpha > 0:
            raise ConfigError(f"alpha={self.alpha}: must be above 0 (CoIN uses 2 * r).")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout}: must be at least 0 and below 1.")

    def _check_ranks(self) -> None:
        if self.ranks is not None:
            self.ranks = [int(rank) for rank in self.ranks]
            if len(self.ranks) != self.num_experts or sum(self.ranks) != self.r or min(self.ranks) < 1:
                raise ConfigError(
                    f"ranks={self.ranks}: give num_experts={self.num_experts} ranks from 1, of sum r={self.r}."
                )
            if self.shared_a and len(set(self.ranks)) > 1:
                raise ConfigError(f"ranks={self.ranks}: with shared_a all slots have the rank of the one A.")
            self.ranks = None if len(set(self.ranks)) == 1 else self.ranks
        elif self.r % self.num_experts:
            below = self.r // self.num_experts * self.num_experts
            near = " or ".join(f"r={rank}" for rank in (below, below + self.num_experts) if rank)
            raise ConfigError(
                f"r={self.r} cannot be split evenly over num_experts={self.num_experts}: "
                f"r is the total rank of all experts. Use {near}."
            )

    def _check_mixing(self) -> None:
        if self.mixing not in MIXINGS:
            raise ConfigError(f"mixing={self.mixing!r}: must be one of {', '.join(MIXINGS)}.")
        if self.active_slots == []:
            raise ConfigError(
                "active_slots=[]: at least one slot must be active; use disable_adapter() to switch all off."
            )
        if self.fixed_weights is not None:
            if len(self.fixed_weights) != self.num_experts:
                raise ConfigError(
                    f"fixed_weights has {len(self.fixed_weights)} values for num_experts={self.num_experts}; give one "
                    "each."
                )
            self.fixed_weights = [None if weight is None else float(weight) for weight in self.fixed_weights]
        if self.mixing == "token" and not self.routed_slots:
            raise ConfigError('fixed_weights of all slots leave the router nothing to decide; use mixing="given".')

    def _check_groups(self) -> None:
        if self.mixing != "token" and (self.groups, self.top_k) != (None, None):
            raise ConfigError('groups and top_k are of a router; with mixing="given" there is none.')
        if self.top_k is not None and not 1 <= self.top_k <= self.num_experts:
            raise ConfigError(f"top_k={self.top_k}: must lie between 1 and num_experts={self.num_experts}.")
        if self.groups is None:
            return
        self.groups = [_slots("groups", group, self.num_experts) or [] for group in self.groups]
        named = [slot for group in self.groups for slot in group]
        if len(set(named)) < len(named) or [] in self.groups:
            raise ConfigError(f"groups={self.groups}: each group has slots, and each slot is in one group.")
        if outside := sorted(set(self.routed_slots) - set(named)):
            raise ConfigError(f"groups={self.groups}: slot {outside[0]} is in no group; name it, or fix its weight.")

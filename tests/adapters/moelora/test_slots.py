"""Active and trainable slots, shared A, merging a fixed mixture."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from coin_lightning.adapters.moelora import (
    MoELoraConfig,
    add_slots,
    drop_slots,
    merge_slots,
    moelora_layers,
    set_active_slots,
    set_fixed_weights,
    set_trainable_slots,
    unmerge_slots,
)
from coin_lightning.adapters.routing import router_load, slot_weights
from coin_lightning.errors import ConfigError

E = 4


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.target = Conv1D(3, 6)

    def forward(self, x):
        return self.target(x)


def _base(kind=nn.Linear):
    torch.manual_seed(0)
    return Conv() if kind is Conv1D else nn.ModuleDict({"target": nn.Linear(6, 3)})


def _layer(kind=nn.Linear, **settings):
    config = MoELoraConfig(r=8, num_experts=E, target_modules=["target"], dropout=0.0, init_weights=False, **settings)
    model = get_peft_model(_base(kind), config).eval()
    return model, next(iter(moelora_layers(model).values()))


def test_active_slots_renormalise_the_softmax():
    model, layer = _layer()
    set_active_slots(model, [0, 3])
    x = torch.randn(5, 6)
    with router_load(model) as load:
        out = layer(x)
    gates = torch.softmax(x @ layer.moelora_router["default"][[0, 3]].t(), -1)
    rows = torch.zeros(5, E).index_copy(1, torch.tensor([0, 3]), gates)
    with slot_weights(model, rows.detach()):
        torch.testing.assert_close(out, layer(x))
    ((totals, _),) = load.totals().values()
    assert totals[1] == totals[2] == 0
    set_active_slots(model, None)
    assert not torch.equal(layer(x), out)


def test_only_trainable_slots_move():
    model, layer = _layer()
    set_trainable_slots(model, [1])
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in layer.parameters() if p.requires_grad], lr=0.1, weight_decay=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(5, 6)).square().sum().backward()
        optimizer.step()
    for name, parameter in layer.named_parameters():
        if name.startswith("base_layer"):
            assert torch.equal(parameter, before[name])
        else:
            now, then = parameter.unflatten(0, (E, -1)), before[name].unflatten(0, (E, -1))
            assert torch.equal(now[[0, 2, 3]], then[[0, 2, 3]])
            assert not torch.equal(now[1], then[1])


def test_flags_survive_saving(tmp_path):
    model, layer = _layer()
    set_active_slots(model, [2, 1])
    set_trainable_slots(model, [2])
    model.save_pretrained(tmp_path)
    back = PeftModel.from_pretrained(_base(), tmp_path)
    (other,) = moelora_layers(back).values()
    x = torch.randn(5, 6)
    assert torch.equal(other(x), layer(x))
    assert other.moelora_config["default"].trainable_slots == [2]


def _slots(layer):
    return [tuple(part.detach().clone() for part in layer.slot("default", slot)) for slot in range(layer.num_slots)]


def _equal(some, others):
    return len(some) == len(others) and all(torch.equal(x, y) for pair in zip(some, others, strict=True)
                                            for x, y in zip(*pair, strict=True))  # fmt: skip


def test_new_slots_stand_behind_the_others_which_stay_as_they_are():
    model, layer = _layer(alpha=12)
    before, router = _slots(layer), layer.moelora_router["default"].detach().clone()
    assert add_slots(model, [3, 2]) == [4, 5]
    after = _slots(layer)
    assert _equal(after[:4], before)
    assert [len(a) for a, _ in after] == [2, 2, 2, 2, 3, 2]
    assert torch.equal(layer.moelora_router["default"][:4], router)
    config = layer.moelora_config["default"]
    assert (config.num_experts, config.r, config.ranks, config.scaling) == (6, 13, [2, 2, 2, 2, 3, 2], 12 / 8)
    x = torch.randn(5, 6)
    gates = torch.softmax(x @ layer.moelora_router["default"].t(), -1)
    wanted = layer.base_layer(x)
    for slot, (a, b) in enumerate(after):
        wanted = wanted + 12 / 8 * gates[:, slot : slot + 1] * (x @ a.t() @ b)
    torch.testing.assert_close(layer(x), wanted)
    drop_slots(model, [1, 4])
    kept = _slots(layer)
    assert _equal(kept, [after[0], after[2], after[3], after[5]])
    assert (config.ranks, config.r, config.scaling) == (None, 8, 12 / 8)
    layer(x).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters() if parameter.requires_grad)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_new_slots_are_the_same_wherever_the_layer_lies():
    """A run that is killed between two tasks finds the model on another device when it goes on."""
    found = []
    for device in ("cpu", "cuda"):
        model, layer = _layer()
        model.to(device)
        torch.manual_seed(1)
        add_slots(model, [3])
        found.append([*(part.cpu() for slot in _slots(layer) for part in slot), layer.moelora_router["default"].cpu()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_new_slot_of_weight_one_changes_nothing_until_it_learns_and_the_old_ones_can_be_frozen():
    model, layer = _layer(mixing="given", fixed_weights=[1.0] * E, active_slots=[0, 1])
    layer.moelora_config["default"].init_weights = True
    x = torch.randn(5, 6)
    before = layer(x)
    assert add_slots(model, [2], weight=1.0) == [4]
    assert torch.equal(layer(x), before)
    config = layer.moelora_config["default"]
    assert (config.active_slots, config.fixed_weights) == ([0, 1, 4], [1.0] * 5)
    set_trainable_slots(model, [4])
    layer(x).square().sum().backward()
    b = layer.moelora_B["default"]
    assert torch.count_nonzero(b.grad[:8]) == 0
    assert b.grad[8:].any()


def test_a_new_slot_joins_a_group_or_makes_one():
    model, layer = _layer(groups=[[0, 1], [2, 3]], trainable_slots=[0])
    add_slots(model, [2], group=0)
    add_slots(model, [2])
    config = layer.moelora_config["default"]
    assert config.groups == [[0, 1, 4], [2, 3], [5]]
    assert config.trainable_slots == [0, 4, 5]
    with router_load(model) as load:
        layer(torch.randn(7, 6))
    ((gates, count),) = load.totals().values()
    for group in config.groups:
        assert gates[group].sum().item() == pytest.approx(count)
    drop_slots(model, [2, 3])
    assert config.groups == [[0, 1, 2], [3]]


def test_a_frozen_mixture_beside_a_routed_slot():
    model, layer = _layer()
    x = torch.randn(5, 6)
    set_fixed_weights(model, [0.5, None, 2.0, None])
    a, b = zip(*_slots(layer), strict=True)
    gates = torch.softmax(x @ layer.moelora_router["default"][[1, 3]].t(), -1)
    weights = [0.5, gates[:, :1], 2.0, gates[:, 1:]]
    wanted = layer.base_layer(x) + sum(w * 32 * (x @ s.t() @ t) for w, s, t in zip(weights, a, b, strict=True))
    torch.testing.assert_close(layer(x), wanted)
    set_fixed_weights(model, None)
    assert not torch.equal(layer(x), wanted)


def test_a_wrong_change_changes_nothing():
    model, layer = _layer(groups=[[0, 1], [2, 3]], shared_a=True, active_slots=[0, 1])
    before = _slots(layer), layer.moelora_config["default"].to_dict()
    wrong = [
        (lambda: add_slots(model, [3]), "rank of the one A"),
        (lambda: add_slots(model, []), "rank of each new slot"),
        (lambda: add_slots(model, [2], group=4), "numbered 0 to 1"),
        (lambda: drop_slots(model, [4]), "no slot 4"),
        (lambda: drop_slots(model, range(4)), "at least one slot must stay"),
        (lambda: drop_slots(model, [0, 1]), "at least one slot must be active"),
        (lambda: set_fixed_weights(model, [1.0, 1.0, None, None]), "leave the router nothing"),
        (lambda: set_fixed_weights(model, [1.0]), "1 values for num_experts=4"),
    ]
    for change, message in wrong:
        with pytest.raises(ConfigError, match=message):
            change()
        assert _equal(_slots(layer), before[0])
        assert layer.moelora_config["default"].to_dict() == before[1]


def test_a_grown_bank_comes_back_from_disk(tmp_path):
    model, layer = _layer(groups=[[0, 1], [2, 3]], top_k=1)
    add_slots(model, [5], weight=0.5)
    set_trainable_slots(model, [4])
    model.save_pretrained(tmp_path)
    back = PeftModel.from_pretrained(_base(), tmp_path, is_trainable=True)
    (other,) = moelora_layers(back).values()
    assert _equal(_slots(other), _slots(layer))
    x = torch.randn(5, 6)
    assert torch.equal(other(x), layer(x))
    other(x).sum().backward()
    assert torch.count_nonzero(other.moelora_A["default"].grad[:8]) == 0


def test_several_named_adapters_of_unlike_banks_are_saved_and_loaded(tmp_path):
    model, layer = _layer()
    second = {"target_modules": ["target"], "dropout": 0.0, "init_weights": False}
    model.add_adapter("second", MoELoraConfig(r=5, num_experts=2, ranks=[1, 4], mixing="given", **second))
    set_fixed_weights(model, [1.0, -1.0], "second")
    model.save_pretrained(tmp_path)
    back = PeftModel.from_pretrained(_base(), tmp_path)
    back.load_adapter(tmp_path / "second", "second")
    (other,) = moelora_layers(back).values()
    x = torch.randn(5, 6)
    for name in ("default", "second"):
        model.set_adapter(name)
        back.set_adapter(name)
        assert torch.equal(other(x), layer(x))
        assert other.num_slots == layer.num_slots == (4 if name == "default" else 2)


def test_weights_saved_before_slots_could_differ_in_rank_are_read(tmp_path):
    model, layer = _layer()
    model.save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    old = load_file(file)
    for key, tensor in old.items():
        if "moelora_router" not in key:
            parts = tensor.unflatten(0, (E, 2))  # A was [E, k, d_in], B [E, d_out, k]
            old[key] = (parts.transpose(1, 2) if "moelora_B" in key else parts).contiguous()
    save_file(old, file)
    (other,) = moelora_layers(PeftModel.from_pretrained(_base(), tmp_path)).values()
    x = torch.randn(5, 6)
    assert torch.equal(other(x), layer(x))


def test_wrong_slots_are_refused():
    model, _ = _layer()
    with pytest.raises(ConfigError, match="0 to 3"):
        set_active_slots(model, [4])
    with pytest.raises(ConfigError, match="at least one"):
        set_active_slots(model, [])
    with pytest.raises(ConfigError, match="no adapter is named 'other'; there are: default"):
        set_trainable_slots(model, [0], "other")


def test_shared_a_is_one_matrix_for_all_slots():
    _, layer = _layer(shared_a=True)
    assert layer.moelora_A["default"].shape == (2, 6)
    x = torch.randn(2, 5, 6)
    low = x @ layer.moelora_A["default"].t()
    gates = torch.softmax(x @ layer.moelora_router["default"].t(), -1)
    wanted = layer.base_layer(x)
    for e in range(E):
        wanted = wanted + 256 / 8 * gates[..., e : e + 1] * (low @ layer.slot("default", e)[1])
    torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
@pytest.mark.parametrize("weights", [2, [0.5, 0.0, 1.5, -1.0]])
def test_merged_equals_given_and_unmerging_restores_the_bits(kind, weights):
    model, layer = _layer(kind, mixing="given", alpha=8)
    x, before = torch.randn(5, 6), layer.weight.detach().clone()
    with slot_weights(model, weights if isinstance(weights, int) else torch.tensor(weights)):
        wanted = layer(x)
    merge_slots(model, weights)
    torch.testing.assert_close(layer(x), wanted)
    assert layer.merged
    with pytest.raises(ConfigError, match="merged already"):
        merge_slots(model, weights)
    unmerge_slots(model)
    assert torch.equal(layer.weight, before)


def test_inactive_slots_are_not_merged():
    model, layer = _layer(mixing="given", active_slots=[0])
    delta = layer.delta_weight("default", torch.ones(E))
    torch.testing.assert_close(delta, 32 * layer.slot("default", 0)[1].t() @ layer.slot("default", 0)[0])
    merge_slots(model, [1.0] * E)
    torch.testing.assert_close(layer.weight - layer._unmerged_weight, delta)


def test_merge_slots_wants_one_weight_per_slot():
    model, layer = _layer(mixing="given")
    for wrong in ([1.0], 4):
        with pytest.raises(ConfigError):
            merge_slots(model, wrong)
    assert not layer.merged

"""Active and trainable slots, shared A, merging a fixed mixture."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from coin_lightning.adapters.moelora import (
    MoELoraConfig,
    merge_slots,
    moelora_layers,
    router_load,
    set_active_slots,
    set_trainable_slots,
    slot_weights,
    unmerge_slots,
)
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
            assert torch.equal(parameter[[0, 2, 3]], before[name][[0, 2, 3]])
            assert not torch.equal(parameter[1], before[name][1])


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
    assert layer.moelora_A["default"].shape == (1, 2, 6)
    x = torch.randn(2, 5, 6)
    low = x @ layer.moelora_A["default"][0].t()
    gates = torch.softmax(x @ layer.moelora_router["default"].t(), -1)
    wanted = layer.base_layer(x)
    for e in range(E):
        wanted = wanted + 256 / 8 * gates[..., e : e + 1] * (low @ layer.moelora_B["default"][e].t())
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
    torch.testing.assert_close(delta, 32 * layer.moelora_B["default"][0] @ layer.moelora_A["default"][0])
    merge_slots(model, [1.0] * E)
    torch.testing.assert_close(layer.weight - layer._unmerged_weight, delta)


def test_merge_slots_wants_one_weight_per_slot():
    model, layer = _layer(mixing="given")
    for wrong in ([1.0], 4):
        with pytest.raises(ConfigError):
            merge_slots(model, wrong)
    assert not layer.merged

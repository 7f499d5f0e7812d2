"""slot_weights and router_load: what reaches the layers, and that nothing stays behind."""

import pytest
import torch
from peft import get_peft_model
from torch import nn

from coin_lightning.adapters.moelora import MoELoraConfig, moelora_layers
from coin_lightning.adapters.routing import _COLLECTORS, _WEIGHTS, router_load, slot_weights, spread_weights
from coin_lightning.errors import ConfigError

E = 4


def _model(**settings):
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 5))
    common = {"r": 8, "alpha": 8, "num_experts": E, "dropout": 0.0, "target_modules": ["0", "2"], "init_weights": False}
    return get_peft_model(base, MoELoraConfig(**common | settings)).eval()


def means(load) -> dict[str, torch.Tensor]:
    """Mean gate per expert over all real tokens so far, by layer."""
    return {name: (total / count).float() for name, (total, count) in load.totals().items()}


def _by_hand(model, x, weights):
    """Each layer with its slots summed into one matrix per sample."""
    outputs = []
    for sample, row in zip(x, weights.expand(len(x), E), strict=True):
        for name, layer in moelora_layers(model).items():
            matrix = layer.weight + layer.delta_weight("default", row)
            sample = nn.functional.linear(sample, matrix, layer.bias)
            sample = sample.tanh() if name.endswith("0") else sample
        outputs.append(sample)
    return torch.stack(outputs)


@pytest.mark.parametrize("mixing", ["token", "given"])
@pytest.mark.parametrize(
    ("weights", "rows"),
    [
        (torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([[0.1, 0.2, 0.3, 0.4]])),
        (2, torch.tensor([[0.0, 0.0, 1.0, 0.0]])),
        (torch.tensor([3, 0]), torch.tensor([[0.0, 0, 0, 1], [1.0, 0, 0, 0]])),
        (torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 2.0, -1.0]]), torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 2.0, -1.0]])),
    ],
)
def test_given_weights_equal_the_merged_matrices(mixing, weights, rows):
    model, x = _model(mixing=mixing), torch.randn(2, 3, 6)
    with slot_weights(model, weights):
        out = model(x)
    torch.testing.assert_close(out, _by_hand(model, x, rows))
    assert not _WEIGHTS


def test_weights_per_layer_and_nested_blocks():
    model, x = _model(mixing="given"), torch.randn(2, 6)
    first, second = moelora_layers(model)
    with slot_weights(model, 0):
        all_zero = model(x)
        with slot_weights(model, {second: 1}):
            mixed = model(x)
        torch.testing.assert_close(model(x), all_zero)
    with slot_weights(model, {first: 0, second: 1}):
        torch.testing.assert_close(model(x), mixed)
    assert not torch.equal(all_zero, mixed)


def test_gradients_reach_the_one_who_made_the_weights():
    model, x = _model(mixing="given"), torch.randn(2, 3, 6)
    weights = torch.rand(2, E, requires_grad=True)
    with slot_weights(model, weights):
        model(x).square().sum().backward()
    fast, weights.grad = weights.grad, None
    _by_hand(model, x, weights).square().sum().backward()
    torch.testing.assert_close(fast, weights.grad)


def test_missing_or_misfit_weights_are_refused():
    model, x = _model(mixing="given"), torch.randn(2, 3, 6)
    with pytest.raises(ConfigError, match="open slot_weights"):
        model(x)
    with slot_weights(model, torch.rand(3, E)), pytest.raises(ConfigError, match=r"\[3, 4\] do not fit .*\[2, 3, 6\]"):
        model(x)
    with slot_weights(model, torch.rand(E + 1)), pytest.raises(ConfigError, match="5 slots"):
        model(x)
    with pytest.raises(ConfigError, match="0 to 3"), slot_weights(model, 4):
        pass
    with pytest.raises(ConfigError, match="no layer with slots is named 'nope'"), slot_weights(model, {"nope": 1}):
        pass
    with pytest.raises(ConfigError, match="has no layer with slots"), slot_weights(nn.Linear(2, 2), 1):
        pass
    assert not _WEIGHTS


def test_fixed_weights_of_the_config_serve_without_a_block():
    model, x = _model(mixing="given", fixed_weights=[1, 0, 0.5, 0]), torch.randn(2, 6)
    torch.testing.assert_close(model(x), _by_hand(model, x, torch.tensor([[1.0, 0, 0.5, 0]])))


def test_spread_weights_per_token_and_per_row():
    weights = torch.rand(2, 3, E)
    assert torch.equal(spread_weights(weights, torch.zeros(2, 3, 6)), weights.view(6, E))
    rows = torch.rand(5, E)
    assert torch.equal(spread_weights(rows, torch.zeros(5, 6)), rows)


def test_router_load_is_the_mean_gate_over_real_tokens():
    model, x = _model(), torch.randn(2, 3, 6)
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    first = next(iter(moelora_layers(model)))
    router = moelora_layers(model)[first].moelora_router["default"]
    gates = torch.softmax(x @ router.t(), -1)
    with router_load(model) as load:
        plain = model(x)
    torch.testing.assert_close(means(load)[first], gates.view(-1, E).mean(0))
    assert torch.equal(plain, model(x))
    with router_load(model, mask) as load:
        model(x)
        load.mask = torch.ones(2, 3)
        model(x[:, -1:])  # a generation step: last column of the mask
    wanted = (gates[mask.bool()].sum(0) + gates[:, -1].sum(0)) / (5 + 2)
    torch.testing.assert_close(means(load)[first], wanted)
    assert set(means(load)) == set(moelora_layers(model))
    torch.testing.assert_close(torch.stack(list(means(load).values())).sum(1), torch.ones(2))
    assert not _COLLECTORS
    with router_load(model, torch.ones(3, 3)), pytest.raises(ConfigError, match=r"mask \[3, 3\]"):
        model(x)

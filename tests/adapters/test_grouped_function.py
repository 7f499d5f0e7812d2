"""Layers on one input in one function against each layer by itself: values, gradients (float64), dtypes, states."""

import pytest
import torch
from torch.autograd import gradcheck

from coin_lightning.adapters.grouped_function import Bank, grouped_linears
from coin_lightning.adapters.moelora import MoELoraConfig
from coin_lightning.adapters.moelora.flags import flags_of
from coin_lightning.adapters.moelora.function import Branch, moe_branch

CPU = torch.device("cpu")
E, RANK, D_IN, WIDTHS = 4, 8, 5, (6, 3, 2)
STATES = {
    "plain": {},
    "inactive": {"active_slots": [0, 2]},
    "frozen": {"trainable_slots": [1, 3]},
    "groups": {"groups": [[0, 3], [1, 2]], "trainable_slots": [0]},
    "top_k": {"top_k": 2},
    "fixed": {"fixed_weights": [0.5, None, None, -1.0]},
}


def _banks(mixing="token", bias=True, dtype=torch.float64, **states):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape, learn=True):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(learn)

    x = draw(2, 7, D_IN)
    flags = flags_of(MoELoraConfig(r=RANK, num_experts=E, mixing=mixing, **states), CPU)
    banks = [
        Bank(
            draw(width, D_IN, learn=False),
            draw(width, learn=False) if bias else None,
            draw(RANK, D_IN),
            draw(RANK, width),
            draw(E, D_IN) if mixing == "token" else None,
            draw(14, E, learn=False) if mixing == "given" else None,
            scaling=1.7,
            flags=flags,
        )
        for width in WIDTHS
    ]
    return x, banks


def _alone(x, bank, dtype=torch.float64):
    base = torch.nn.functional.linear(x, bank.weight, bank.bias)
    branch = Branch(bank.scaling, dtype, flags=bank.flags)
    return moe_branch(base, x, bank.down, bank.up, router=bank.router, given=bank.given, branch=branch)


def _leaves(x, banks):
    return [x, *(tensor for bank in banks for tensor in (bank.down, bank.up, bank.router) if tensor is not None)]


def _compare(x, banks, alone):
    together, apart = grouped_linears(x, banks, x.dtype), [alone(x, bank) for bank in banks]
    torch.testing.assert_close(list(together), apart)
    weights = [torch.randn_like(out) for out in apart]
    leaves = _leaves(x, banks)
    for ours, theirs in zip(
        torch.autograd.grad(together, leaves, weights), torch.autograd.grad(apart, leaves, weights), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_values_and_gradients_are_those_of_each_layer_by_itself(state, bias):
    _compare(*_banks(bias=bias, **STATES[state]), _alone)


@pytest.mark.parametrize("state", ["plain", "inactive", "frozen"])
def test_given_weights_in_place_of_a_router(state):
    _compare(*_banks("given", **STATES[state]), _alone)


def test_without_slots_it_is_lora():
    x, banks = _banks()
    banks = [bank._replace(router=None) for bank in banks]
    assert {bank.slots for bank in banks} == {0}

    def lora(x, bank):
        return torch.nn.functional.linear(x, bank.weight, bank.bias) + 1.7 * (x @ bank.down.t()) @ bank.up

    _compare(x, banks, lora)


def test_numerical_gradients():
    x, banks = _banks()

    def outputs(x, *learned):
        parts = zip(banks, learned[::3], learned[1::3], learned[2::3], strict=True)
        return grouped_linears(x, [b._replace(down=a, up=u, router=r) for b, a, u, r in parts], torch.float64)

    assert gradcheck(outputs, _leaves(x, banks))


def test_frozen_slots_get_exactly_zero():
    x, banks = _banks(trainable_slots=[1])
    sum(out.square().sum() for out in grouped_linears(x, banks, torch.float64)).backward()
    for bank in banks:
        assert bank.down.grad[2:4].any()
        assert not bank.down.grad[:2].any()
        assert not bank.up.grad[4:].any()
        assert not bank.router.grad[[0, 2, 3]].any()


def test_one_layer_is_a_group_too_and_an_output_that_nobody_uses_counts_as_zero():
    x, banks = _banks()
    _compare(x, banks[:1], _alone)
    first, *_ = grouped_linears(x, banks, torch.float64)
    first.sum().backward()
    assert banks[0].up.grad.any()
    assert not banks[1].up.grad.any()


def test_the_router_decides_in_float32_and_gradients_keep_the_dtype_of_their_tensor():
    x, banks = _banks(dtype=torch.float32)
    seen = []
    x = x.detach().bfloat16().requires_grad_()
    banks = [bank._replace(weight=bank.weight.bfloat16(), bias=None, sink=seen.append) for bank in banks]
    outs = grouped_linears(x, banks, torch.bfloat16)
    assert {out.dtype for out in outs} == {torch.bfloat16}
    assert [gates.shape for gates in seen] == [(14, E)] * 3
    for gates, bank in zip(seen, banks, strict=True):
        torch.testing.assert_close(gates, torch.softmax(x.detach().float().flatten(0, 1) @ bank.router.t(), -1))
    grads = torch.autograd.grad(sum(out.float().sum() for out in outs), _leaves(x, banks))
    assert [grad.dtype for grad in grads] == [torch.bfloat16] + [torch.float32] * 9


def test_no_gradient_of_an_input_that_needs_none():
    x, banks = _banks()
    outs = grouped_linears(x.detach(), banks, torch.float64)
    sum(out.sum() for out in outs).backward()
    assert all(bank.down.grad is not None for bank in banks)


def test_differentiating_twice_raises():
    x, banks = _banks()
    (grad,) = torch.autograd.grad(grouped_linears(x, banks, torch.float64)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize(
    "other",
    [
        {"scaling": 2.0},
        {"router": None},
        {"router": torch.zeros(2, D_IN)},
        {"down": torch.zeros(4, D_IN)},
        {"flags": flags_of(MoELoraConfig(r=RANK, num_experts=E, top_k=1), CPU)},
    ],
)
def test_unlike_layers_do_not_fit(other):
    _, (first, second, _) = _banks()
    assert second.fits(first)
    assert not second._replace(**other).fits(first)

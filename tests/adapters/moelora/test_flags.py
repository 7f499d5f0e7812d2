"""Slots of unlike ranks and states: values and gradients against the slow loop over slots, alone and together."""

import pytest
import torch
from peft import get_peft_model
from torch import nn
from torch.autograd import gradcheck

from coin_lightning.adapters.moelora import MoELoraConfig, moelora_layers
from coin_lightning.adapters.moelora.flags import PLAIN, flags_of
from coin_lightning.adapters.moelora.function import Branch, moe_branch
from coin_lightning.adapters.routing import router_load

CPU = torch.device("cpu")
D_IN, D_OUT, TOKENS = 5, 4, 9
RANKS = [2, 1, 3, 1, 2]
STATES = {
    "ranks": {},
    "top_1": {"top_k": 1},
    "top_2": {"top_k": 2},
    "top_2, two off": {"top_k": 2, "active_slots": [0, 2, 4]},
    "fixed": {"fixed_weights": [None, 1.5, None, None, -0.5]},
    "fixed and off": {"fixed_weights": [None, 1.5, None, 2.0, None], "active_slots": [0, 1, 2, 4]},
    "two groups": {"groups": [[0, 3], [1, 2, 4]]},
    "groups, top_1": {"groups": [[0, 3], [1, 2, 4]], "top_k": 1},
    "one group, one fixed": {"groups": [[0, 1, 2, 4]], "fixed_weights": [None, None, None, 0.25, None]},
    "a group that is off": {"groups": [[0, 3], [1, 2, 4]], "active_slots": [1, 2, 4]},
    "everything": {"groups": [[3, 0], [4, 1, 2]], "top_k": 2, "fixed_weights": [None, None, None, 3.0, None],
                   "active_slots": [0, 1, 3, 4]},
}  # fmt: skip
LOOP = {"active_slots": "active", "fixed_weights": "fixed", "groups": "groups", "top_k": "top_k"}


def _leaves(ranks):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    mask = torch.rand(TOKENS, D_IN, generator=generator) < 0.7
    total = sum(ranks)
    return [draw(3, 3, D_OUT), draw(3, 3, D_IN), draw(total, D_IN), draw(total, D_OUT), draw(len(ranks), D_IN)], mask


@pytest.mark.parametrize("ranks", [RANKS, [2] * 5], ids=["unlike", "equal"])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_values_and_all_gradients_equal_the_loop(state, dropout, ranks, loop_branch):
    leaves, mask = _leaves(ranks)
    config = MoELoraConfig(r=sum(ranks), num_experts=len(ranks), ranks=ranks, **STATES[state])
    keep, mask = (0.7, mask) if dropout else (1.0, None)
    branch = Branch(scaling=1.7, dtype=torch.float64, keep=keep, flags=flags_of(config, CPU))

    def ours(*tensors):
        return moe_branch(*tensors[:4], router=tensors[4], mask=mask, branch=branch)

    flags = {LOOP[name]: value for name, value in STATES[state].items()}
    slow = loop_branch(*leaves[:4], router=leaves[4], ranks=ranks, scaling=1.7, mask=mask, keep=keep, **flags)
    fast = ours(*leaves)
    torch.testing.assert_close(fast, slow)
    weight = torch.randn_like(fast)
    grads = torch.autograd.grad(fast, leaves, weight), torch.autograd.grad(slow, leaves, weight)
    for mine, loop in zip(*grads, strict=True):
        torch.testing.assert_close(mine, loop)
    assert gradcheck(ours, leaves)


@pytest.mark.parametrize("given", [True, False])
def test_frozen_slots_of_unlike_ranks_get_exactly_zero(given):
    leaves, _ = _leaves(RANKS)
    config = MoELoraConfig(r=sum(RANKS), num_experts=5, ranks=RANKS, trainable_slots=[1, 2])
    gate = {"given": torch.randn(TOKENS, 5, dtype=torch.float64)} if given else {"router": leaves[4]}
    used = leaves[2:4] if given else leaves[2:]
    grads = []
    for flags in (flags_of(MoELoraConfig(r=9, num_experts=5, ranks=RANKS), CPU), flags_of(config, CPU)):
        branch = Branch(scaling=1.0, dtype=torch.float64, flags=flags)
        grads.append(torch.autograd.grad(moe_branch(*leaves[:4], **gate, branch=branch).square().sum(), used))
    for name, free, held in zip(("a", "b", "router"), *grads, strict=False):
        rows = slice(1, 3) if name == "router" else slice(2, 6)  # ranks 2 | 1, 3 | 1, 2
        torch.testing.assert_close(held[rows], free[rows])
        held[rows] = 0
        assert not held.any()


def test_a_plain_bank_pays_for_no_state():
    assert flags_of(MoELoraConfig(), CPU) is PLAIN
    assert flags_of(MoELoraConfig(ranks=[16] * 8), CPU) is PLAIN


def test_hand_worked_gates():
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).log1p()  # exp: 1, 2, 3, 4
    config = MoELoraConfig(r=4, num_experts=4, groups=[[0, 1, 2], [3]], top_k=2)
    routing = flags_of(config, CPU).routing
    torch.testing.assert_close(routing.gates(logits), torch.tensor([[0.0, 2 / 5, 3 / 5, 1.0]]))
    config = MoELoraConfig(r=4, num_experts=4, fixed_weights=[None, 0.5, None, None], active_slots=[0, 1, 3])
    routing = flags_of(config, CPU).routing
    torch.testing.assert_close(routing.gates(logits), torch.tensor([[1 / 5, 0.5, 0.0, 4 / 5]]))


def test_flags_first_asked_for_in_inference_mode_serve_training():
    config = MoELoraConfig(r=6, num_experts=3, top_k=2, dropout=0.0, target_modules=["0"], init_weights=False)
    model = get_peft_model(nn.Sequential(nn.Linear(7, 3)), config)
    with torch.inference_mode():
        model(torch.randn(2, 7))
    model(torch.randn(2, 7)).sum().backward()
    (layer,) = moelora_layers(model).values()
    assert layer.moelora_router["default"].grad.any()


def test_of_a_token_router_with_top_2_two_slots_take_part_in_each_token():
    config = MoELoraConfig(r=8, num_experts=4, top_k=2, dropout=0.0, target_modules=["0"], init_weights=False)
    model = get_peft_model(nn.Sequential(nn.Linear(7, 3)), config)
    for token in torch.randn(6, 7):
        with router_load(model) as load:
            model(token[None])
        ((gates, _),) = load.totals().values()
        assert (gates > 0).sum() == 2
        assert gates.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("experts", [(2, 8, 32)])
def test_the_number_of_operations_does_not_grow_with_slots_or_groups(experts, count_operations):
    counts = []
    for number in experts:
        groups = [list(range(number // 2)), list(range(number // 2, number))]
        ranks = [1] * (number - 1) + [2]
        config = MoELoraConfig(r=number + 1, num_experts=number, ranks=ranks, groups=groups, top_k=1)
        a, b = torch.randn(number + 1, 8, requires_grad=True), torch.randn(number + 1, 4, requires_grad=True)
        x, router = torch.randn(6, 8, requires_grad=True), torch.randn(number, 8, requires_grad=True)
        branch = Branch(1.0, torch.float32, flags=flags_of(config, CPU))
        with count_operations() as operations:
            moe_branch(torch.zeros(6, 4), x, a, b, router=router, branch=branch).sum().backward()
        counts.append(operations.count)
    assert len(set(counts[1:])) == 1  # of two slots in two groups top_k leaves nothing to choose

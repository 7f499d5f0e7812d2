"""MoEBranch against the slow loop over experts: values, gradients (float64), dtypes, what it keeps."""

import pytest
import torch
from torch.autograd import gradcheck

from coin_lightning.adapters.moelora import MoELoraConfig
from coin_lightning.adapters.moelora.flags import PLAIN, flags_of
from coin_lightning.adapters.moelora.function import Branch, moe_branch

CPU = torch.device("cpu")
E, K, D_IN, D_OUT, ROWS = 3, 2, 5, 4, 6


def _tensors(shared: bool = False, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    leaves = {"base": draw(2, 3, D_OUT), "x": draw(2, 3, D_IN), "a": draw(K if shared else E * K, D_IN)}
    leaves |= {"b": draw(E * K, D_OUT), "router": draw(E, D_IN), "given": draw(ROWS, E)}
    mask = torch.rand(ROWS, D_IN, generator=generator) < 0.7
    return leaves, mask


@pytest.mark.parametrize("mixing", ["router", "given"])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("inactive", [None, [1]])
@pytest.mark.parametrize("shared", [False, True])
def test_values_and_all_gradients_equal_the_loop(mixing, dropout, inactive, shared, loop_branch):
    leaves, mask = _tensors(shared)
    used = [leaves[name] for name in ("base", "x", "a", "b", mixing)]
    active = None if inactive is None else [e for e in range(E) if e not in inactive]
    flags = flags_of(MoELoraConfig(r=E * K, num_experts=E, active_slots=active), CPU)
    branch = Branch(scaling=1.7, dtype=torch.float64, keep=0.7 if dropout else 1.0, flags=flags)
    rest = {"mask": mask if dropout else None}

    def ours(base, x, a, b, gate):
        return moe_branch(base, x, a, b, **{mixing: gate}, **rest, branch=branch)

    fast = ours(*used)
    kinds = {"ranks": [K] * E, "scaling": 1.7, "active": active, "keep": branch.keep, mixing: used[4]}
    slow = loop_branch(*used[:4], **kinds, **rest)
    torch.testing.assert_close(fast, slow)
    weight = torch.randn_like(fast)
    for ours_grad, loop_grad in zip(
        torch.autograd.grad(fast, used, weight), torch.autograd.grad(slow, used, weight), strict=True
    ):
        torch.testing.assert_close(ours_grad, loop_grad)
    assert gradcheck(ours, used)


@pytest.mark.parametrize("dropout", [False, True])
def test_frozen_slots_get_exactly_zero_and_the_others_the_same_gradient(dropout):
    leaves, mask = _tensors()
    used = [leaves[name] for name in ("base", "x", "a", "b", "router")]
    frozen = flags_of(MoELoraConfig(r=E * K, num_experts=E, trainable_slots=[1]), CPU)
    branch = Branch(scaling=1.0, dtype=torch.float64, keep=0.7 if dropout else 1.0)
    grads = []
    for flags in (PLAIN, frozen):
        branch = branch._replace(flags=flags)
        out = moe_branch(*used[:4], router=used[4], mask=mask if dropout else None, branch=branch)
        grads.append(torch.autograd.grad(out.square().sum(), used))
    for name, free, held in zip(("base", "x", "a", "b", "router"), *grads, strict=True):
        if name in ("base", "x"):
            torch.testing.assert_close(held, free)
        else:
            size = 1 if name == "router" else K
            assert torch.count_nonzero(held[:size]) == torch.count_nonzero(held[2 * size :]) == 0
            torch.testing.assert_close(held[size : 2 * size], free[size : 2 * size])


@pytest.mark.parametrize("needed", ["x", "a", "b", "router", "base"])
@pytest.mark.parametrize("dropout", [False, True])
def test_each_gradient_alone_is_the_same(needed, dropout):
    leaves, mask = _tensors()
    branch = Branch(scaling=1.0, dtype=torch.float64, keep=0.7 if dropout else 1.0)
    names = ("base", "x", "a", "b", "router")

    def run(wanted):
        given = {name: leaves[name].detach().requires_grad_(name in wanted) for name in names}
        out = moe_branch(
            *(given[n] for n in names[:4]), router=given["router"], branch=branch, mask=mask if dropout else None
        )
        out.square().sum().backward()
        return given[needed].grad

    torch.testing.assert_close(run({needed}), run(set(names)))


def test_hand_worked_value():
    # E=2, k=1, x=(1, 0): low = (2, 3); equal logits give gates 1/2; scaling 4; B rows (1, 10)
    a = torch.tensor([[2.0, 9.0], [3.0, 9.0]])
    b = torch.tensor([[1.0], [10.0]])
    out = moe_branch(
        torch.tensor([[100.0]]),
        torch.tensor([[1.0, 0.0]]),
        a,
        b,
        router=torch.zeros(2, 2),
        branch=Branch(4.0, torch.float32),
    )
    assert out.item() == 100 + 4 * (0.5 * 2 * 1 + 0.5 * 3 * 10)


def test_differentiating_twice_raises():
    leaves, _ = _tensors()
    branch = Branch(scaling=1.0, dtype=torch.float64)
    out = moe_branch(leaves["base"], leaves["x"], leaves["a"], leaves["b"], router=leaves["router"], branch=branch)
    (grad,) = torch.autograd.grad(out.square().sum(), leaves["a"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_router_decides_in_fp32_when_products_are_bf16():
    torch.manual_seed(0)
    x, router = torch.randn(64, 32).bfloat16(), torch.randn(4, 32)
    seen = []
    branch = Branch(scaling=1.0, dtype=torch.bfloat16, sink=seen.append)
    a, b = torch.randn(8, 32), torch.randn(8, 8)
    out = moe_branch(torch.zeros(64, 8, dtype=torch.bfloat16), x, a, b, router=router, branch=branch)
    assert out.dtype == torch.bfloat16
    assert seen[0].dtype == torch.float32
    torch.testing.assert_close(seen[0], torch.softmax(x.float() @ router.t(), -1))
    rounded = torch.softmax((x @ router.bfloat16().t()).float(), -1)
    assert (seen[0] - rounded).abs().max() > 1e-4  # what a bf16 router would have decided


def test_gradients_keep_the_dtype_of_their_tensor_under_mixed_precision():
    x = torch.randn(6, 8, dtype=torch.bfloat16, requires_grad=True)
    base = torch.randn(6, 4, dtype=torch.bfloat16, requires_grad=True)
    a, b, router = (torch.randn(*s, requires_grad=True) for s in ((6, 8), (6, 4), (2, 8)))
    for dtype in (torch.float32, torch.bfloat16):
        out = moe_branch(base, x, a, b, router=router, branch=Branch(1.0, dtype))
        assert out.dtype == torch.bfloat16
        grads = torch.autograd.grad(out.float().sum(), [base, x, a, b, router])
        assert [g.dtype for g in grads] == [torch.bfloat16] * 2 + [torch.float32] * 3


def test_number_of_operations_does_not_grow_with_the_experts(count_operations):
    counts = []
    for experts in (2, 8, 32):
        x = torch.randn(6, 8, requires_grad=True)
        a, b, router = (torch.randn(experts, *s, requires_grad=True) for s in ((8,), (4,), (8,)))
        with count_operations() as operations:
            moe_branch(torch.zeros(6, 4), x, a, b, router=router, branch=Branch(1.0, torch.float32)).sum().backward()
        counts.append(operations.count)
    assert counts[0] == counts[1] == counts[2]


def test_nothing_d_out_wide_and_no_expert_copies_are_kept():
    rows, d_in, d_out, experts, rank = 50, 16, 24, 4, 8
    x = torch.randn(rows, d_in, requires_grad=True)
    a, b = torch.randn(rank, d_in, requires_grad=True), torch.randn(rank, d_out)
    router, base = torch.randn(experts, d_in), torch.randn(rows, d_out, requires_grad=True)
    kept = {}
    known = {t.untyped_storage().data_ptr() for t in (x, a, b, router)}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = moe_branch(base, x, a, b, router=router, branch=Branch(1.0, torch.float32))
    assert out.shape == (rows, d_out)
    assert sum(kept.values()) == rows * (rank + experts) * 4  # LoRA keeps rows * rank; the gates come on top

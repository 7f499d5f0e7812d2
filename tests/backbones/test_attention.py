"""Our causal attention against the formula in float64, and when it is used."""

import pytest
import torch

from coin_lightning.backbones import attention, tiny
from coin_lightning.backbones.attention import CausalAttention, use_cpu_training_attention


def direct(q, k, v, scale):
    """Row by row: softmax over the tokens so far; head h reads key head h // group."""
    group, out = q.shape[1] // k.shape[1], []
    for head in range(q.shape[1]):
        rows = []
        for at in range(q.shape[2]):
            scores = (k[:, head // group, : at + 1] @ q[:, head, at, :, None]).squeeze(-1) * scale
            rows.append((scores.softmax(-1).unsqueeze(1) @ v[:, head // group, : at + 1]).squeeze(1))
        out.append(torch.stack(rows, 1))
    return torch.stack(out, 1)


def tensors(dtype, heads=6, keys=2, length=7):
    torch.manual_seed(0)
    shapes = [(3, heads, length, 8), (3, keys, length, 8), (3, keys, length, 8)]
    # stored as [n, l, h, d], as the model's projections give them
    return [torch.randn(n, m, h, d, dtype=dtype).transpose(1, 2).requires_grad_() for n, h, m, d in shapes]


@pytest.mark.parametrize("keys", [1, 2, 6])
def test_values_and_gradients_equal_the_formula(keys):
    ours = tensors(torch.float64, keys=keys)
    exact = [tensor.detach().clone().requires_grad_() for tensor in ours]
    grad = torch.randn(3, 6, 7, 8, dtype=torch.float64)
    found, wanted = CausalAttention.apply(*ours, 0.3), direct(*exact, 0.3)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)  # scores are float32
    for low, high in zip(torch.autograd.grad(found, ours, grad), torch.autograd.grad(wanted, exact, grad), strict=True):
        torch.testing.assert_close(low, high, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_as_near_as_pytorchs_own():
    ours = tensors(torch.bfloat16, length=40)
    exact = [tensor.detach().double().requires_grad_() for tensor in ours]
    grad = torch.randn(3, 6, 40, 8)
    wanted = torch.autograd.grad(direct(*exact, 0.3), exact, grad.double())
    with torch.autocast("cpu", torch.bfloat16):
        mine = torch.autograd.grad(CausalAttention.apply(*ours, 0.3), ours, grad.bfloat16())
    stock = torch.nn.functional.scaled_dot_product_attention(*ours, is_causal=True, scale=0.3, enable_gqa=True)
    theirs = torch.autograd.grad(stock, ours, grad.bfloat16())
    for name, a, b, c in zip("qkv", mine, theirs, wanted, strict=True):
        error, reference = (a - c).norm() / c.norm(), (b - c).norm() / c.norm()
        assert error < max(1.5 * reference, 0.005), name


def test_a_model_trains_with_it_in_bfloat16_without_a_mask_and_else_with_pytorchs(monkeypatch):
    calls = []
    apply = CausalAttention.apply
    monkeypatch.setattr(attention.CausalAttention, "apply", lambda *args: calls.append(args[0].shape) or apply(*args))
    backbone = tiny.load(dtype="bfloat16")
    model = backbone.core.language_model
    backbone.model.get_input_embeddings().weight.requires_grad_(True)
    ids = torch.arange(5, 23).view(2, 9)
    stock = backbone.hidden_states(ids)
    use_cpu_training_attention(model)
    ours = backbone.hidden_states(ids)
    assert calls == [(2, 4, 9, 8)] * 2  # two layers
    torch.testing.assert_close(ours, stock, rtol=0.05, atol=0.05)
    with torch.no_grad():
        assert torch.equal(backbone.hidden_states(ids), stock)  # answering is PyTorch's
    mask = torch.tensor([[0] * 3 + [1] * 6, [1] * 9])
    model(input_ids=ids, attention_mask=mask, use_cache=False)
    model.float()
    backbone.hidden_states(ids)
    assert len(calls) == 2

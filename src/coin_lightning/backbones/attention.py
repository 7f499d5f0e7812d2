"""Causal attention for training in bfloat16 on a CPU, where PyTorch's own backward pass is the slowest part of a step.

On a CPU `scaled_dot_product_attention` spends about 15 ms on the backward pass of what the products behind it do in 3
(torch 2.13, bfloat16, 8 rows of 80 tokens). Everything else (other devices and dtypes, masks, generation) goes to
PyTorch's.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "sdpa_cpu_training"
LONGEST = 320
"""Longer rows keep PyTorch's way: ours stores the probabilities, whose number grows with the square."""


class CausalAttention(torch.autograd.Function):
    """softmax(scale * q k^T, causal) v with grouped heads; scores and softmax in float32, all else in the dtype of q.

    `q [n, h, l, d]`, `k` and `v [n, g, l, d]` with g a divisor of h; gives `[n, h, l, d]`. Kept for backward: q, k,
    v, probabilities.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """The heads of a group are stacked along the rows, so that keys and values are never repeated."""
        (n, h, length, d), g = q.shape, k.shape[1]
        rows, k, v = q.reshape(n * g, -1, d), k.reshape(n * g, length, d), v.reshape(n * g, length, d)
        with torch.autocast(q.device.type, enabled=False):
            scores = torch.bmm(rows.float(), k.float().transpose(1, 2)).view(-1, h // g, length, length)
            later = torch.ones(length, length, dtype=torch.bool, device=q.device).triu_(1)
            scores = scores.mul_(scale).masked_fill_(later, float("-inf"))
            weights = scores.softmax(-1).to(q.dtype).view(n * g, -1, length)
            out = torch.bmm(weights, v)
        ctx.save_for_backward(rows, k, v, weights)
        ctx.scale, ctx.shapes = scale, (q.shape, (n, g, length, d))
        return out.view(q.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of q, k and v."""
        rows, k, v, weights = ctx.saved_tensors
        q_shape, k_shape = ctx.shapes
        with torch.autocast(grad.device.type, enabled=False):
            grad = grad.reshape(rows.shape)
            grad_weights = torch.bmm(grad, v.transpose(1, 2))
            grad_v = torch.bmm(weights.transpose(1, 2), grad)
            # where a weight is 0, as for all later tokens, so is its gradient
            scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            grad_q = torch.bmm(scores, k).mul_(ctx.scale)
            grad_k = torch.bmm(scores.transpose(1, 2), rows).mul_(ctx.scale)
        return grad_q.view(q_shape), grad_k.view(k_shape), grad_v.view(k_shape), None


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: `[n, h, l, d]` in, `[n, l, h, d]` out."""
    ours = (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and torch.is_grad_enabled()
        and attention_mask is None
        and dropout == 0.0
        and query.shape[2] == key.shape[2] <= LONGEST
    )
    if not ours:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    return CausalAttention.apply(query, key, value, scaling).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attention_forward)
AttentionMaskInterface.register(NAME, sdpa_mask)


def use_cpu_training_attention(language_model: Any) -> None:
    """Let a causal language model of transformers train with it; needs one that runs on `sdpa`."""
    if language_model.config._attn_implementation == "sdpa":
        language_model.set_attn_implementation(NAME)

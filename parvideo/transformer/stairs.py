"""Attention for training on a CPU in bfloat16: matrix products, one clip and one run of queries at a time.

PyTorch's own attention on a CPU hardly gains from a processor's bfloat16 instructions; its matrix products
do. The scores of one clip's run of queries stay in the cache, and the backward pass computes them again, so
memory does not grow with the square of the sequence's length.
"""

import math
from typing import Any

import torch
from torch import Tensor

STAIR = 128
"""Queries that are taken at once: few enough to skip much that no query sees, enough for a matrix product."""


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16; without, float32 is as fast or faster."""
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return False


def attend_stair(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Scaled dot-product attention of ``[B, heads, Q, d]`` over ``[B, heads, K, d]``, with its gradients.

    Scores are rounded to the inputs' precision: the error is at most twice that of PyTorch's attention on
    the same inputs (tests/transformer/test_stairs.py).

    Args:
        bias: ``[Q, K]``, added to the scores: 0 where a query sees a key, else minus infinity; each query
            sees at least one.
    """
    out: Tensor = _Stair.apply(queries, keys, values, bias)
    return out


class _Stair(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        out = torch.empty_like(queries)
        for q, k, v, o in zip(queries, keys, values, out, strict=True):
            torch.matmul(_probabilities(q, k, bias), v, out=o)
        ctx.save_for_backward(queries, keys, values, bias)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, bias = ctx.saved_tensors
        (gradient,) = gradients
        scale = 1 / math.sqrt(queries.shape[-1])
        into = [torch.empty_like(tensor) for tensor in (queries, keys, values)]
        for q, k, v, g, dq, dk, dv in zip(queries, keys, values, gradient, *into, strict=True):
            p = _probabilities(q, k, bias)
            torch.matmul(p.mT, g, out=dv)
            ds = torch.ops.aten._softmax_backward_data(g @ v.mT, p, -1, p.dtype)
            torch.mul(ds @ k, scale, out=dq)
            torch.mul(ds.mT @ q, scale, out=dk)
        return *into, None


def _probabilities(queries: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
    """Softmax of the scores ``[heads, Q, K]`` of one clip."""
    scores = torch.baddbmm(bias.expand(len(queries), -1, -1), queries / math.sqrt(queries.shape[-1]), keys.mT)
    return scores.softmax(-1)

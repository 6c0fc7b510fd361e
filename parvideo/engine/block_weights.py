"""A transformer block's weights as the decode engine uses them: packed, with the norms' gains folded in."""

import math

import torch
from torch import Tensor, nn

from parvideo.engine.packed import DecodeLinear, GatedLinear
from parvideo.transformer.blocks import TransformerBlock


class LayerWeights:
    """One block's weights.

    The gain of a norm and the square root of the width multiply the columns of the matrix that follows, so
    that the norm itself is a division by a length (`normalize`), three operations instead of seven: between
    matrix products each small operation costs some 10 microseconds, for its code is no longer in the cache.

    They are copies: what later happens to the block's own is not seen here.

    Args:
        block: of the transformer.
        dtype: to compute in.
        packed: see `DecodeLinear`.
    """

    def __init__(self, block: TransformerBlock, dtype: torch.dtype, packed: bool) -> None:
        attention, ffn = block.attention, block.ffn
        self.qkv = DecodeLinear(fold(attention.qkv.weight, block.attention_norm).to(dtype), packed)
        self.qk_norm = (
            (
                attention.query_norm.weight.to(dtype, copy=True),
                attention.key_norm.weight.to(dtype, copy=True),
            )
            if isinstance(attention.query_norm, nn.RMSNorm) and isinstance(attention.key_norm, nn.RMSNorm)
            else None
        )
        self.out = DecodeLinear(attention.out.weight.to(dtype, copy=not packed), packed)
        gate, up = (fold(part.weight, block.ffn_norm).to(dtype) for part in (ffn.gate, ffn.up))
        self.gated = GatedLinear(gate, up, packed)
        self.down = DecodeLinear(ffn.down.weight.to(dtype, copy=not packed), packed)


def fold(weight: Tensor, norm: nn.RMSNorm) -> Tensor:
    """``weight`` ``[out, in]`` times the gain of the norm before it and the root of the width, float32."""
    return weight.float() * (norm.weight.float() * math.sqrt(weight.shape[1]))


def normalize(x: Tensor, length: Tensor) -> Tensor:
    """Rows ``[M, dim]`` divided by ``sqrt(|row|² + dim · eps)``, in ``x``'s dtype, computed in float32.

    Args:
        x: rows.
        length: the scalar ``sqrt(dim · eps)``.
    """
    norms = torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32), length)
    return torch.div(x, norms, out=torch.empty_like(x))

"""A layer of a static step in two pieces around attention, which a compiler can turn into few kernels.

Written in real numbers and without views of complex ones, which Inductor leaves alone; `parvideo.engine.base`
has the same arithmetic for kernels as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.engine.packed import LayerWeights


class LayerShape(NamedTuple):
    """Sizes of a layer: query heads, key heads, width of a head, and the norms' epsilon."""

    heads: int
    kv_heads: int
    head_dim: int
    eps: float


def before_attention(
    x: Tensor,
    length: Tensor,
    weight: Tensor,
    gains: tuple[Tensor, Tensor] | None,
    turns: Tensor,
    slots: Tensor,
    cache: Tensor,
    shape: LayerShape,
) -> Tensor:
    """Norm, queries, keys and values, turned; keys and values go into the cache.

    Args:
        x: the residual stream, ``[R·S, dim]``.
        length: the scalar ``sqrt(dim · eps)``.
        weight: of queries, keys and values, ``[(heads + 2 · kv_heads) · d, dim]``, the norm's gain within.
        gains: of the norms of queries and keys, ``[d]`` each, if there are such.
        turns: cosine and sine, float32 ``[S, heads + 2 · kv_heads, d / 2, 2]``.
        slots: of the step, int64 ``[S]``.
        cache: keys and values, ``[2, R, kv_heads, N, d]``; written at ``slots``.
        shape: of the layer.

    Returns:
        queries ``[R, S, heads, d]`` in the cache's dtype, divided by the square root of d.
    """
    count = shape.heads + 2 * shape.kv_heads
    heads = F.linear(normalized(x, length), weight).view(-1, len(slots), count, shape.head_dim)
    queries, keys, values = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=2)
    if gains is not None:
        queries = F.rms_norm(queries, (shape.head_dim,), gains[0], shape.eps)
        keys = F.rms_norm(keys, (shape.head_dim,), gains[1], shape.eps)
    query_turns, key_turns, _ = turns.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
    keys = turned(keys, key_turns).to(cache.dtype)
    new = torch.stack([keys, values.to(cache.dtype)]).transpose(2, 3)  # [2, R, kv_heads, S, d]
    cache.index_copy_(3, slots, new)
    return turned(queries, query_turns).to(cache.dtype)


def after_attention(
    x: Tensor, attended: Tensor, length: Tensor, out: Tensor, gate_up: Tensor, down: Tensor
) -> Tensor:
    """What attention gave ``[R·S, dim]`` goes into the stream ``[R·S, dim]``; then feed-forward."""
    x = x + F.linear(attended, out)
    gate, up = F.linear(normalized(x, length), gate_up).chunk(2, dim=-1)
    return x + F.linear(F.silu(gate) * up, down)


def normalized(x: Tensor, length: Tensor) -> Tensor:
    """`parvideo.engine.packed.normalize` for a compiler: rows divided by ``sqrt(|row|² + dim · eps)``."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().sum(dim=-1, keepdim=True) + length.square())).to(x.dtype)


def turned(heads: Tensor, turns: Tensor) -> Tensor:
    """Heads ``[R, S, H, d]``, of which neighbours are pairs, turned by ``[S, H, d / 2, 2]``: float32."""
    a, b = heads.float().unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = turns.unbind(-1)
    return torch.stack([a * cosine - b * sine, a * sine + b * cosine], dim=-1).flatten(-2)


@dataclass(frozen=True)
class CompiledPieces:
    """The two pieces of a layer, compiled for each shape they meet.

    Args:
        backend: of torch.compile, such as ``inductor``.
    """

    backend: str

    def __post_init__(self) -> None:
        compile_: Callable[..., Any] = torch.compile
        for piece in (before_attention, after_attention):
            made = compile_(piece, backend=self.backend, fullgraph=True, dynamic=False)
            object.__setattr__(self, f"_{piece.__name__}", made)

    def before(
        self,
        layer: LayerWeights,
        x: Tensor,
        length: Tensor,
        turns: Tensor,
        slots: Tensor,
        cache: Tensor,
        shape: LayerShape,
    ) -> Tensor:
        """`before_attention` with a layer's weights."""
        piece: Any = self._before_attention  # type: ignore[attr-defined]
        return piece(x, length, layer.qkv.weight, layer.qk_norm, turns, slots, cache, shape)

    def after(self, layer: LayerWeights, x: Tensor, attended: Tensor, length: Tensor) -> Tensor:
        """`after_attention` with a layer's weights."""
        piece: Any = self._after_attention  # type: ignore[attr-defined]
        return piece(x, attended, length, layer.out.weight, layer.gated.both.weight, layer.down.weight)

"""Attention of a decode step, in the several ways in which a CPU can compute it.

Each takes the queries, keys and values of a step's slots, turns queries and keys, adds keys and values to
the cache, and attends to all of it up to the step's last slot. `parvideo.engine.selection` finds the fastest
by timing.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.engine.native import HEAD_DIMS, NativeKernels

SDPA, QUERIES_LEFT, KEYS_LEFT, NATIVE = "SDPA", "queries left", "keys left", "native"
WAYS = (SDPA, QUERIES_LEFT, KEYS_LEFT, NATIVE)
"""PyTorch's own function; two batched products and a softmax in place, the first with the queries or with
the keys as its left-hand side; `parvideo.engine.native`'s."""
SCORES = 1 << 18
"""Attention scores held at a time, unless one row's heads need more; they should stay in the CPU's cache."""


@dataclass
class Space:
    """Memory for attention scores, allocated once a run: ``[numbers]`` in the engine's dtype.

    Attributes:
        scores: as softmax takes them.
        turned: as a product with the keys on the left gives them.
    """

    scores: Tensor
    turned: Tensor


class Attention:
    """Attention of heads of one shape.

    Args:
        heads: query heads.
        kv_heads: key and value heads.
        head_dim: width of each.
        dtype: of the cache, float32 or bfloat16.
        native: our own kernels, where they can be had.
    """

    def __init__(
        self, heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype, native: NativeKernels | None
    ) -> None:
        self.heads, self.kv_heads, self.head_dim, self.dtype = heads, kv_heads, head_dim, dtype
        self.native = native if head_dim in HEAD_DIMS else None

    def ways(self) -> list[str]:
        """Those of `WAYS` that can be had here."""
        return [way for way in WAYS if way != NATIVE or self.native is not None]

    def space(self, count: int, slots: int) -> Space:
        """Memory for steps of ``count`` slots over ``slots`` slots."""
        scores = torch.empty(max(SCORES, self.heads // self.kv_heads * count * slots), dtype=self.dtype)
        return Space(scores, torch.empty_like(scores))

    def __call__(
        self, way: str, heads: Tensor, rotary: Tensor, cache: Tensor, start: int, causal: bool, space: Space
    ) -> Tensor:
        """Attend, and fill the cache.

        Args:
            way: one of `ways`.
            heads: ``[R, S, heads + 2 · kv_heads, d]``, not turned; may be overwritten.
            rotary: complex ``[S, heads + 2 · kv_heads, d / 2]``; the turns of queries carry 1 / sqrt(d).
            cache: keys and values ``[2, R, kv_heads, N, d]``.
            start: the first of the S slots.
            causal: of the step's own slots, a query sees those up to its own; else all.
            space: see `space`.

        Returns:
            ``[R·S, heads · d]``.
        """
        if way == NATIVE:
            assert self.native is not None
            return self.native.attend(heads, rotary, cache[0], cache[1], start, causal)
        count = heads.shape[1]
        stop = start + count
        heads = turn(heads, rotary)
        cache[:, :, :, start:stop] = self.new_cache(heads)
        queries = heads[:, :, : self.heads]
        unseen = None
        if causal and count > 1:
            unseen = torch.ones(count, count, dtype=torch.bool).triu(1)
        if way == SDPA:
            return self._sdpa(queries, cache[:, :, :, :stop], unseen)
        return self._products(queries, cache, stop, unseen, space, way == KEYS_LEFT)

    def new_cache(self, heads: Tensor) -> Tensor:
        """The keys and values among ``heads``, as the cache has them: ``[2, R, kv_heads, S, d]``."""
        return heads[:, :, self.heads :].unflatten(2, (2, self.kv_heads)).permute(2, 0, 3, 1, 4)

    def _sdpa(self, queries: Tensor, cache: Tensor, unseen: Tensor | None) -> Tensor:
        rows, count = queries.shape[:2]
        mask = None
        if unseen is not None:
            mask = F.pad(~unseen, (cache.shape[3] - count, 0), value=True)
        attended = F.scaled_dot_product_attention(
            queries.transpose(1, 2).to(self.dtype), cache[0], cache[1], mask, scale=1.0,
            enable_gqa=self.heads != self.kv_heads,
        )  # fmt: skip
        return attended.transpose(1, 2).reshape(rows * count, -1)

    def _products(
        self,
        queries: Tensor,
        cache: Tensor,
        stop: int,
        unseen: Tensor | None,
        space: Space,
        keys_left: bool,
    ) -> Tensor:
        rows, count = queries.shape[:2]
        shared = self.heads // self.kv_heads
        # The rows of one product a key head are the query heads that share it, and of each the slots.
        if count > 1:
            queries = queries.unflatten(2, (self.kv_heads, shared)).permute(0, 2, 3, 1, 4)
        queries = queries.reshape(rows * self.kv_heads, shared * count, self.head_dim).to(self.dtype)
        batch, height = queries.shape[:2]
        keys, values = cache.view(2, batch, -1, self.head_dim)[:, :, :stop].unbind()
        attended = torch.empty_like(queries)
        part = max(1, len(space.scores) // (height * stop))
        for start in range(0, batch, part):
            some = slice(start, min(start + part, batch))
            scores = _scores(queries[some], keys[some], space, keys_left)
            if unseen is not None:
                scores[:, :, stop - count :].masked_fill_(unseen.repeat(shared, 1), -math.inf)
            torch.softmax(scores, dim=-1, out=scores)
            torch.bmm(scores, values[some], out=attended[some])
        if count == 1:
            return attended.view(rows, -1)
        return attended.view(rows, self.heads, count, -1).transpose(1, 2).reshape(rows * count, -1)


def turn(heads: Tensor, rotary: Tensor) -> Tensor:
    """Heads ``[R, S, h, d]`` turned by complex ``[S, h, d / 2]``: float32; overwritten if they are that."""
    heads = heads.float()
    torch.view_as_complex(heads.view(*heads.shape[:3], -1, 2)).mul_(rotary)
    return heads


def _scores(queries: Tensor, keys: Tensor, space: Space, keys_left: bool) -> Tensor:
    """Products of queries ``[B, M, d]`` and keys ``[B, L, d]``: ``[B, M, L]``, in ``space.scores``."""
    shape = (len(queries), queries.shape[1], keys.shape[1])
    scores = space.scores[: math.prod(shape)].view(shape)
    if not keys_left:
        return torch.bmm(queries, keys.transpose(1, 2), out=scores)
    into = space.scores if shape[1] == 1 else space.turned
    turned = into[: math.prod(shape)].view(shape[0], shape[2], shape[1])
    torch.bmm(keys, queries.transpose(1, 2), out=turned)
    return scores if shape[1] == 1 else scores.copy_(turned.transpose(1, 2))

"""Attention of a static step: over a cache of a fixed length, of which a mask says how far it is filled.

Three ways to compute the same. Which is fastest, a GPU must say (`python -m tools.gpu_day`, stage recipes).
"""

import math
from contextlib import AbstractContextManager
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.transformer.attention import pinned_attention

AttentionWay = Literal["sdpa", "split", "flex"]
"""``sdpa``: PyTorch's own kernel with a mask. ``split``: `split_attention`. ``flex``: FlexAttention, compiled
on CUDA, where few queries get its own split over the keys."""
RECOMPILES = 256
"""Shapes that a piece of a step may be compiled for. There are two or three groups a run, with guidance and
without, and up to ten buckets; but several models and batches may come in one process."""
PARTS = 4
"""Parts that `split_attention` cuts the keys into: with guidance 2 rows of 16 to 20 heads are then 128 to 160
products at a time, about as many as a large GPU has processors."""


def last_seen(slots: Tensor, causal: bool, shared: int) -> Tensor:
    """The last slot that each of a step's queries sees, int64 ``[M]``.

    Args:
        slots: of the step, int64 ``[S]``, ascending.
        causal: whether a slot sees no later one of its own group.
        shared: query heads of one key head; M = shared · S, the slots of the first head first.
    """
    seen = slots if causal else slots[-1:].expand(len(slots))
    return seen.repeat(shared)


def seen_keys(last: Tensor, ascending: Tensor, dtype: torch.dtype, way: AttentionWay) -> Tensor:
    """What `attend_static` is told of a step, once for all layers.

    Args:
        last: the last key that each of the M queries sees, int64 ``[M]``.
        ascending: 0, 1, .., L - 1.
        dtype: of queries and keys.
        way: how attention is computed.

    Returns:
        What to add to scores, 0 up to ``last`` and -inf beyond, ``[M, L]``; or ``last`` itself for ``flex``.
    """
    if way == "flex":
        return last
    unseen = ascending > last[:, None]
    mask = torch.zeros(unseen.shape, dtype=dtype, device=last.device)
    return mask.masked_fill_(unseen, -math.inf)


def attend_static(
    queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor, way: AttentionWay = "sdpa"
) -> Tensor:
    """Attention of ``[R, H, M, d]`` over ``[R, H, L, d]``, giving ``[R, H, M, d]``.

    Args:
        queries: divided by the square root of d already.
        keys: L of them; those that are not seen count for nothing, but must be finite.
        values: likewise.
        seen: from `seen_keys`.
        way: how to compute it.
    """
    if way == "flex":
        kernel: Any = _compiled_flex() if queries.is_cuda else flex
        return cast(Tensor, kernel(queries, keys, values, seen))
    if way == "split":
        return split_attention(queries, keys, values, seen)
    with pinned_attention(queries.device):
        return F.scaled_dot_product_attention(queries, keys, values, seen, scale=1.0)


def split_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, parts: int = PARTS
) -> Tensor:
    """`attend_static` over parts of the keys at a time, whose results are then combined.

    With one or two clips a kernel that walks over all keys of a head leaves most of a GPU without work. Each
    part gives its own weighted mean, the largest score and the sum of weights relative to it; the means,
    weighted by those, make the whole (flash-decoding, Dao et al. 2023).

    Args:
        queries: ``[R, H, M, d]``, divided by the square root of d already.
        keys: ``[R, H, L, d]``.
        values: ``[R, H, L, d]``.
        mask: to add to the scores, 0 or -inf, ``[M, L]``; each query sees at least one key.
        parts: at most so many, of equal length but the last.

    Returns:
        ``[R, H, M, d]`` in the dtype of the values.
    """
    length = max(1, math.ceil(keys.shape[2] / parts))
    tops, sums, means = [], [], []
    for key, value, unseen in zip(
        keys.split(length, dim=2), values.split(length, dim=2), mask.split(length, dim=1), strict=True
    ):
        scores = torch.matmul(queries, key.transpose(2, 3)).float() + unseen
        # A part of which nothing is seen has weight zero, and no largest score.
        top = scores.amax(dim=-1, keepdim=True).clamp_(min=torch.finfo(torch.float32).min)
        weights = torch.exp(scores - top)
        tops.append(top)
        sums.append(weights.sum(dim=-1, keepdim=True))
        means.append(torch.matmul(weights.to(value.dtype), value))
    if len(tops) == 1:
        return (means[0].float() / sums[0]).to(values.dtype)
    top = torch.stack(tops)  # [P, R, H, M, 1]
    share = torch.exp(top - top.amax(dim=0))
    total = (torch.stack(sums) * share).sum(dim=0)
    return ((torch.stack(means).float() * share).sum(dim=0) / total).to(values.dtype)


def flex(queries: Tensor, keys: Tensor, values: Tensor, last: Tensor) -> Tensor:
    """`attend_static` by FlexAttention; uncompiled it materialises the scores, which only a CPU does here."""
    from torch.nn.attention.flex_attention import flex_attention

    def visible(score: Tensor, _row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return torch.where(key <= last[query], score, -math.inf)

    out: Any = flex_attention(queries, keys, values, score_mod=visible, scale=1.0)
    return cast(Tensor, out)


_compiled: Any = None


def _compiled_flex() -> Any:
    """`flex` compiled for each shape by itself: the shapes of static steps are few."""
    global _compiled
    if _compiled is None:
        compile_: Any = torch.compile
        _compiled = compile_(flex, fullgraph=True, dynamic=False)
    return _compiled


def any_shape() -> AbstractContextManager[None]:
    """While what is compiled meets shapes for the first time: compile for each, and never give up.

    PyTorch stops at 8 shapes of a function, and then computes it as it stands, or raises.
    """
    from torch._dynamo import config

    limits: AbstractContextManager[None] = config.patch(recompile_limit=RECOMPILES)
    return limits


def check_way(way: str) -> None:
    """Raise ValueError unless there is such a way."""
    if way not in get_args(AttentionWay):
        raise ValueError(f"attention must be one of {', '.join(get_args(AttentionWay))}; got {way!r}")

"""Attention over an order's slots: one masked function with two kernels, and the layer that uses it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from parvideo.transformer.cache import KVCache
from parvideo.transformer.norm import RMSNorm
from parvideo.transformer.rotary import rotate
from parvideo.transformer.stairs import STAIR, attend_stair, multiplies_bf16


class AttentionMask:
    """A static mask between slots, in the form each kernel wants.

    Args:
        dense: bool ``[Q, K]``, true where the query slot sees the key slot; at least one per query. Or
            ``[B, Q, K]``, where every row has slots of its own.
        device: where attention will run.

    Attributes:
        kind: ``full`` if everything is visible, ``causal`` if the mask is exactly lower triangular, else
            ``dense``. The first two need no mask at all, which is the faster kernel everywhere. ``rows``
            if every row has its own.
        stairs: runs of `STAIR` queries, each as its mask up to the last key that any of them sees. Groups
            see no later groups, so half the square is never looked at.
    """

    def __init__(self, dense: Tensor, device: torch.device | str = "cpu") -> None:
        self.dense = dense.to(device)
        if dense.ndim == 3:
            self.dense, self.kind = self.dense[:, None], "rows"  # the same for all heads
            return
        queries, keys = dense.shape
        triangle = torch.ones(queries, keys, dtype=torch.bool, device=dense.device).tril()
        if bool(dense.all()):
            self.kind = "full"
        elif queries == keys and torch.equal(dense, triangle):
            self.kind = "causal"
        else:
            self.kind = "dense"
        ends = [int(seen.any(dim=0).nonzero().max()) + 1 for seen in dense.split(STAIR)]
        self.stairs = [seen[:, :end] for seen, end in zip(self.dense.split(STAIR), ends, strict=True)]
        self._biases: list[Tensor] = []
        self._blocks: Any = None
        if self.in_blocks and self.dense.is_cuda:  # before a compiled block asks for them
            self._blocks = self._make_blocks()

    @property
    def biases(self) -> list[Tensor]:
        """The stairs as what is added to scores in bfloat16: 0 where a key is seen, else minus infinity."""
        if not self._biases:
            zero = torch.zeros((), dtype=torch.bfloat16, device=self.dense.device)
            self._biases = [torch.where(seen, zero, -torch.inf) for seen in self.stairs]
        return self._biases

    @property
    def in_blocks(self) -> bool:
        """Whether FlexAttention is worth compiling for it: for whole sequences, as in training.

        A step of decoding has a mask of another shape each time, and its own kernel would be compiled for it.
        """
        return self.kind == "dense" and self.dense.shape[0] == self.dense.shape[1]

    @property
    def blocks(self) -> Any:
        """FlexAttention's block mask: built once, broadcast over batch and heads."""
        if self._blocks is None:
            self._blocks = self._make_blocks()
        return self._blocks

    def _make_blocks(self) -> Any:
        from torch.nn.attention.flex_attention import create_block_mask

        dense = self.dense

        def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return dense[query, key]

        queries, keys = dense.shape
        return create_block_mask(visible, None, None, queries, keys, device=str(dense.device))


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: AttentionMask, dropout: float = 0.0
) -> Tensor:
    """Attention of ``[B, heads, Q, d]`` over ``[B, kv_heads, K, d]``, giving ``[B, heads, Q, d]``.

    Scaled dot products. A dense mask of a whole sequence goes to FlexAttention on CUDA, which skips the
    blocks that are invisible, and to SDPA elsewhere (and wherever dropout is asked for, which FlexAttention
    lacks); the two agree to rounding. Training in bfloat16 on a CPU that has instructions for it takes
    `attend_stair`, which is faster than SDPA there and rounds scores too.
    """
    grouped = queries.shape[1] != keys.shape[1]
    if _trains_in_bf16(queries) and not (dropout or grouped) and mask.kind in ("causal", "dense"):
        return attend_in_stairs(queries, keys, values, mask)
    if mask.kind == "full":
        return F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, enable_gqa=grouped)
    if mask.kind == "causal":
        return F.scaled_dot_product_attention(
            queries, keys, values, dropout_p=dropout, is_causal=True, enable_gqa=grouped
        )
    if queries.is_cuda and dropout == 0.0 and mask.in_blocks:
        return attend_blocks(queries, keys, values, mask, compiled=True)
    if mask.kind == "dense" and not queries.is_cuda:
        parts = [
            F.scaled_dot_product_attention(
                part,
                keys[:, :, : seen.shape[1]],
                values[:, :, : seen.shape[1]],
                attn_mask=seen,
                dropout_p=dropout,
                enable_gqa=grouped,
            )
            for part, seen in zip(queries.split(STAIR, dim=2), mask.stairs, strict=True)
        ]
        return torch.cat(parts, dim=2)
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask.dense, dropout_p=dropout, enable_gqa=grouped
    )


def _trains_in_bf16(queries: Tensor) -> bool:
    """Whether gradients are wanted in bfloat16 from a CPU with instructions for it."""
    cpu = queries.device.type == "cpu"
    return (
        queries.requires_grad and queries.dtype == torch.bfloat16 and cpu and multiplies_bf16(queries.device)
    )


def attend_in_stairs(queries: Tensor, keys: Tensor, values: Tensor, mask: AttentionMask) -> Tensor:
    """`attend` by `attend_stair`: bfloat16 ``[B, heads, S, d]`` each, of a causal or dense mask."""
    parts = [
        attend_stair(part, keys[:, :, : bias.shape[1]], values[:, :, : bias.shape[1]], bias)
        for part, bias in zip(queries.split(STAIR, dim=2), mask.biases, strict=True)
    ]
    return torch.cat(parts, dim=2)


def pinned_attention(device: torch.device) -> AbstractContextManager[None]:
    """While decoding on CUDA: every kernel of PyTorch's attention but cuDNN's.

    That one builds a plan for each length of the keys, which grow at every step, and takes longer for it than
    for the step. Elsewhere nothing is changed.
    """
    if device.type != "cuda":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kernels = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    pinned: AbstractContextManager[None] = sdpa_kernel(kernels)
    return pinned


def attend_blocks(
    queries: Tensor, keys: Tensor, values: Tensor, mask: AttentionMask, compiled: bool
) -> Tensor:
    """`attend` by FlexAttention; uncompiled it materialises the scores, which only a test wants."""
    from torch.nn.attention.flex_attention import flex_attention

    kernel = _compiled_flex_attention() if compiled else flex_attention
    grouped = queries.shape[1] != keys.shape[1]
    out: Tensor = kernel(queries, keys, values, block_mask=mask.blocks, enable_gqa=grouped)
    return out


_compiled: Any = None


def _compiled_flex_attention() -> Any:
    """FlexAttention compiled once a process; compiling at import would cost everyone seconds."""
    global _compiled
    if _compiled is None:
        from torch.nn.attention.flex_attention import flex_attention

        _compiled = torch.compile(flex_attention)
    return _compiled


class SelfAttention(nn.Module):
    """Multi-head attention with rotary positions, grouped key/value heads and an optional cache.

    Args:
        dim: width of the residual stream.
        num_heads: query heads; must divide ``dim``.
        num_kv_heads: key and value heads; must divide ``num_heads``.
        qk_norm: normalise queries and keys per head before they turn.
        dropout: on the attention weights while training.
        norm_eps: of the query/key norm.
    """

    def __init__(
        self, dim: int, num_heads: int, num_kv_heads: int, qk_norm: bool, dropout: float, norm_eps: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_kv_heads = num_kv_heads
        self.head_dim = dim // num_heads
        self.dropout = dropout
        self.qkv = nn.Linear(dim, (num_heads + 2 * num_kv_heads) * self.head_dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.query_norm = RMSNorm(self.head_dim, eps=norm_eps) if qk_norm else nn.Identity()
        self.key_norm = RMSNorm(self.head_dim, eps=norm_eps) if qk_norm else nn.Identity()

    def forward(
        self,
        x: Tensor,
        rotary: Tensor,
        mask: AttentionMask,
        cache: KVCache | None = None,
        layer: int = 0,
        slots: range | Tensor | None = None,
    ) -> Tensor:
        """Attend from ``x`` ``[B, S, dim]``; with a cache, over all slots up to and with ``slots``.

        ``rotary`` ``[2, S, head_dim / 2, 2]`` turns queries and keys, see `rotary_tables`.
        """
        heads = rearrange(self.qkv(x), "b s (heads d) -> b heads s d", d=self.head_dim)
        queries, keys, values = heads.split([self.num_heads, self.num_kv_heads, self.num_kv_heads], dim=1)
        # To the values' precision: under autocast they have bfloat16, and what was normalised float32.
        keys = rotate(self.key_norm(keys), rotary[1]).to(values.dtype)
        if cache is not None and slots is not None:
            keys, values = cache.update(layer, slots, keys, values)
            visible = mask.dense.shape[-1]
            keys, values = keys[:, :, :visible], values[:, :, :visible]
        queries = rotate(self.query_norm(queries), rotary[0]).to(values.dtype)
        attended = attend(queries, keys, values, mask, self.dropout if self.training else 0.0)
        return self.out(rearrange(attended, "b heads s d -> b s (heads d)"))

"""The block of a LLaMA-style transformer: RMSNorm, attention, RMSNorm, SwiGLU."""

import torch.nn.functional as F
from torch import Tensor, nn

from parvideo.transformer.attention import AttentionMask, SelfAttention
from parvideo.transformer.cache import KVCache
from parvideo.transformer.norm import RMSNorm


class SwiGLU(nn.Module):
    """Gated feed-forward layer ``down(silu(gate(x)) · up(x))`` without biases."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, hidden, bias=False)
        self.up = nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, S, dim]`` -> ``[B, S, dim]``."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward, each added to the residual stream after dropout."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_kv_heads: int,
        ffn_hidden: int,
        qk_norm: bool,
        dropout: float,
        attention_dropout: float,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(dim, eps=norm_eps)
        self.attention = SelfAttention(dim, num_heads, num_kv_heads, qk_norm, attention_dropout, norm_eps)
        self.ffn_norm = RMSNorm(dim, eps=norm_eps)
        self.ffn = SwiGLU(dim, ffn_hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        rotary: Tensor,
        mask: AttentionMask,
        cache: KVCache | None = None,
        layer: int = 0,
        slots: range | Tensor | None = None,
    ) -> Tensor:
        """``[B, S, dim]`` -> ``[B, S, dim]``."""
        x = x + self.dropout(self.attention(self.attention_norm(x), rotary, mask, cache, layer, slots))
        return x + self.dropout(self.ffn(self.ffn_norm(x)))

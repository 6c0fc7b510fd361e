"""The decode engine: a transformer arranged for generating, near the limit of the machine.

`parvideo.sampling.generate` is the plain loop: readable, and the reference. The engine draws the same tokens
(in float32 up to the rounding of sums taken in another order) and differs in how:

- weights are packed once for the matrix product (`parvideo.engine_linear`);
- keys and values lie in a static cache, and a step attends without a mask to exactly the filled part of it;
- guidance is mixed in the last hidden state, so that the head runs on half of the rows; exact, since the head
  is linear; after the last guided step the unguided rows are dropped;
- tokens are drawn without a cumulative sum over the vocabulary (`parvideo.engine_draw`);
- what a step needs beyond that is small and does not grow with the vocabulary times the steps.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvideo.engine_draw import block_size, draw_tokens
from parvideo.engine_linear import DecodeLinear, packing_obstacle
from parvideo.sampling import (
    SamplingConfig,
    StepCallback,
    _check_request,
    _known_tokens,
    draw_uniforms,
)
from parvideo.transformer.blocks import TransformerBlock
from parvideo.transformer.model import VideoTransformer

SCORES = 1 << 20
"""Attention scores held at a time, unless one row's heads need more; they should stay in the CPU's cache."""
LOGITS = 1 << 24
"""Logits held at a time, unless one row's vocabulary is larger."""
PREFILL = 4096
"""Slots computed at a time while given frames are read in, unless one clip has more."""
FEW_QUERIES = 8
"""Up to so many queries a key head, float32 scores are computed with keys on the left, in bfloat16 always."""


class _Layer:
    """One block's weights as the engine uses them."""

    def __init__(self, block: TransformerBlock, dtype: torch.dtype, packed: bool) -> None:
        attention, ffn = block.attention, block.ffn
        self.attention_norm = block.attention_norm.weight.to(dtype)
        self.qkv = DecodeLinear(attention.qkv.weight.to(dtype), packed)
        self.qk_norm = (
            (attention.query_norm.weight.to(dtype), attention.key_norm.weight.to(dtype))
            if isinstance(attention.query_norm, nn.RMSNorm) and isinstance(attention.key_norm, nn.RMSNorm)
            else None
        )
        self.out = DecodeLinear(attention.out.weight.to(dtype), packed)
        self.ffn_norm = block.ffn_norm.weight.to(dtype)
        self.gate_up = DecodeLinear(torch.cat([ffn.gate.weight, ffn.up.weight]).to(dtype), packed)
        self.down = DecodeLinear(ffn.down.weight.to(dtype), packed)


@dataclass
class _State:
    """What one call of `generate` owns.

    Attributes:
        tokens: ordered tokens, int64 ``[R, N]``; the R rows are the clips, then their unguided copies.
        labels: int64 ``[R]``.
        cache: of each layer keys and values, ``[2, R, kv_heads, N, head_dim]``.
        scores: space for attention scores.
        turned_scores: space for scores that a product gives with slots first.
        probabilities: space for the probabilities of drawing, float32 ``[rows, V]``.
    """

    tokens: Tensor
    labels: Tensor
    cache: list[Tensor]
    scores: Tensor
    turned_scores: Tensor
    probabilities: Tensor

    def keep(self, rows: int) -> None:
        """Go on with the first ``rows`` rows alone."""
        self.tokens, self.labels = self.tokens[:rows], self.labels[:rows]
        self.cache = [part[:, :rows] for part in self.cache]


class DecodeEngine:
    """Generates with one transformer; its weights are copied at construction, later changes are not seen.

    Args:
        transformer: in eval mode, on the CPU.
        dtype: to compute in, float32 or bfloat16; the transformer's own if not given.
        packed: pack the weights. If not given, pack where that is possible; `describe` says which it was.

    Raises:
        ValueError: if the model is training or not on the CPU, the dtype is another, or packing is asked for
            and impossible.
    """

    def __init__(
        self, transformer: VideoTransformer, dtype: torch.dtype | None = None, packed: bool | None = None
    ) -> None:
        weight = transformer.head.weight
        dtype = weight.dtype if dtype is None else dtype
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
        if transformer.training:
            raise ValueError(
                "the transformer is in training mode, where dropout spoils samples; call eval() first"
            )
        if weight.device.type != "cpu":
            raise ValueError(
                f"the engine decodes on the CPU, this transformer lies on {weight.device}; "
                "use parvideo.sampling.generate there"
            )
        with torch.inference_mode():
            self.obstacle = packing_obstacle(weight.to(dtype))
            self.packed = self.obstacle is None if packed is None else packed
            self.transformer = transformer
            self.order = transformer.order
            self.dtype = dtype
            config = transformer.config
            self.dim: int = config["dim"]
            self.heads: int = config["num_heads"]
            self.kv_heads: int = config["num_kv_heads"]
            self.head_dim = self.dim // self.heads
            self.ffn_hidden: int = config["ffn_hidden"]
            self.eps: float = config["norm_eps"]
            self.largest_group = max(map(len, self.order.step_slots))
            blocks = cast(Iterable[TransformerBlock], transformer.blocks)
            self._layers = [_Layer(block, dtype, self.packed) for block in blocks]
            self._norm = transformer.norm.weight.to(dtype)
            self._head = DecodeLinear(transformer.head.weight.to(dtype), self.packed)
            self._rotary = self._rotary_factors()
            self._block = block_size(transformer.codebook_size)

    def describe(self) -> dict[str, str]:
        """How this engine computes, in words, for reports."""
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "linear": "packed (oneDNN)" if self.packed else f"plain ({self.obstacle or 'as asked for'})",
            "draw": f"blocks of {self._block}" if self._block else "cumulative sum",
        }

    def cache_bytes(self, batch: int, guided: bool = True) -> int:
        """Memory of the keys and values of ``batch`` clips."""
        rows = batch * (2 if guided else 1)
        values = 2 * len(self._layers) * rows * self.order.num_tokens * self.kv_heads * self.head_dim
        return values * self.dtype.itemsize

    @torch.inference_mode()
    def generate(
        self,
        labels: Tensor,
        config: SamplingConfig | None = None,
        indices: Sequence[int] | None = None,
        given: Tensor | None = None,
        stream: int = 0,
        on_step: StepCallback | None = None,
    ) -> Tensor:
        """Generate the tokens of a batch of clips; arguments, result and errors as of `sampling.generate`."""
        config = SamplingConfig() if config is None else config
        order, batch = self.order, len(labels)
        indices = range(batch) if indices is None else indices
        _check_request(self.transformer, labels, indices)
        known, tokens = _known_tokens(self.transformer, given, batch)
        uniforms = draw_uniforms(config.seed, indices, order.num_tokens, stream)
        scales = [config.guidance_at(step, order.steps) for step in range(order.steps)]
        last_guided = max((step for step, scale in enumerate(scales) if scale != 1.0), default=-1)
        state = self._make_state(tokens, labels, guided=last_guided >= 0)
        first = int(order.group[~known].min())
        if first > 0:
            self._prefill(state, order.step_slots[first].start)
        for step in range(first, order.steps):
            slots, scale = order.step_slots[step], scales[step]
            if step > last_guided:
                state.keep(batch)
            hidden = self._step(state, slots)  # [R·S, dim]
            here = slice(slots.start, slots.stop)
            if not known[here].all():
                conditional = hidden[: batch * len(slots)]
                if scale != 1.0:
                    conditional = torch.lerp(hidden[batch * len(slots) :], conditional, scale)
                drawn = self._draw(conditional, uniforms[:, here].reshape(-1), config, state.probabilities)
                tokens[:, here] = torch.where(known[here], tokens[:, here], drawn.view(batch, -1))
                state.tokens.view(-1, *tokens.shape)[:, :, here] = tokens[:, here]
            if on_step is not None:
                on_step(step + 1, order.steps)
        return order.unflatten(tokens)

    def _make_state(self, tokens: Tensor, labels: Tensor, guided: bool) -> _State:
        batch, slots = tokens.shape
        if guided:
            labels = torch.cat([labels, torch.full_like(labels, self.transformer.num_classes)])
        rows = len(labels)
        shape = (2, rows, self.kv_heads, slots, self.head_dim)
        cache = [torch.empty(shape, dtype=self.dtype) for _ in self._layers]
        scores = torch.empty(
            max(SCORES, self.heads // self.kv_heads * self.largest_group * slots), dtype=self.dtype
        )
        probabilities = torch.empty(
            self._draw_rows(batch * self.largest_group), self.transformer.codebook_size
        )
        return _State(
            tokens.repeat(rows // batch, 1), labels, cache, scores, torch.empty_like(scores), probabilities
        )

    def _draw_rows(self, rows: int) -> int:
        """Rows of logits held at a time."""
        return min(rows, max(1, LOGITS // self.transformer.codebook_size))

    def _draw(self, hidden: Tensor, uniforms: Tensor, config: SamplingConfig, buffer: Tensor) -> Tensor:
        parts = zip(hidden.split(len(buffer)), uniforms.split(len(buffer)), strict=True)
        drawn = [draw_tokens(self._head(part), u, config, self._block, buffer) for part, u in parts]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)

    def _step(self, state: _State, slots: range) -> Tensor:
        """Compute ``slots`` of all rows: the normalised last hidden state ``[R·S, dim]``."""
        rows, count = len(state.tokens), len(slots)
        x = self._embed(state, slots, slice(0, rows))
        unseen = None
        if count > 1 and self.order.attention == "causal":
            unseen = torch.ones(count, count, dtype=torch.bool).triu(1)
            unseen = unseen.repeat(self.heads // self.kv_heads, 1)
        rotary = self._rotary[slots.start : slots.stop]
        for layer, cache in zip(self._layers, state.cache, strict=True):
            heads = self._qkv(layer, x, rotary, rows)
            self._store(cache, slots, heads)
            queries = heads[:, :, : self.heads].to(self.dtype)
            attended = self._attend(state, cache, queries, slots.stop, unseen)
            x = self._feed_forward(layer, layer.out(attended).add_(x))
        return F.rms_norm(x, (self.dim,), self._norm, self.eps)

    def _embed(self, state: _State, slots: range, rows: slice) -> Tensor:
        x = self.transformer._embed(state.tokens[rows], state.labels[rows], slots)
        return x.to(self.dtype).flatten(0, 1)

    def _qkv(self, layer: _Layer, x: Tensor, rotary: Tensor, rows: int) -> Tensor:
        """Queries and keys, turned, and values: float32 ``[rows, S, heads + 2 · kv_heads, d]``.

        Queries come divided by the square root of d.
        """
        packed = layer.qkv(F.rms_norm(x, (self.dim,), layer.attention_norm, self.eps))
        heads = packed.view(rows, -1, self.heads + 2 * self.kv_heads, self.head_dim)
        if layer.qk_norm is not None:
            parts = heads.split([self.heads, self.kv_heads, self.kv_heads], dim=2)
            for part, weight in zip(parts, layer.qk_norm, strict=False):
                part.copy_(F.rms_norm(part, (self.head_dim,), weight, self.eps))
        heads = heads.float()
        torch.view_as_complex(heads.view(*heads.shape[:3], -1, 2)).mul_(rotary)
        return heads

    def _store(self, cache: Tensor, slots: range, heads: Tensor) -> None:
        """Put the keys and values among ``heads`` ``[rows, S, heads + 2 · kv_heads, d]`` into the cache."""
        new = heads[:, :, self.heads :].unflatten(2, (2, self.kv_heads))
        cache[:, :, :, slots.start : slots.stop] = new.permute(2, 0, 3, 1, 4)

    def _attend(
        self, state: _State, cache: Tensor, queries: Tensor, stop: int, unseen: Tensor | None
    ) -> Tensor:
        """Attention of queries ``[R, S, heads, d]`` over the first ``stop`` slots: ``[R·S, dim]``.

        The query heads that share keys, and the slots of the step, are the rows of one product a key head.
        ``unseen`` marks what a query does not see of its own group.
        """
        rows, count = queries.shape[:2]
        shared = self.heads // self.kv_heads
        batch, height = rows * self.kv_heads, shared * count
        if count > 1:
            queries = queries.unflatten(2, (self.kv_heads, shared)).permute(0, 2, 3, 1, 4)
        queries = queries.reshape(batch, height, self.head_dim)
        keys, values = (part.flatten(0, 1)[:, :stop] for part in cache.unbind())
        attended = torch.empty_like(queries)
        part = max(1, len(state.scores) // (height * stop))
        for start in range(0, batch, part):
            some = slice(start, min(start + part, batch))
            scores = self._scores(state, queries[some], keys[some])
            if unseen is not None:
                scores[:, :, stop - count :].masked_fill_(unseen, -math.inf)
            torch.softmax(scores, dim=-1, out=scores)
            torch.bmm(scores, values[some], out=attended[some])
        if count == 1:
            return attended.view(rows, self.dim)
        attended = attended.view(rows, self.heads, count, self.head_dim)
        return attended.transpose(1, 2).reshape(rows * count, self.dim)

    def _scores(self, state: _State, queries: Tensor, keys: Tensor) -> Tensor:
        """Products of queries ``[B, M, d]`` and keys ``[B, L, d]``: ``[B, M, L]``, in ``state.scores``.

        Few queries are the right-hand side of the faster product, whose result then has to be turned.
        """
        shape = (len(queries), queries.shape[1], keys.shape[1])
        scores = state.scores[: math.prod(shape)].view(shape)
        if shape[1] > FEW_QUERIES and self.dtype == torch.float32:
            return torch.bmm(queries, keys.transpose(1, 2), out=scores)
        space = state.scores if shape[1] == 1 else state.turned_scores
        turned = space[: math.prod(shape)].view(shape[0], shape[2], shape[1])
        torch.bmm(keys, queries.transpose(1, 2), out=turned)
        return scores if shape[1] == 1 else scores.copy_(turned.transpose(1, 2))

    def _feed_forward(self, layer: _Layer, x: Tensor) -> Tensor:
        both = layer.gate_up(F.rms_norm(x, (self.dim,), layer.ffn_norm, self.eps))
        gate, up = both.split(self.ffn_hidden, dim=-1)
        return layer.down(F.silu(gate).mul_(up)).add_(x)

    def _prefill(self, state: _State, stop: int) -> None:
        """Compute the first ``stop`` slots at once, under the order's mask, to fill the cache."""
        slots, mask = range(stop), self.order.mask[:stop, :stop]
        part = max(1, PREFILL // stop)
        for start in range(0, len(state.labels), part):
            rows = slice(start, min(start + part, len(state.labels)))
            x = self._embed(state, slots, rows)
            for layer, cache in zip(self._layers, state.cache, strict=True):
                heads = self._qkv(layer, x, self._rotary[:stop], rows.stop - start)
                self._store(cache[:, rows], slots, heads)
                queries, keys, values = (
                    heads.to(self.dtype)
                    .transpose(1, 2)
                    .split([self.heads, self.kv_heads, self.kv_heads], dim=1)
                )
                attended = F.scaled_dot_product_attention(
                    queries, keys, values, mask, scale=1.0, enable_gqa=self.heads != self.kv_heads
                )
                attended = attended.transpose(1, 2).reshape(-1, self.dim)
                x = self._feed_forward(layer, layer.out(attended).add_(x))

    def _rotary_factors(self) -> Tensor:
        """The turns of all heads as complex numbers ``[N, heads + 2 · kv_heads, d / 2]``.

        Those of queries carry attention's 1 / sqrt(d), those of values are one.
        """
        turns = torch.view_as_complex(self.transformer.rotary.float().contiguous())[:, None]
        queries = (turns / math.sqrt(self.head_dim)).expand(-1, self.heads, -1)
        keys = turns.expand(-1, self.kv_heads, -1)
        return torch.cat([queries, keys, torch.ones_like(keys)], dim=1)


def generate_fast(
    transformer: VideoTransformer,
    labels: Tensor,
    config: SamplingConfig | None = None,
    indices: Sequence[int] | None = None,
    given: Tensor | None = None,
    stream: int = 0,
    on_step: StepCallback | None = None,
) -> Tensor:
    """`parvideo.sampling.generate` by an engine made for this call; to generate often, keep one."""
    return DecodeEngine(transformer).generate(labels, config, indices, given, stream, on_step)

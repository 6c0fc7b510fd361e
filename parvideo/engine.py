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
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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


class _Layer:
    """One block's weights as the engine uses them."""

    def __init__(self, block: TransformerBlock, dtype: torch.dtype, packed: bool) -> None:
        attention, ffn = block.attention, block.ffn
        self.attention_norm = block.attention_norm.weight.to(dtype)
        self.qkv = DecodeLinear(attention.qkv.weight.to(dtype), packed)
        self.qk_norm = (
            (attention.query_norm.weight.to(dtype), attention.key_norm.weight.to(dtype))
            if isinstance(attention.query_norm, torch.nn.RMSNorm)
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
        tokens: ordered tokens, int64 ``[R, N]``, R rows: the guided clips, then their unguided copies.
        labels: int64 ``[R]``.
        keys: ``[layers, R, kv_heads, head_dim, N]``; ``[layers, R, kv_heads, N, head_dim]`` for orders of one
            token a step (`DecodeEngine.keys_transposed` is the choice).
        values: ``[layers, R, kv_heads, N, head_dim]``.
        scores: space for attention scores.
        probabilities: space for the probabilities of drawing, float32 ``[rows, V]``.
    """

    tokens: Tensor
    labels: Tensor
    keys: Tensor
    values: Tensor
    scores: Tensor
    probabilities: Tensor


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
            self.keys_transposed = self.largest_group > 1
            self._layers = [_Layer(block, dtype, self.packed) for block in transformer.blocks]
            self._norm = transformer.norm.weight.to(dtype)
            self._head = DecodeLinear(transformer.head.weight.to(dtype), self.packed)
            self._rotary = self._rotary_factors()
            self._block = block_size(transformer.codebook_size)

    def describe(self) -> dict[str, str]:
        """How this engine computes, in words, for reports."""
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "linear": "packed (oneDNN)" if self.packed else f"plain ({self.obstacle or 'as asked for'})",
            "keys": "[head_dim, slots]" if self.keys_transposed else "[slots, head_dim]",
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
            slots = order.step_slots[step]
            rows = 2 * batch if step <= last_guided else batch
            hidden = self._step(state, slots, rows)  # [rows · S, dim]
            here = slice(slots.start, slots.stop)
            if not known[here].all():
                if scales[step] != 1.0:
                    hidden = torch.lerp(hidden[len(hidden) // 2 :], hidden[: len(hidden) // 2], scales[step])
                else:
                    hidden = hidden[: batch * len(slots)]
                drawn = self._draw(hidden, uniforms[:, here].reshape(-1), config, state.probabilities)
                drawn = torch.where(known[here], tokens[:, here], drawn.view(batch, -1))
                tokens[:, here] = drawn
                state.tokens.view(-1, batch, order.num_tokens)[:, :, here] = drawn
            if on_step is not None:
                on_step(step + 1, order.steps)
        return order.unflatten(tokens)

    def _make_state(self, tokens: Tensor, labels: Tensor, guided: bool) -> _State:
        if guided:
            labels = torch.cat([labels, torch.full_like(labels, self.transformer.num_classes)])
        rows, slots = len(labels), self.order.num_tokens
        shape = (len(self._layers), rows, self.kv_heads, slots, self.head_dim)
        values = torch.empty(shape, dtype=self.dtype)
        keys = torch.empty_like(values).view(*shape[:3], self.head_dim, slots)
        # An order of several tokens a step reads keys as [d, N], one of single tokens as [N, d].
        keys = keys if self.keys_transposed else keys.view(shape)
        scores = max(SCORES, self.heads // self.kv_heads * self.largest_group * slots)
        return _State(
            tokens.repeat(rows // len(tokens), 1),
            labels,
            keys,
            values,
            torch.empty(scores, dtype=self.dtype),
            torch.empty(self._draw_rows(len(tokens) * self.largest_group), self.transformer.codebook_size),
        )

    def _draw_rows(self, rows: int) -> int:
        """Rows of logits held at a time."""
        return min(rows, max(1, LOGITS // self.transformer.codebook_size))

    def _draw(self, hidden: Tensor, uniforms: Tensor, config: SamplingConfig, buffer: Tensor) -> Tensor:
        parts = zip(hidden.split(len(buffer)), uniforms.split(len(buffer)), strict=True)
        drawn = [draw_tokens(self._head(part), u, config, self._block, buffer) for part, u in parts]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)

    def _step(self, state: _State, slots: range, rows: int) -> Tensor:
        """Compute ``slots`` for the first ``rows`` rows: the normalised last hidden state ``[rows·S, dim]``."""
        count = len(slots)
        x = self._embed(state, slots, slice(0, rows))
        hidden = None
        if count > 1 and self.order.attention == "causal":
            triangle = torch.ones(count, count, dtype=torch.bool).triu(1)
            hidden = triangle.repeat(self.heads // self.kv_heads, 1)
        rotary = self._rotary[slots.start : slots.stop]
        for index, layer in enumerate(self._layers):
            turned, values = self._qkv(layer, x, rotary, rows)
            keys = turned[:, :, self.heads :]
            self._store(state, index, slots, slice(0, rows), keys, values)
            attended = self._attend(state, index, turned[:, :, : self.heads], slots.stop, hidden)
            x = self._feed_forward(layer, layer.out(attended, x))
        return F.rms_norm(x, (self.dim,), self._norm, self.eps)

    def _embed(self, state: _State, slots: range, rows: slice) -> Tensor:
        x = self.transformer._embed(state.tokens[rows], state.labels[rows], slots)
        return x.to(self.dtype).flatten(0, 1)

    def _qkv(self, layer: _Layer, x: Tensor, rotary: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Turned queries and keys ``[rows, S, heads + kv_heads, d]`` and values ``[rows, S, kv_heads, d]``.

        Queries come divided by the square root of d.
        """
        packed = layer.qkv(F.rms_norm(x, (self.dim,), layer.attention_norm, self.eps))
        packed = packed.view(rows, -1, self.heads + 2 * self.kv_heads, self.head_dim)
        turning, values = packed.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        if layer.qk_norm is not None:
            parts = zip(turning.split([self.heads, self.kv_heads], dim=2), layer.qk_norm, strict=True)
            turning = torch.cat(
                [F.rms_norm(part, (self.head_dim,), weight, self.eps) for part, weight in parts], dim=2
            )
        pairs = torch.view_as_complex(turning.float().unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * rotary).flatten(-2)
        return turned.to(self.dtype), values

    def _store(
        self, state: _State, index: int, slots: range, rows: slice, keys: Tensor, values: Tensor
    ) -> None:
        """Put keys and values ``[rows, S, kv_heads, d]`` into the cache."""
        here = slice(slots.start, slots.stop)
        if self.keys_transposed:
            state.keys[index, rows, :, :, here] = keys.permute(0, 2, 3, 1)
        else:
            state.keys[index, rows, :, here] = keys.transpose(1, 2)
        state.values[index, rows, :, here] = values.transpose(1, 2)

    def _attend(self, state: _State, index: int, queries: Tensor, stop: int, hidden: Tensor | None) -> Tensor:
        """Attention of queries ``[rows, S, heads, d]`` over the first ``stop`` slots: ``[rows·S, dim]``.

        The heads that share keys, and the slots of the step, are the rows of one product a key head. ``hidden``
        marks what a query does not see of its own group.
        """
        rows, count = queries.shape[:2]
        shared = self.heads // self.kv_heads
        batch, height = rows * self.kv_heads, shared * count
        queries = queries.unflatten(2, (self.kv_heads, shared)).permute(0, 2, 3, 1, 4)
        queries = queries.reshape(batch, height, self.head_dim)
        keys = state.keys[index, :rows].flatten(0, 1)
        values = state.values[index, :rows].flatten(0, 1)[:, :stop]
        keys = keys[:, :, :stop] if self.keys_transposed else keys[:, :stop]
        attended = torch.empty_like(queries)
        part = max(1, len(state.scores) // (height * stop))
        for start in range(0, batch, part):
            end = min(start + part, batch)
            scores = state.scores[: (end - start) * height * stop].view(end - start, height, stop)
            if self.keys_transposed:
                torch.bmm(queries[start:end], keys[start:end], out=scores)
            else:
                self._single_scores(queries[start:end], keys[start:end], scores)
            if hidden is not None:
                scores[:, :, stop - count :].masked_fill_(hidden, -math.inf)
            torch.softmax(scores, dim=-1, out=scores)
            torch.bmm(scores, values[start:end], out=attended[start:end])
        if count == 1:
            return attended.view(rows, self.dim)
        attended = attended.view(rows, self.heads, count, self.head_dim)
        return attended.transpose(1, 2).reshape(rows * count, self.dim)

    def _single_scores(self, queries: Tensor, keys: Tensor, scores: Tensor) -> None:
        """Scores of one token a row, ``[B, heads that share keys, L]``, by the faster way round."""
        if queries.shape[1] == 1:
            torch.bmm(keys, queries.transpose(1, 2), out=scores.transpose(1, 2))
        else:
            torch.bmm(queries, keys.transpose(1, 2), out=scores)

    def _feed_forward(self, layer: _Layer, x: Tensor) -> Tensor:
        both = layer.gate_up(F.rms_norm(x, (self.dim,), layer.ffn_norm, self.eps))
        gate, up = both.split(self.ffn_hidden, dim=-1)
        return layer.down(F.silu(gate).mul_(up), x)

    def _prefill(self, state: _State, stop: int) -> None:
        """Compute the first ``stop`` slots at once, under the order's mask, to fill the cache."""
        slots, mask = range(stop), self.order.mask[:stop, :stop]
        part = max(1, PREFILL // stop)
        for start in range(0, len(state.labels), part):
            rows = slice(start, min(start + part, len(state.labels)))
            x = self._embed(state, slots, rows)
            for index, layer in enumerate(self._layers):
                turned, values = self._qkv(layer, x, self._rotary[:stop], rows.stop - start)
                queries, keys = turned.split([self.heads, self.kv_heads], dim=2)
                self._store(state, index, slots, rows, keys, values)
                attended = F.scaled_dot_product_attention(
                    *(part.transpose(1, 2) for part in (queries, keys, values)),
                    attn_mask=mask,
                    scale=1.0,
                    enable_gqa=self.heads != self.kv_heads,
                )
                attended = attended.transpose(1, 2).reshape(-1, self.dim)
                x = self._feed_forward(layer, layer.out(attended, x))

    def _rotary_factors(self) -> Tensor:
        """The turns of queries and keys as complex numbers ``[N, heads + kv_heads, d / 2]``.

        Those of queries carry attention's 1 / sqrt(d).
        """
        turns = torch.view_as_complex(self.transformer.rotary.float().contiguous())[:, None]
        queries = (turns / math.sqrt(self.head_dim)).expand(-1, self.heads, -1)
        return torch.cat([queries, turns.expand(-1, self.kv_heads, -1)], dim=1)


def generate_fast(
    transformer: VideoTransformer,
    labels: Tensor,
    config: SamplingConfig | None = None,
    indices: Sequence[int] | None = None,
    given: Tensor | None = None,
    stream: int = 0,
    on_step: StepCallback | None = None,
) -> Tensor:
    """`parvideo.sampling.generate` by a `DecodeEngine` made for this call; keep an engine to generate often."""
    return DecodeEngine(transformer).generate(labels, config, indices, given, stream, on_step)

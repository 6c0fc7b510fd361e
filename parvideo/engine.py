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

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.engine_draw import block_size, draw_tokens
from parvideo.engine_linear import DecodeLinear, packing_obstacle
from parvideo.engine_pages import use_large_pages
from parvideo.engine_weights import LayerWeights, fold, normalize
from parvideo.sampling import SamplingConfig, StepCallback, check_request, draw_uniforms, known_tokens
from parvideo.transformer.blocks import TransformerBlock
from parvideo.transformer.model import VideoTransformer

SCORES = 1 << 18
"""Attention scores held at a time, unless one row's heads need more; they should stay in the CPU's cache."""
LOGITS = 1 << 24
"""Logits held at a time, unless one row's vocabulary is larger."""
PREFILL = 4096
"""Slots computed at a time while given frames are read in, unless one clip has more."""
FEW_QUERIES = 8
"""Up to so many queries a key head, float32 scores are computed with keys on the left, in bfloat16 always."""


@dataclass
class DecodeRun:
    """The clips that an engine is generating, and all it needs beside its weights.

    Attributes:
        config: how to draw.
        batch: B, the number of clips; R rows are the clips and, while guidance needs them, unguided copies.
        tokens: ordered tokens, int64 ``[R, N]``.
        labels: int64 ``[R]``.
        known: which ordered tokens were given, bool ``[N]``.
        uniforms: float64 ``[B, N]``.
        scales: guidance scale of each step.
        first: the first step with a token to generate.
        last_guided: the last step with guidance, -1 if there is none.
        cache: of each layer keys and values, ``[2, R, kv_heads, N, head_dim]``.
        scores: space for attention scores.
        turned_scores: space for scores that a product gives with slots first.
        probabilities: space for the probabilities of drawing, float32 ``[rows, V]``.
    """

    config: SamplingConfig
    batch: int
    tokens: Tensor
    labels: Tensor
    known: Tensor
    uniforms: Tensor
    scales: list[float]
    first: int
    last_guided: int
    cache: list[Tensor]
    scores: Tensor
    turned_scores: Tensor
    probabilities: Tensor

    @property
    def nbytes(self) -> int:
        """Memory of all its tensors."""
        tensors = [self.tokens, self.labels, self.uniforms, self.scores, self.turned_scores]
        return sum(tensor.nbytes for tensor in [*tensors, self.probabilities, *self.cache])

    def keep(self, rows: int) -> None:
        """Go on with the first ``rows`` rows alone."""
        if rows < len(self.tokens):
            self.tokens, self.labels = self.tokens[:rows], self.labels[:rows]
            self.cache = [part[:, :rows] for part in self.cache]


class DecodeEngine:
    """Generates with one transformer, in the order it has now.

    Weights are copied when the engine is made; later changes to the transformer are not seen.

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
            self.dtype = dtype
            config = transformer.config
            self.dim: int = config["dim"]
            self.heads: int = config["num_heads"]
            self.kv_heads: int = config["num_kv_heads"]
            self.head_dim = self.dim // self.heads
            self.eps: float = config["norm_eps"]
            blocks = cast(Iterable[TransformerBlock], transformer.blocks)
            self._layers = [LayerWeights(block, dtype, self.packed) for block in blocks]
            head = fold(transformer.head.weight, transformer.norm)
            self._head = DecodeLinear(head.to(dtype), self.packed)
            self._length = torch.tensor(math.sqrt(config["dim"] * config["norm_eps"]))
            self.logits = transformer.head.out_features
            self._block = block_size(self.logits) if transformer.factors is None else 0
        self._set_order()

    def reordered(self) -> "DecodeEngine":
        """An engine with these same packed weights for the order that the transformer has now."""
        other = copy.copy(self)
        other._set_order()
        return other

    def describe(self) -> dict[str, str]:
        """How this engine computes, in words, for reports."""
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "linear": "packed (oneDNN)" if self.packed else f"plain ({self.obstacle or 'as asked for'})",
            "pages": "large" if self._head.large_pages else "ordinary",
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
        run = self.start(labels, config, indices, given, stream)
        for step in range(run.first, self.order.steps):
            self.step(run, step)
            if on_step is not None:
                on_step(step + 1, self.order.steps)
        return self.order.unflatten(run.tokens[: run.batch])

    @torch.inference_mode()
    def start(
        self,
        labels: Tensor,
        config: SamplingConfig | None = None,
        indices: Sequence[int] | None = None,
        given: Tensor | None = None,
        stream: int = 0,
    ) -> DecodeRun:
        """Prepare the generation of a batch, and read the given frames in; arguments as of `generate`.

        Next comes `step` with the run's first step.
        """
        config = SamplingConfig() if config is None else config
        order, batch = self.order, len(labels)
        if self.transformer.order != order:
            raise ValueError("the transformer's order was changed after this engine was made; make another")
        indices = range(batch) if indices is None else indices
        check_request(self.transformer, labels, indices)
        known, tokens = known_tokens(self.transformer, given, batch)
        if config.guided(order.steps):
            labels = torch.cat([labels, torch.full_like(labels, self.transformer.num_classes)])
        shape = (2, len(labels), self.kv_heads, order.num_tokens, self.head_dim)
        height = self.heads // self.kv_heads * self.largest_group
        scores = torch.empty(max(SCORES, height * order.num_tokens), dtype=self.dtype)
        draws = min(batch * self.largest_group, max(1, LOGITS // self.logits))
        scales = [config.guidance_at(step, order.steps) for step in range(order.steps)]
        run = DecodeRun(
            config,
            batch,
            tokens.repeat(len(labels) // batch, 1),
            labels,
            known,
            draw_uniforms(config.seed, indices, order.num_tokens, stream),
            scales,
            int(order.group[~known].min()),
            max((step for step, scale in enumerate(scales) if scale != 1.0), default=-1),
            [self._empty_cache(shape) for _ in self._layers],
            scores,
            torch.empty_like(scores),
            torch.empty(draws, self.logits),
        )
        if run.first > 0:
            self._prefill(run, order.step_slots[run.first].start)
        return run

    @torch.inference_mode()
    def step(self, run: DecodeRun, step: int) -> None:
        """Generate the tokens of one step of the order, the next after those done."""
        slots, batch = self.order.step_slots[step], run.batch
        if step > run.last_guided:
            run.keep(batch)
        hidden = self._hidden(run, slots)  # [R·S, dim]
        here = slice(slots.start, slots.stop)
        if run.known[here].all():
            return
        conditional = hidden[: batch * len(slots)]
        if run.scales[step] != 1.0:
            conditional = torch.lerp(hidden[batch * len(slots) :], conditional, run.scales[step])
        drawn = self._draw(conditional, run.uniforms[:, here].reshape(-1), run.config, run.probabilities)
        drawn = torch.where(run.known[here], run.tokens[:batch, here], drawn.view(batch, -1))
        run.tokens.view(-1, batch, self.order.num_tokens)[:, :, here] = drawn

    def _empty_cache(self, shape: tuple[int, ...]) -> Tensor:
        cache = torch.empty(shape, dtype=self.dtype)
        use_large_pages(cache.data_ptr(), cache.nbytes, filled=False)
        return cache

    def _draw(self, hidden: Tensor, uniforms: Tensor, config: SamplingConfig, buffer: Tensor) -> Tensor:
        parts = zip(hidden.split(len(buffer)), uniforms.split(len(buffer)), strict=True)
        drawn = [
            draw_tokens(self._head(part), u, config, self._block, buffer, self.transformer.factors)
            for part, u in parts
        ]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)

    def _hidden(self, run: DecodeRun, slots: range) -> Tensor:
        """Compute ``slots`` of all rows: the normalised last hidden state ``[R·S, dim]``."""
        rows, count = len(run.tokens), len(slots)
        x = self._embed(run, slots, slice(0, rows))
        unseen = None
        if count > 1 and self.order.attention == "causal":
            unseen = torch.ones(count, count, dtype=torch.bool).triu(1)
            unseen = unseen.repeat(self.heads // self.kv_heads, 1)
        rotary = self._rotary[slots.start : slots.stop]
        for layer, cache in zip(self._layers, run.cache, strict=True):
            heads = self._qkv(layer, x, rotary, rows)
            self._store(cache, slots, heads)
            attended = self._attend(run, cache, heads[:, :, : self.heads], slots.stop, unseen)
            x = self._feed_forward(layer, layer.out(attended).add_(x))
        return normalize(x, self._length)

    def _embed(self, run: DecodeRun, slots: range, rows: slice) -> Tensor:
        x = self.transformer.embed(run.tokens[rows], run.labels[rows], slots)
        return x.to(self.dtype).flatten(0, 1)

    def _qkv(self, layer: LayerWeights, x: Tensor, rotary: Tensor, rows: int) -> Tensor:
        """Queries and keys, turned, and values: float32 ``[rows, S, heads + 2 · kv_heads, d]``.

        Queries come divided by the square root of d.
        """
        packed = layer.qkv(normalize(x, self._length))
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
        self, run: DecodeRun, cache: Tensor, queries: Tensor, stop: int, unseen: Tensor | None
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
        queries = queries.reshape(batch, height, self.head_dim).to(self.dtype)
        keys, values = cache.view(2, batch, -1, self.head_dim)[:, :, :stop].unbind()
        attended = torch.empty_like(queries)
        part = max(1, len(run.scores) // (height * stop))
        for start in range(0, batch, part):
            some = slice(start, min(start + part, batch))
            scores = self._scores(run, queries[some], keys[some])
            if unseen is not None:
                scores[:, :, stop - count :].masked_fill_(unseen, -math.inf)
            torch.softmax(scores, dim=-1, out=scores)
            torch.bmm(scores, values[some], out=attended[some])
        if count == 1:
            return attended.view(rows, self.dim)
        attended = attended.view(rows, self.heads, count, self.head_dim)
        return attended.transpose(1, 2).reshape(rows * count, self.dim)

    def _scores(self, run: DecodeRun, queries: Tensor, keys: Tensor) -> Tensor:
        """Products of queries ``[B, M, d]`` and keys ``[B, L, d]``: ``[B, M, L]``, in ``run.scores``.

        Few queries are the right-hand side of the faster product, whose result then has to be turned.
        """
        shape = (len(queries), queries.shape[1], keys.shape[1])
        scores = run.scores[: math.prod(shape)].view(shape)
        if shape[1] > FEW_QUERIES and self.dtype == torch.float32:
            return torch.bmm(queries, keys.transpose(1, 2), out=scores)
        space = run.scores if shape[1] == 1 else run.turned_scores
        turned = space[: math.prod(shape)].view(shape[0], shape[2], shape[1])
        torch.bmm(keys, queries.transpose(1, 2), out=turned)
        return scores if shape[1] == 1 else scores.copy_(turned.transpose(1, 2))

    def _feed_forward(self, layer: LayerWeights, x: Tensor) -> Tensor:
        return layer.down(layer.gated(normalize(x, self._length))).add_(x)

    def _prefill(self, run: DecodeRun, stop: int) -> None:
        """Compute the first ``stop`` slots at once, under the order's mask, to fill the cache."""
        slots, mask = range(stop), self.order.mask[:stop, :stop]
        part = max(1, PREFILL // stop)
        for start in range(0, len(run.labels), part):
            rows = slice(start, min(start + part, len(run.labels)))
            x = self._embed(run, slots, rows)
            for layer, cache in zip(self._layers, run.cache, strict=True):
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

    def _set_order(self) -> None:
        self.order = self.transformer.order
        self.largest_group = max(map(len, self.order.step_slots))
        self._rotary = self._rotary_factors()

    @torch.inference_mode()
    def _rotary_factors(self) -> Tensor:
        """The turns of all heads as complex numbers ``[N, heads + 2 · kv_heads, d / 2]``.

        Those of queries carry attention's 1 / sqrt(d), those of values are one.
        """
        turns = torch.view_as_complex(self.transformer.rotary.float().contiguous())[:, None]
        queries = (turns / math.sqrt(self.head_dim)).expand(-1, self.heads, -1)
        keys = turns.expand(-1, self.kv_heads, -1)
        return torch.cat([queries, keys, torch.ones_like(keys)], dim=1)

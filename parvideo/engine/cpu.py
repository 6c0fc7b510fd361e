"""The decode engine: a transformer arranged for generating, near the limit of the machine.

`parvideo.sampling.generate` is the plain loop: readable, and the reference. The engine draws the same tokens
(in float32 up to the rounding of sums taken in another order) and differs in how:

- weights are packed once for the matrix product (`parvideo.engine.packed`);
- keys and values lie in a static cache, and a step attends without a mask to exactly the filled part of it;
- guidance is mixed in the last hidden state, so that the head runs on half of the rows; exact, since the head
  is linear; after the last guided step the unguided rows are dropped;
- tokens are drawn without a cumulative sum over the vocabulary (`parvideo.engine.draw`);
- what a step needs beyond that is small and does not grow with the vocabulary times the steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from parvideo.engine.base import EngineBase, Request
from parvideo.engine.large_pages import use_large_pages
from parvideo.engine.packed import normalize
from parvideo.order import GenerationOrder
from parvideo.sampling import SamplingConfig, StepCallback, TokenCallback
from parvideo.transformer.model import VideoTransformer

SCORES = 1 << 18
"""Attention scores held at a time, unless one row's heads need more; they should stay in the CPU's cache."""
FEW_QUERIES = 8
"""Up to so many queries a key head, float32 scores are computed with keys on the left, in bfloat16 always."""


@dataclass
class DecodeRun(Request):
    """The clips that an engine is generating, and all it needs beside its weights.

    Attributes:
        cache: of each layer keys and values, ``[2, R, kv_heads, N, head_dim]``.
        scores: space for attention scores.
        turned_scores: space for scores that a product gives with slots first.
        probabilities: space for the probabilities of drawing, float32 ``[rows, V]``.
    """

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


class CpuEngine(EngineBase):
    """Generates with one transformer on the CPU, in any order that it was trained in.

    The weights of blocks and head are copied when the engine is made: later changes to them are not seen.
    Embeddings are looked up in the transformer's own.

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
        device = transformer.head.weight.device
        if device.type != "cpu":
            raise ValueError(
                f"the engine decodes on the CPU, this transformer lies on {device}; use "
                "parvideo.sampling.loop.generate there, or try parvideo.engine.cuda_graphs.CudaGraphEngine"
            )
        super().__init__(transformer, dtype, packed)

    def describe(self) -> dict[str, str]:
        """How this engine computes, in words, for reports."""
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "linear": "packed (oneDNN)" if self.packed else f"plain ({self.obstacle or 'as asked for'})",
            "pages": "large" if self._head.large_pages else "ordinary",
            "draw": self._describe_draw(),
        }

    @torch.inference_mode()
    def generate(
        self,
        order: GenerationOrder,
        labels: Tensor,
        config: SamplingConfig | None = None,
        indices: Sequence[int] | None = None,
        prefix: Tensor | None = None,
        rng_stream: int = 0,
        on_step: StepCallback | None = None,
        on_tokens: TokenCallback | None = None,
    ) -> Tensor:
        """Generate the tokens of a batch of clips; arguments, result and errors as of `sampling.generate`."""
        run = self.start(order, labels, config, indices, prefix, rng_stream)
        for step in range(run.first, order.steps):
            self.step(run, step)
            if on_step is not None:
                on_step(step + 1, order.steps)
            if on_tokens is not None:
                on_tokens(run.tokens[: run.batch], step + 1)
        return order.unflatten(run.tokens[: run.batch])

    @torch.inference_mode()
    def start(
        self,
        order: GenerationOrder,
        labels: Tensor,
        config: SamplingConfig | None = None,
        indices: Sequence[int] | None = None,
        prefix: Tensor | None = None,
        rng_stream: int = 0,
    ) -> DecodeRun:
        """Prepare the generation of a batch, and read the given frames in; arguments as of `generate`.

        Next comes `step` with the run's first step.
        """
        request = self._request(order, labels, config, indices, prefix, rng_stream)
        slots = order.num_tokens
        shape = (2, len(request.labels), self.kv_heads, slots, self.head_dim)
        height = self.heads // self.kv_heads * request.slots.largest_group
        scores = torch.empty(max(SCORES, height * slots), dtype=self.dtype)
        run = DecodeRun(
            **vars(request),
            cache=[self._empty_cache(shape) for _ in self._layers],
            scores=scores,
            turned_scores=torch.empty_like(scores),
            probabilities=self._draw_buffer(request.batch, request.slots),
        )
        if run.first > 0:
            before = range(order.step_slots[run.first].start)
            self._prefill(run.slots, run.cache, len(before), lambda rows: self._embed(run, before, rows))
        return run

    @torch.inference_mode()
    def step(self, run: DecodeRun, step: int) -> None:
        """Generate the tokens of one step of the order, the next after those done."""
        slots, batch = run.order.step_slots[step], run.batch
        if step > run.last_guided:
            run.keep(batch)
        hidden = self._hidden(run, slots)  # [R·S, dim]
        here = slice(slots.start, slots.stop)
        if run.prefix_mask[here].all():
            return
        conditional = hidden[: batch * len(slots)]
        if run.scales[step] != 1.0:
            conditional = torch.lerp(hidden[batch * len(slots) :], conditional, run.scales[step])
        drawn = self._draw(conditional, run.uniforms[:, here].reshape(-1), run.config, run.probabilities)
        drawn = torch.where(run.prefix_mask[here], run.tokens[:batch, here], drawn.view(batch, -1))
        run.tokens.view(-1, batch, run.order.num_tokens)[:, :, here] = drawn

    def _empty_cache(self, shape: tuple[int, ...]) -> Tensor:
        cache = torch.empty(shape, dtype=self.dtype)
        use_large_pages(cache.data_ptr(), cache.nbytes, filled=False)
        return cache

    def _hidden(self, run: DecodeRun, slots: range) -> Tensor:
        """Compute ``slots`` of all rows: the normalised last hidden state ``[R·S, dim]``."""
        rows, count = len(run.tokens), len(slots)
        x = self._embed(run, slots, slice(0, rows))
        unseen = None
        if count > 1 and run.order.attention == "causal":
            unseen = torch.ones(count, count, dtype=torch.bool).triu(1)
            unseen = unseen.repeat(self.heads // self.kv_heads, 1)
        rotary = run.slots.rotary[slots.start : slots.stop]
        for layer, cache in zip(self._layers, run.cache, strict=True):
            heads = self._qkv(layer, x, rotary, rows)
            cache[:, :, :, slots.start : slots.stop] = self._new_cache(heads)
            attended = self._attend(run, cache, heads[:, :, : self.heads], slots.stop, unseen)
            x = self._feed_forward(layer, layer.out(attended).add_(x))
        return normalize(x, self._length)

    def _embed(self, run: DecodeRun, slots: range, rows: slice) -> Tensor:
        x = self.transformer.embed(run.tokens[rows], run.labels[rows], run.slots.layout, slots)
        return x.to(self.dtype).flatten(0, 1)

    def _attend(
        self, run: DecodeRun, cache: Tensor, queries: Tensor, stop: int, unseen: Tensor | None
    ) -> Tensor:
        """Attention of queries ``[R, S, heads, d]`` over the first ``stop`` slots: ``[R·S, dim]``.

        ``unseen`` marks what a query does not see of its own group.
        """
        rows, count = queries.shape[:2]
        queries = self._grouped(queries)
        batch, height = queries.shape[:2]
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
        return self._ungrouped(attended, rows, count)

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

"""The graph engine: decoding by CUDA graphs, whose steps are replayed without the host taking part.

At batch 1 a GPU computes a step faster than a host launches its kernels. A CUDA graph records the launches of
one step and replays them in one call, on the same addresses and shapes. A step is therefore *static* here: it
reads and writes tensors that stay where they are (`StaticRun`), finds its place by a counter on the device,
and its shapes follow from its `StepKey` alone. One graph a key serves all steps of the key.

The same static steps run without graphs on any device (``graphs=False``). So the tests compare them with
`parvideo.sampling.generate` on a CPU; capture and replay need a GPU, and were not run on one so far.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvideo.engine import graph_recipe
from parvideo.engine.base import EngineBase, EngineSlots, Request
from parvideo.engine.graph_recipe import GraphRecipe
from parvideo.engine.packed import normalize
from parvideo.engine.static_attention import any_shape, attend_static, last_seen, seen_keys
from parvideo.engine.static_layer import CompiledPieces, LayerShape
from parvideo.order import GenerationOrder
from parvideo.sampling import BROKEN_LOGITS, NO_TOKEN, SamplingConfig, StepCallback, TokenCallback
from parvideo.transformer.model import VideoTransformer


class StepKey(NamedTuple):
    """What the shapes of a static step follow from, beside those of its run.

    Attributes:
        group: slots of the step.
        bucket: slots of the cache that it attends to, those not filled yet under a mask.
        guided: whether unguided rows are computed too.
    """

    group: int
    bucket: int
    guided: bool


@dataclass
class StaticRun:
    """The tensors that all steps of a batch work on. They stay where they are, also for the next batch.

    Attributes:
        slots: of the order.
        source: which of a run's tokens each slot is fed, int64 ``[N]``.
        turns: the slots' rotary factors as real numbers.
        targets: what tells each slot the place it predicts, float32 ``[N, dim]``; none without
            `target_position_embedding`.
        batch: B clips; R rows, clips and then, if any step is guided, their unguided copies.
        config: of its drawing; what the steps take from it is part of their graphs (`_fits`).
        start: the first slot of the next step, int64 ``[1]``.
        tokens: ordered tokens, then the ids that `CudaGraphEngine` gives the row's class and the transition
            tokens, int64 ``[R, N + 1 + transitions]``.
        prefix_mask: which ordered tokens were given, bool ``[N]``.
        uniforms: float64 ``[B, N]``.
        scales: guidance scale at each slot, float32 ``[N]``.
        largest: least and greatest of the logits that were the largest for their token, float32 ``[2]``,
            and 0: a finite pair unless logits were broken.
        cache: of each layer keys and values, ``[2, R, kv_heads, N, head_dim]``.
        probabilities: space for drawing, float32 ``[rows, V]``.
        graphs: those captured so far.
        pool: the memory that the graphs share for what lives during a step.
        stream: for capturing.
    """

    slots: EngineSlots
    source: Tensor
    turns: Tensor
    targets: Tensor | None
    batch: int
    config: SamplingConfig
    start: Tensor
    tokens: Tensor
    prefix_mask: Tensor
    uniforms: Tensor
    scales: Tensor
    largest: Tensor
    cache: list[Tensor]
    probabilities: Tensor
    graphs: dict[StepKey, torch.cuda.CUDAGraph] = field(default_factory=dict)
    pool: Any = None
    stream: torch.cuda.Stream | None = None


class CudaGraphEngine(EngineBase):
    """Generates with one transformer, in any order it was trained in, by steps that a CUDA graph can hold.

    It keeps the cache and the graphs of the last batch for the next one of as many clips in the same order,
    drawn alike (temperature, top-k, top-p; with guidance or without); another kind of batch takes their
    place. The weights of blocks and head are copied when the engine is made: later changes to them are not
    seen. Embeddings are looked up in the transformer's own.

    Args:
        transformer: in eval mode.
        dtype: to compute in, float32 or bfloat16; the transformer's own if not given.
        graphs: capture and replay CUDA graphs, or compute each step operation by operation. If not given,
            graphs where the transformer lies on CUDA.
        recipe: how to compute a step.

    Raises:
        ValueError: if the model is training, the dtype is another, or graphs are asked for elsewhere.
    """

    def __init__(
        self,
        transformer: VideoTransformer,
        dtype: torch.dtype | None = None,
        graphs: bool | None = None,
        recipe: GraphRecipe | None = None,
    ) -> None:
        weight = transformer.head.weight
        if graphs and not weight.is_cuda:
            raise ValueError(
                f"graphs=True needs a transformer on CUDA, this one lies on {weight.device}; use "
                "graphs=False, or on a CPU the faster parvideo.engine.cpu.CpuEngine"
            )
        self.recipe = graph_recipe.DEFAULT if recipe is None else recipe
        backend = self.recipe.compiled
        self._compiled = None if backend is None else CompiledPieces(backend)
        self.graphs = weight.is_cuda if graphs is None else graphs
        self.device = weight.device
        with torch.inference_mode():
            embeddings = [
                transformer.token_embedding,
                transformer.class_embedding,
                transformer.transition_embedding,
            ]
            self._embeddings = torch.cat([embedding.weight for embedding in embeddings])
            targets = cast(Iterable[nn.Embedding], transformer.target_embedding)
            self._target_embeddings = [part.weight.to(torch.float32, copy=True) for part in targets]
            names = transformer.order_embedding
            self._order_embedding = None if names is None else names.weight.to(torch.float32, copy=True)
        super().__init__(transformer, dtype)
        self._run: StaticRun | None = None
        self._ascending = torch.arange(math.prod(transformer.grid), device=self.device)

    def describe(self) -> dict[str, str]:
        """How this engine computes, in words, for reports."""
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "linear": "plain",
            "steps": "CUDA graphs" if self.graphs else "operation by operation",
            "layers": "operation by operation" if self._compiled is None else f"by {self.recipe.compiled}",
            "attention": self.recipe.attention,
            "bucket": f"{self.recipe.bucket} slots",
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
        """Generate the tokens of a batch of clips; arguments, result and errors as of `sampling.generate`.

        On CUDA ``on_step`` hears of steps that are under way, and broken logits are found at the end: only
        then does the host wait for the device.
        """
        with self._on_device():
            request = self._request(order, labels, config, indices, prefix, rng_stream)
            run = self.start(request)
            for step in range(request.first, order.steps):
                self.step(run, self.key(order, step, step <= request.last_guided))
                if on_step is not None:
                    on_step(step + 1, order.steps)
                if on_tokens is not None:
                    on_tokens(run.tokens[: run.batch, : order.num_tokens], step + 1)
            _check(run)
            return order.unflatten(run.tokens[: run.batch, : order.num_tokens])

    def key(self, order: GenerationOrder, step: int, guided: bool) -> StepKey:
        """The key of one of an order's steps."""
        slots, all_slots = order.step_slots[step], order.num_tokens
        bucket = math.ceil(slots.stop / self.recipe.bucket) * self.recipe.bucket
        return StepKey(len(slots), min(bucket, all_slots), guided)

    @torch.inference_mode()
    def start(self, request: Request) -> StaticRun:
        """Prepare the generation of a batch, and read the given frames in. Next comes `step`."""
        order, transformer = request.order, self.transformer
        run = self._run
        if run is None or not _fits(run, request):
            self._run = run = None  # its memory, before as much is taken anew
            self._run = run = self._allocate(request)
        run.tokens[:, : order.num_tokens] = request.tokens
        run.tokens[:, order.num_tokens] = request.labels + transformer.codebook_size
        run.prefix_mask.copy_(request.prefix_mask)
        run.uniforms.copy_(request.uniforms)
        run.scales.copy_(torch.tensor(request.scales)[order.group])
        run.largest.zero_()
        for cache in run.cache:
            cache.zero_()  # slots under the mask count for nothing as long as they are finite
        first = order.step_slots[request.first].start
        run.start.fill_(first)
        if first > 0:
            slots = self._ascending[:first]
            self._prefill(
                request.slots, run.cache, first, lambda rows: self._embed(run, run.tokens[rows], slots)
            )
        return run

    @torch.inference_mode()
    def step(self, run: StaticRun, key: StepKey) -> None:
        """Generate the tokens of the next step, whose key this is.

        With graphs the first step of a key is computed operation by operation, which also readies the
        libraries, and then captured, which computes nothing; from the second one on it is replayed.
        """
        if not self.graphs:
            self._step_by_step(run, key)
        elif key in run.graphs:
            run.graphs[key].replay()
        else:
            assert run.stream is not None
            main = torch.cuda.current_stream()
            run.stream.wait_stream(main)
            with torch.cuda.stream(run.stream):
                self._step_by_step(run, key)
            main.wait_stream(run.stream)
            graph = torch.cuda.CUDAGraph()
            # One pool serves all graphs: none leaves anything in it that is read after its step.
            with torch.cuda.graph(graph, run.pool, run.stream, capture_error_mode="thread_local"):
                self._step(run, key)
            run.graphs[key] = graph

    def _step_by_step(self, run: StaticRun, key: StepKey) -> None:
        """Compute a step; where it meets new shapes, pieces of it are compiled for them first."""
        by_kernels = self._compiled is None and self.recipe.attention != "flex"
        with nullcontext() if by_kernels else any_shape():
            self._step(run, key)

    def _step(self, run: StaticRun, key: StepKey) -> None:
        """The static step: no shape, address or number that the host knows differs between steps of a key."""
        batch = run.batch
        rows = 2 * batch if key.guided else batch
        tokens = run.tokens[:rows]
        slots = run.start + self._ascending[: key.group]
        x = self._embed(run, tokens, slots)  # [rows·S, dim]
        turns = run.turns.index_select(0, slots)
        shape = LayerShape(self.heads, self.kv_heads, self.head_dim, self.eps)
        last = last_seen(slots, run.slots.order.attention == "causal", self.heads // self.kv_heads)
        seen = seen_keys(last, self._ascending[: key.bucket], self.dtype, self.recipe.attention)
        for layer, cache in zip(self._layers, run.cache, strict=True):
            held = cache[:, :rows]
            if self._compiled is None:
                heads = self._qkv(layer, x, torch.view_as_complex(turns), rows)
                held.index_copy_(3, slots, self._new_cache(heads).to(self.dtype))
                attended = self._attend(heads[:, :, : self.heads], held[:, :, :, : key.bucket], seen)
                x = self._feed_forward(layer, layer.out(attended).add_(x))
            else:
                queries = self._compiled.before(layer, x, self._length, turns, slots, held, shape)
                attended = self._attend(queries, held[:, :, :, : key.bucket], seen)
                x = self._compiled.after(layer, x, attended, self._length)
        hidden = normalize(x, self._length)
        if key.guided:
            conditional, unconditional = hidden.float().chunk(2)
            scale = run.scales.index_select(0, run.start)
            hidden = torch.lerp(unconditional, conditional, scale).to(self.dtype)
        uniforms = run.uniforms.index_select(1, slots).flatten()
        drawn = self._draw(
            hidden, uniforms, run.config, run.probabilities, lambda logits: self._inspect(run, logits)
        )
        prefix_mask, held = run.prefix_mask.index_select(0, slots), tokens[:batch].index_select(1, slots)
        drawn = torch.where(prefix_mask, held, drawn.view(batch, -1))
        tokens.index_copy_(1, slots, drawn.repeat(rows // batch, 1))
        run.start.add_(key.group)

    def _embed(self, run: StaticRun, tokens: Tensor, slots: Tensor) -> Tensor:
        """What ``slots`` int64 ``[S]`` are fed, ``[rows·S, dim]``, from a run's tokens."""
        fed = tokens.index_select(1, run.source.index_select(0, slots))
        x = F.embedding(fed, self._embeddings)
        if run.targets is not None:
            x = x + run.targets.index_select(0, slots)
        return x.to(self.dtype).flatten(0, 1)

    def _attend(self, queries: Tensor, cache: Tensor, seen: Tensor) -> Tensor:
        """Attention of queries ``[R, S, heads, d]`` over keys and values ``[2, R, kv_heads, L, d]``:
        ``[R·S, dim]``."""
        rows, count = queries.shape[:2]
        grouped = self._grouped(queries).unflatten(0, (rows, self.kv_heads))
        attended = attend_static(grouped, cache[0], cache[1], seen, self.recipe.attention)
        return self._ungrouped(attended.contiguous().flatten(0, 1), rows, count)

    def _inspect(self, run: StaticRun, logits: Tensor) -> None:
        """Note broken logits, for `_check`, and flatten them, so that drawing stays within the vocabulary."""
        least, greatest = run.largest.unbind()
        for digit in logits.split(list(self.transformer.codebook_factors or [self.logits]), dim=-1):
            best = digit.amax(dim=-1, keepdim=True).float()
            torch.minimum(least, best.amin(), out=least)
            torch.maximum(greatest, best.amax(), out=greatest)
            digit.masked_fill_(~best.isfinite(), 0.0)

    def _allocate(self, request: Request) -> StaticRun:
        order, transformer, rows = request.order, self.transformer, len(request.labels)
        slots, device, vocabulary = order.num_tokens, self.device, transformer.codebook_size
        transitions = transformer.transition_embedding.num_embeddings
        tokens = torch.zeros(rows, slots + 1 + transitions, dtype=torch.int64, device=device)
        first = vocabulary + transformer.class_embedding.num_embeddings
        tokens[:, slots + 1 :] = torch.arange(first, first + transitions, device=device)
        shape = (2, rows, self.kv_heads, slots, self.head_dim)
        # Behind a run's tokens stand the ids of its class and of the transition tokens.
        source = request.slots.layout.source
        places = zip(self._target_embeddings, request.slots.layout.target.unbind(-1), strict=False)
        targets = [embedding[place] for embedding, place in places]
        if self._order_embedding is not None:
            targets.append(self._order_embedding[request.slots.layout.number].expand(slots, -1))
        run = StaticRun(
            request.slots,
            torch.where(source >= 0, source, slots - 1 - source),
            torch.view_as_real(request.slots.rotary),
            torch.stack(targets).sum(dim=0) if targets else None,
            request.batch,
            request.config,
            torch.zeros(1, dtype=torch.int64, device=device),
            tokens,
            torch.zeros(slots, dtype=torch.bool, device=device),
            torch.zeros(request.batch, slots, dtype=torch.float64, device=device),
            torch.zeros(slots, device=device),
            torch.zeros(2, device=device),
            [torch.empty(shape, dtype=self.dtype, device=device) for _ in self._layers],
            self._draw_buffer(request.batch, request.slots),
        )
        if self.graphs:
            run.pool, run.stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)
        return run

    def _on_device(self) -> AbstractContextManager[None]:
        if self.device.type != "cuda":
            return nullcontext()
        context: AbstractContextManager[None] = torch.cuda.device(self.device)
        return context


def _fits(run: StaticRun, request: Request) -> bool:
    """Whether a run's tensors and graphs are those of another request, too."""
    ours, theirs = run.config, request.config
    return run.slots is request.slots and (
        run.batch,
        len(run.tokens),
        ours.temperature,
        ours.top_k,
        ours.top_p,
    ) == (
        request.batch,
        len(request.tokens),
        theirs.temperature,
        theirs.top_k,
        theirs.top_p,
    )


def _check(run: StaticRun) -> None:
    """Raise ValueError if any logits were broken. Here the host waits for the device."""
    least, greatest = run.largest.tolist()
    if math.isnan(least) or greatest == math.inf:
        raise ValueError(BROKEN_LOGITS)
    if least == -math.inf:
        raise ValueError(NO_TOKEN)

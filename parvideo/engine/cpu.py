"""The decode engine: a transformer arranged for generating, near the limit of the machine.

`parvideo.sampling.generate` is the plain loop: readable, and the reference. The engine draws the same tokens
(in float32 up to the rounding of sums taken in another order) and differs in how:

- matrix products and attention are computed by the kernels that are fastest on this machine for the shapes
at hand,
  found by timing them (`parvideo.engine.selection`), PyTorch's own among them;
- keys and values lie in a static cache, and a step attends without a mask to exactly the filled part of it;
- guidance is mixed in the last hidden state, so that the head runs on half of the rows; exact, since the head
  is linear; after the last guided step the unguided rows are dropped;
- tokens are drawn without a cumulative sum over the vocabulary (`parvideo.engine.draw`);
- what a step needs beyond that is small and does not grow with the vocabulary times the steps.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast, get_args

import torch
from torch import Tensor

from parvideo.engine.attention import Attention, Space, turn
from parvideo.engine.base import EngineBase, Request
from parvideo.engine.draw import draw_tokens
from parvideo.engine.large_pages import aligned_empty
from parvideo.engine.native import HEAD_DIMS, native_kernels
from parvideo.engine.packed import normalize, packing_obstacle
from parvideo.engine.products import HEAD, KINDS, PLAIN, Layer, Product, Setting, plain_head, stored
from parvideo.engine.selection import BLOCKS, CUMULATIVE, Choice, Kernels, Selection, Shapes
from parvideo.order import GenerationOrder
from parvideo.sampling import SamplingConfig, StepCallback, TokenCallback
from parvideo.transformer.blocks import TransformerBlock
from parvideo.transformer.model import VideoTransformer


@dataclass
class DecodeRun(Request):
    """The clips that an engine is generating, and all it needs beside its weights.

    Attributes:
        cache: of each layer keys and values, ``[2, R, kv_heads, N, head_dim]``.
        space: for attention scores.
        probabilities: space for the probabilities of drawing, float32 ``[rows, V]``.
        layers: the weights, stored as is best for this run.
        head: of the transformer, likewise.
        choice: what computes it.
    """

    cache: list[Tensor]
    space: Space
    probabilities: Tensor
    layers: list[Layer]
    head: Product
    choice: Choice

    @property
    def nbytes(self) -> int:
        """Memory of all its tensors, the weights apart."""
        tensors = [self.tokens, self.labels, self.uniforms, self.space.scores, self.space.turned]
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
        kernels: ``timed``: for each product, attention and drawing the fastest way, found by timing (a
        second, when
            shapes are met that no engine on this machine has met yet); what was found is kept, so that runs
            on one machine choose alike. The others never time and compute everything in one way, on every
            machine that can: ``packed`` by oneDNN's packed products, ``plain`` by PyTorch's ordinary
            functions, ``native`` by `parvideo.engine.native`.

    Raises:
        ValueError: if the model is training or not on the CPU, the dtype is another, or there are no such
        kernels here.
    """

    def __init__(
        self, transformer: VideoTransformer, dtype: torch.dtype | None = None, kernels: Kernels = "timed"
    ) -> None:
        device = transformer.head.weight.device
        if device.type != "cpu":
            raise ValueError(
                f"the engine decodes on the CPU, this transformer lies on {device}; use "
                "parvideo.sampling.loop.generate there, or try parvideo.engine.cuda_graphs.CudaGraphEngine"
            )
        if kernels not in get_args(Kernels):
            raise ValueError(f"kernels must be one of {', '.join(get_args(Kernels))}; got {kernels!r}")
        self.kernels = kernels
        super().__init__(transformer, dtype)

    def _arrange(self) -> None:
        """Copy the weights; how they are best stored turns out when a batch is asked for."""
        native, self._compiled = None, "not asked for"
        if self.kernels in ("timed", "native"):
            native, self._compiled = native_kernels(self.dtype)
        if native is not None and torch.get_num_threads() > 1 and not native.parallel:
            native, self._compiled = None, f"{self._compiled}: without OpenMP, for one thread"
        obstacle = packing_obstacle(torch.empty(1, 1, dtype=self.dtype)) if self.kernels == "packed" else None
        if self.kernels == "native":
            obstacle = self._compiled if native is None else None
            if self.head_dim not in HEAD_DIMS:
                obstacle = f"they attend with heads of width {HEAD_DIMS}, this model's have {self.head_dim}"
        if obstacle is not None:
            raise ValueError(f"kernels={self.kernels!r} is impossible here: {obstacle}; use kernels='timed'")
        self._setting = Setting(self.dtype, self.eps, native)
        self._attention = Attention(self.heads, self.kv_heads, self.head_dim, self.dtype, native)
        weights = sum(p.numel() for p in self.transformer.blocks.parameters()) * self.dtype.itemsize
        self.selection = Selection(
            self._setting, self._attention, self.kernels, self._compiled, self.logits, weights
        )
        blocks = cast(Iterable[TransformerBlock], self.transformer.blocks)
        self._stored = [Layer(block, self._setting) for block in blocks]
        self._stored_head = plain_head(self.transformer, self._setting)
        self._layers, self._head = self._stored, self._stored_head
        self._storages = {kind.name: PLAIN for kind in KINDS}

    def describe(self) -> dict[str, str]:
        """How this engine computes, in words, for reports; choices are known once it has been used."""
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "kernels": self.kernels,
            "native kernels": self._compiled,
            **{f"{kind} weights": storage for kind, storage in self._storages.items()},
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
        shape = (2, len(request.labels), self.kv_heads, order.num_tokens, self.head_dim)
        cache = [self._empty_cache(shape) for _ in range(self.transformer.num_layers)]
        space = self._attention.space(request.slots.largest_group, order.num_tokens)
        probabilities = self._draw_buffer(request.batch, request.slots)
        choice = self._choose(request, cache[0], space, probabilities)
        self._store(choice.storages)
        run = DecodeRun(
            **vars(request),
            cache=cache,
            space=space,
            probabilities=probabilities,
            layers=list(self._stored),
            head=self._stored_head,
            choice=choice,
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
        uniforms = run.uniforms[:, here].reshape(-1)
        block = self._block if self.selection.drawing_way(run.choice, len(conditional)) == BLOCKS else 0
        drawn = self._draw(conditional, uniforms, run.config, run.probabilities, head=run.head, block=block)
        drawn = torch.where(run.prefix_mask[here], run.tokens[:batch, here], drawn.view(batch, -1))
        run.tokens.view(-1, batch, run.order.num_tokens)[:, :, here] = drawn

    def _empty_cache(self, shape: tuple[int, ...]) -> Tensor:
        return aligned_empty(*shape, dtype=self.dtype)

    def _choose(self, request: Request, cache: Tensor, space: Space, probabilities: Tensor) -> Choice:
        """What is fastest for the batch asked for."""
        shapes = Shapes()
        order, clips = request.order, request.batch
        for step in range(request.first, order.steps):
            rows = len(request.tokens) if step <= request.last_guided else clips
            shapes.add(rows, clips, order.step_slots[step])

        def draw(block: int, rows: int) -> None:
            some = min(rows, len(probabilities))
            uniforms = torch.full((some,), 0.5, dtype=torch.float64)
            draw_tokens(torch.zeros(some, self.logits), uniforms, request.config, block, probabilities)

        draws: dict[str, Callable[[int], Any]] = {}
        if self._block:
            draws = {BLOCKS: partial(draw, self._block), CUMULATIVE: partial(draw, 0)}
        products = self._stored[0].products() | {HEAD.name: self._stored_head}
        return self.selection.choose(shapes, products, cache, space, request.slots.rotary, draws)

    def _store(self, storages: dict[str, str]) -> None:
        """Arrange the weights, unless they are so already; runs under way go on with what they began with."""
        if storages == self._storages:
            return
        setting, padded = self._setting, self.selection.padded
        layers = self._stored
        self._stored = self._layers = []  # so that a layer's old weights go when its new ones are made
        while layers:
            self._stored.append(layers.pop(0).stored(storages, setting, padded))
        self._stored_head = stored(HEAD, self._stored_head, storages, setting, padded)
        self._layers, self._head, self._storages = self._stored, self._stored_head, storages

    def _hidden(self, run: DecodeRun, slots: range) -> Tensor:
        """Compute ``slots`` of all rows: the normalised last hidden state ``[R·S, dim]``."""
        rows, count = len(run.tokens), len(slots)
        x = self._embed(run, slots, slice(0, rows))
        rotary = run.slots.rotary[slots.start : slots.stop]
        way = self.selection.attention_way(run.choice, rows, count, slots.stop)
        causal = run.order.attention == "causal"
        for layer, cache in zip(run.layers, run.cache, strict=True):
            heads = self._split(layer.qkv(x), rows, layer.qk_norm)
            attended = self._attention(way, heads, rotary, cache, slots.start, causal, run.space)
            x = layer.out(attended, x)
            x = layer.down(layer.gated(x), x)
        return normalize(x, self._length)

    def _qkv(self, layer: Any, x: Tensor, rotary: Tensor, rows: int) -> Tensor:
        """As `EngineBase._qkv`, by products that divide by the length themselves."""
        return turn(self._split(layer.qkv(x), rows, layer.qk_norm), rotary)

    def _feed_forward(self, layer: Any, x: Tensor) -> Tensor:
        return layer.down(layer.gated(x), x)

    def _embed(self, run: DecodeRun, slots: range, rows: slice) -> Tensor:
        x = self.transformer.embed(run.tokens[rows], run.labels[rows], run.slots.layout, slots)
        return x.to(self.dtype).flatten(0, 1)

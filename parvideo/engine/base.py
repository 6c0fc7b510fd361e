"""What the decode engines share: a transformer's weights arranged for decoding, and the parts of a step.

`parvideo.engine.cpu` decodes on a CPU, `parvideo.engine.cuda_graphs` by CUDA graphs.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.engine.attention import turn
from parvideo.engine.draw import block_size, draw_tokens
from parvideo.engine.packed import DecodeLinear, LayerWeights, fold, normalize
from parvideo.order import GenerationOrder
from parvideo.sampling import SamplingConfig, check_request, prefix_tokens
from parvideo.sampling.noise import draw_uniforms
from parvideo.transformer.blocks import TransformerBlock
from parvideo.transformer.cache import kv_bytes
from parvideo.transformer.layout import SlotLayout
from parvideo.transformer.model import VideoTransformer

LOGITS = 1 << 24
"""Logits held at a time, unless one row's vocabulary is larger."""
PREFILL = 4096
"""Slots computed at a time while given frames are read in, unless one clip has more."""


@dataclass(frozen=True, eq=False)
class EngineSlots:
    """An order's slots as an engine uses them, made once for each order.

    Attributes:
        layout: as the transformer uses them.
        rotary: the turns of all heads as complex numbers ``[N, heads + 2 · kv_heads, d / 2]``. Those of
            queries carry attention's 1 / sqrt(d), those of values are one.
        largest_group: slots of the largest step.
    """

    layout: SlotLayout
    rotary: Tensor
    largest_group: int

    @property
    def order(self) -> GenerationOrder:
        """Whose slots they are."""
        return self.layout.order


@dataclass
class Request:
    """A batch of clips to generate, found to be sound.

    Attributes:
        slots: the order's slots for the engine's arithmetic.
        config: how to draw.
        batch: B, the number of clips; R rows are the clips and, while guidance needs them, unguided copies.
        tokens: ordered tokens, int64 ``[R, N]``.
        labels: int64 ``[R]``.
        prefix_mask: which ordered tokens were given, bool ``[N]``.
        uniforms: float64 ``[B, N]``, on the CPU.
        scales: guidance scale of each step.
        first: the first step with a token to generate.
        last_guided: the last step with guidance, -1 if there is none.
    """

    slots: EngineSlots
    config: SamplingConfig
    batch: int
    tokens: Tensor
    labels: Tensor
    prefix_mask: Tensor
    uniforms: Tensor
    scales: list[float]
    first: int
    last_guided: int

    @property
    def order(self) -> GenerationOrder:
        """Whose tokens are generated."""
        return self.slots.order


class EngineBase:
    """A transformer's weights as an engine uses them, for any order that the transformer was trained in.

    The weights of blocks and head are copied when the engine is made: later changes to them are not seen.
    Embeddings are looked up in the transformer's own.

    Args:
        transformer: in eval mode.
        dtype: to compute in, float32 or bfloat16; the transformer's own if not given.

    Raises:
        ValueError: if the model is training, or the dtype is another.
    """

    def __init__(self, transformer: VideoTransformer, dtype: torch.dtype | None = None) -> None:
        weight = transformer.head.weight
        dtype = weight.dtype if dtype is None else dtype
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
        if transformer.training:
            raise ValueError(
                "the transformer is in training mode, where dropout spoils samples; call eval() first"
            )
        with torch.inference_mode():
            self.transformer = transformer
            self.dtype = dtype
            config = transformer.config
            self.dim: int = config["dim"]
            self.heads: int = config["num_heads"]
            self.kv_heads: int = config["num_kv_heads"]
            self.head_dim = self.dim // self.heads
            self.eps: float = config["norm_eps"]
            self._length = torch.tensor(math.sqrt(config["dim"] * config["norm_eps"]), device=weight.device)
            self.logits = transformer.head.out_features
            self._block = block_size(self.logits) if transformer.codebook_factors is None else 0
            self._arrange()
        self._slots: dict[int, EngineSlots] = {}

    def _arrange(self) -> None:
        """Copy the weights."""
        blocks = cast(Iterable[TransformerBlock], self.transformer.blocks)
        self._layers: Sequence[Any] = [LayerWeights(block, self.dtype) for block in blocks]
        head = fold(self.transformer.head.weight, self.transformer.norm)
        self._head: Callable[[Tensor], Tensor] = DecodeLinear(head.to(self.dtype), packed=False)

    def slots(self, order: GenerationOrder) -> EngineSlots:
        """An order's slots for this engine; made once for each order, and then kept.

        Raises:
            ValueError: as of `VideoTransformer.layout`.
        """
        kept = self._slots.get(id(order))
        if kept is None or kept.order is not order:
            layout = self.transformer.layout(order)
            largest = max(map(len, order.step_slots))
            self._slots[id(order)] = kept = EngineSlots(layout, self._rotary_factors(layout), largest)
        return kept

    def cache_bytes(self, batch: int, guided: bool = True) -> int:
        """Memory of the keys and values of ``batch`` clips."""
        rows, slots = batch * (2 if guided else 1), math.prod(self.transformer.grid)
        return kv_bytes(
            self.transformer.num_layers, rows, slots, self.kv_heads * self.head_dim, self.dtype.itemsize
        )

    def _describe_draw(self) -> str:
        return f"blocks of {self._block}" if self._block else "cumulative sum"

    def _request(
        self,
        order: GenerationOrder,
        labels: Tensor,
        config: SamplingConfig | None,
        indices: Sequence[int] | None,
        prefix: Tensor | None,
        rng_stream: int,
    ) -> Request:
        """Check what is asked for, arguments as of `sampling.generate`, and draw its random numbers."""
        config = SamplingConfig() if config is None else config
        if config.noise != "uniform":
            raise ValueError(
                f"the engines draw by uniform numbers alone, noise is {config.noise!r}; "
                "parvideo.sampling.loop.generate and parvideo.sampling.fixed_point.generate draw by either"
            )
        slots, batch = self.slots(order), len(labels)
        indices = range(batch) if indices is None else indices
        check_request(self.transformer, labels, indices)
        prefix_mask, tokens = prefix_tokens(self.transformer, order, prefix, batch)
        if config.guided(order.steps):
            labels = torch.cat([labels, torch.full_like(labels, self.transformer.num_classes)])
        scales = [config.guidance_at(step, order.steps) for step in range(order.steps)]
        return Request(
            slots,
            config,
            batch,
            tokens.repeat(len(labels) // batch, 1),
            labels,
            prefix_mask,
            draw_uniforms(config.seed, indices, order.num_tokens, rng_stream),
            scales,
            int(order.group[~prefix_mask.cpu()].min()),
            max((step for step, scale in enumerate(scales) if scale != 1.0), default=-1),
        )

    def _draw_buffer(self, batch: int, slots: EngineSlots) -> Tensor:
        """Space for the probabilities of the rows drawn at a time, float32 ``[rows, V]``."""
        rows = min(batch * slots.largest_group, max(1, LOGITS // self.logits))
        return torch.empty(rows, self.logits, device=self._length.device)

    def _draw(
        self,
        hidden: Tensor,
        uniforms: Tensor,
        config: SamplingConfig,
        buffer: Tensor,
        inspect: Callable[[Tensor], None] | None = None,
        head: Callable[[Tensor], Tensor] | None = None,
        block: int | None = None,
    ) -> Tensor:
        """Draw a token for each row of ``hidden`` ``[M, dim]``: int64 ``[M]``.

        ``inspect`` takes the place of `draw_tokens`' checks; it may mend the logits it is shown. ``head`` and
        ``block`` are the engine's own if not given.
        """
        head = self._head if head is None else head
        block = self._block if block is None else block
        drawn = []
        for part, u in zip(hidden.split(len(buffer)), uniforms.split(len(buffer)), strict=True):
            logits = head(part)
            if inspect is not None:
                inspect(logits)
            codebook_factors = self.transformer.codebook_factors
            drawn.append(draw_tokens(logits, u, config, block, buffer, codebook_factors, inspect is None))
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)

    def _qkv(self, layer: LayerWeights, x: Tensor, rotary: Tensor, rows: int) -> Tensor:
        """Queries and keys, turned, and values: float32 ``[rows, S, heads + 2 · kv_heads, d]``.

        Queries come divided by the square root of d.
        """
        return turn(self._split(layer.qkv(normalize(x, self._length)), rows, layer.qk_norm), rotary)

    def _split(self, qkv: Tensor, rows: int, qk_norm: Sequence[Tensor] | None) -> Tensor:
        """A product ``[rows·S, out]`` as heads ``[rows, S, heads + 2 · kv_heads, d]``; queries and keys
        normalised, in place, if there are weights for that."""
        heads = qkv.view(rows, -1, self.heads + 2 * self.kv_heads, self.head_dim)
        if qk_norm is not None:
            parts = heads.split([self.heads, self.kv_heads, self.kv_heads], dim=2)
            for part, weight in zip(parts, qk_norm, strict=False):
                part.copy_(F.rms_norm(part, (self.head_dim,), weight, self.eps))
        return heads

    def _new_cache(self, heads: Tensor) -> Tensor:
        """The keys and values among ``heads`` ``[rows, S, heads + 2 · kv_heads, d]``, as the cache has them:
        ``[2, rows, kv_heads, S, d]``."""
        return heads[:, :, self.heads :].unflatten(2, (2, self.kv_heads)).permute(2, 0, 3, 1, 4)

    def _grouped(self, queries: Tensor) -> Tensor:
        """Queries ``[R, S, heads, d]`` as the rows of one product a key head: ``[R · kv_heads, M, d]``.

        The M rows are the query heads that share keys, and of each the slots.
        """
        rows, count = queries.shape[:2]
        shared = self.heads // self.kv_heads
        if count > 1:
            queries = queries.unflatten(2, (self.kv_heads, shared)).permute(0, 2, 3, 1, 4)
        return queries.reshape(rows * self.kv_heads, shared * count, self.head_dim).to(self.dtype)

    def _ungrouped(self, attended: Tensor, rows: int, count: int) -> Tensor:
        """What attention gave for `_grouped` queries, as ``[R·S, dim]``."""
        if count == 1:
            return attended.view(rows, self.dim)
        attended = attended.view(rows, self.heads, count, self.head_dim)
        return attended.transpose(1, 2).reshape(rows * count, self.dim)

    def _feed_forward(self, layer: LayerWeights, x: Tensor) -> Tensor:
        return layer.down(layer.gated(normalize(x, self._length))).add_(x)

    def _prefill(
        self, slots: EngineSlots, cache: list[Tensor], stop: int, embed: Callable[[slice], Tensor]
    ) -> None:
        """Compute the first ``stop`` slots at once, under the order's mask, to fill the cache.

        Args:
            slots: of the order.
            cache: of each layer keys and values, ``[2, R, kv_heads, N, head_dim]``.
            stop: slots to compute.
            embed: what they are fed in some of the rows, ``[rows·stop, dim]``.
        """
        rotary = slots.rotary[:stop]
        mask = slots.layout.mask(range(stop)).dense
        count, part = cache[0].shape[1], max(1, PREFILL // stop)
        for start in range(0, count, part):
            rows = slice(start, min(start + part, count))
            x = embed(rows)
            for layer, held in zip(self._layers, cache, strict=True):
                heads = self._qkv(layer, x, rotary, rows.stop - start)
                held[:, rows, :, :stop] = self._new_cache(heads)
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

    @torch.inference_mode()
    def _rotary_factors(self, layout: SlotLayout) -> Tensor:
        """See `EngineSlots.rotary`."""
        turns = torch.view_as_complex(layout.rotary.contiguous())[:, :, None]
        queries = (turns[0] / math.sqrt(self.head_dim)).expand(-1, self.heads, -1)
        keys = turns[1].expand(-1, self.kv_heads, -1)
        return torch.cat([queries, keys, torch.ones_like(keys)], dim=1)

"""The video transformer: an order's slots in, logits of the tokens they predict out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from parvideo.order import GenerationOrder, Grid
from parvideo.transformer.attention import AttentionMask
from parvideo.transformer.blocks import TransformerBlock
from parvideo.transformer.cache import KVCache
from parvideo.transformer.factorization import check_factors
from parvideo.transformer.layout import SlotLayout
from parvideo.transformer.norm import RMSNorm
from parvideo.transformer.rotary import (
    QueryPositions,
    SpecialPositions,
    axis_dims,
    check_positions,
    rotary_tables,
)

RENAMED = {"factors": "codebook_factors", "target_positions": "target_position_embedding"}
"""What settings are called now that earlier versions' configurations, checkpoints and YAML call otherwise."""


def current_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """A transformer's configuration by today's names of its settings."""
    return {RENAMED.get(name, name): value for name, value in config.items()}


class VideoTransformer(nn.Module):
    """An autoregressive transformer over the slots of a generation order (LLaMA-style, as in PAR).

    Training and decoding call the same `forward`. Matrices start normal(0, 0.02), the two that write to the
    residual stream divided by sqrt(2 · layers); norms start at one.

    The transformer holds no order. `layout` turns one into tensors, and every `forward` is given those.

    Args:
        grid: the latent grid (t, h, w), which all orders that it is given must have.
        codebook_size: number of different tokens, V.
        num_classes: number of classes; label ``num_classes`` is the null class that guidance contrasts with.
        dim: width of the residual stream.
        num_layers: number of blocks.
        num_heads: query heads; must divide ``dim``.
        num_kv_heads: key and value heads (grouped-query attention); as many as ``num_heads`` if not given.
        ffn_hidden: width of the feed-forward layer; LLaMA's 8/3 · dim rounded up to a multiple of 256 if
            not given.
        qk_norm: normalise queries and keys per head.
        dropout: on the embeddings and on what each block adds, while training.
        attention_dropout: on attention weights, while training.
        rope_base: base of the rotary frequencies.
        special_positions: positions of class and transition slots, see `rotary_tables`.
        norm_eps: of every RMSNorm.
        gradient_checkpointing: recompute each block in the backward pass instead of storing it.
        codebook_factors: predict a token as digits below these factors, whose product is ``codebook_size``
            (see `parvideo.transformer.factorization`): the head then has their sum of outputs, not their
            product.
        num_transitions: transition tokens to hold: the most that an order it is given needs
            (`GenerationOrder.num_transitions`). With ``target_position_embedding`` one model can serve
            several orders.
        target_position_embedding: add to what a slot is fed an embedding of the place it predicts, which a
            model of several orders cannot know otherwise (as in RAR and sigma-GPT).
        query_positions: turn a slot's query by the place of the token it is fed (``source``, as published
            weights expect) or of the token it predicts (``target``), see `rotary_tables`.
        order_names: tell the model which of these orders it is in, by an embedding for each that is added to
            what every slot is fed; not told if empty. It then serves orders of these names alone.

    Raises:
        ValueError: if an order's name is given twice, a size is not positive, heads do not divide the width
            or are too narrow for rotary positions, or positions are unknown.
    """

    def __init__(
        self,
        grid: Grid,
        codebook_size: int,
        num_classes: int,
        dim: int,
        num_layers: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        ffn_hidden: int | None = None,
        qk_norm: bool = False,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        rope_base: float = 10000.0,
        special_positions: SpecialPositions = "target",
        norm_eps: float = 1e-5,
        gradient_checkpointing: bool = False,
        codebook_factors: Sequence[int] | None = None,
        num_transitions: int = 0,
        target_position_embedding: bool = False,
        query_positions: QueryPositions = "source",
        order_names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        ffn_hidden = 256 * math.ceil(int(8 * dim / 3) / 256) if ffn_hidden is None else ffn_hidden
        for name, value in [
            ("codebook_size", codebook_size),
            ("num_classes", num_classes),
            ("dim", dim),
            ("num_layers", num_layers),
            ("num_heads", num_heads),
            ("num_kv_heads", num_kv_heads),
            ("ffn_hidden", ffn_hidden),
        ]:
            if value < 1:
                raise ValueError(f"{name} must be positive, got {value}")
        if len(grid) != 3 or min(grid) < 1:
            raise ValueError(f"grid must be three positive sizes (t, h, w), got {grid}")
        if num_transitions < 0:
            raise ValueError(f"num_transitions must be 0 or more, got {num_transitions}")
        if len(set(order_names)) < len(order_names):
            raise ValueError(f"order_names are {', '.join(order_names)}; give none twice")
        if dim % num_heads:
            raise ValueError(f"num_heads must divide dim: got dim={dim}, num_heads={num_heads}")
        if num_heads % num_kv_heads:
            raise ValueError(
                f"num_kv_heads must divide num_heads: got num_heads={num_heads}, num_kv_heads={num_kv_heads}"
            )
        axis_dims(dim // num_heads, grid)
        check_positions(special_positions, query_positions)
        self.codebook_factors = (
            None if codebook_factors is None else check_factors(codebook_factors, codebook_size)
        )
        t, h, w = grid
        self.grid: Grid = (t, h, w)
        self.codebook_size = codebook_size
        self.num_classes = num_classes
        self.gradient_checkpointing = gradient_checkpointing
        self.config: dict[str, Any] = {
            "grid": list(grid),
            "codebook_size": codebook_size,
            "num_classes": num_classes,
            "dim": dim,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "num_kv_heads": num_kv_heads,
            "ffn_hidden": ffn_hidden,
            "qk_norm": qk_norm,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "rope_base": rope_base,
            "special_positions": special_positions,
            "norm_eps": norm_eps,
            "gradient_checkpointing": gradient_checkpointing,
            "codebook_factors": None if codebook_factors is None else list(codebook_factors),
            "num_transitions": num_transitions,
            "target_position_embedding": target_position_embedding,
            "query_positions": query_positions,
        }
        self.token_embedding = nn.Embedding(codebook_size, dim)
        self.class_embedding = nn.Embedding(num_classes + 1, dim)
        self.transition_embedding = nn.Embedding(num_transitions, dim)
        self.target_embedding = nn.ModuleList(
            nn.Embedding(size, dim) for size in (grid if target_position_embedding else ())
        )
        if order_names:  # otherwise left out, as in the model folders written before there was such a setting
            self.config["order_names"] = list(order_names)
        self.order_embedding = nn.Embedding(len(order_names), dim) if order_names else None
        self.embedding_dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                dim, num_heads, num_kv_heads, ffn_hidden, qk_norm, dropout, attention_dropout, norm_eps
            )
            for _ in range(num_layers)
        )
        self.norm = RMSNorm(dim, eps=norm_eps)
        self.head = nn.Linear(
            dim, sum(self.codebook_factors) if self.codebook_factors else codebook_size, bias=False
        )
        self._layouts: dict[int, SlotLayout] = {}
        self._initialise()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild a model, freshly initialised, from another's `config`, whichever parvideo wrote it."""
        return cls(**current_names(config))

    @property
    def num_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def layout(self, order: GenerationOrder) -> SlotLayout:
        """The slots of an order, for `forward`; made once for each order and device, and then kept.

        A model generates well in the orders that it was trained in.

        Raises:
            ValueError: if the order has another grid or more transition tokens than this model holds, or is
                none of those that it is told apart (``order_names``).
        """
        device = self.head.weight.device
        kept = self._layouts.get(id(order))
        if kept is not None and kept.order is order and kept.device == device:
            return kept
        if order.grid != self.grid:
            raise ValueError(f"this model is for grid {self.grid}, the order for {order.grid}")
        if order.num_transitions > self.transition_embedding.num_embeddings:
            raise ValueError(
                f"the order needs {order.num_transitions} transition tokens, "
                f"this model has {self.transition_embedding.num_embeddings} (num_transitions)"
            )
        config = self.config
        names: list[str] = config.get("order_names", [])
        if names and order.name not in names:
            raise ValueError(
                f"this model is told which order it is in, and knows {', '.join(names)}; not {order.name}"
            )
        table = rotary_tables(
            order,
            config["dim"] // config["num_heads"],
            config["rope_base"],
            config["special_positions"],
            config["query_positions"],
        )
        number = names.index(order.name) if names else 0
        self._layouts[id(order)] = layout = SlotLayout.build(order, table, device, number)
        return layout

    def make_cache(self, batch: int, spare: int = 0) -> KVCache:
        """An empty cache for ``batch`` rows and ``spare`` slots beyond the order's, in this model's dtype and
        on its device."""
        config, weight = self.config, self.head.weight
        return KVCache(
            self.num_layers,
            batch,
            config["num_kv_heads"],
            math.prod(self.grid) + spare,
            config["dim"] // config["num_heads"],
            weight.dtype,
            weight.device,
        )

    def forward(
        self,
        tokens: Tensor,
        labels: Tensor,
        layout: SlotLayout,
        slots: range | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits of the tokens that ``slots`` predict.

        Args:
            tokens: int64 ``[B, N]`` in the order; only those fed to ``slots`` are read.
            labels: class of each row, int64 ``[B]``; ``num_classes`` is the null class.
            layout: of the order, from `layout`.
            slots: the slots to compute, all N if not given. Without a cache they must start at 0, since
                every slot sees all slots of earlier groups; with a cache those must have been computed.
            cache: keys and values of earlier slots, extended by these.

        Returns:
            ``[B, S, V]`` for the S slots; ``[B, S, sum(codebook_factors)]``, factor after factor, with
            `codebook_factors`.

        Raises:
            ValueError: if the slots skip some that they see and no cache holds them.
        """
        return self.head(self.hidden(tokens, labels, layout, slots, cache))

    def hidden(
        self,
        tokens: Tensor,
        labels: Tensor,
        layout: SlotLayout,
        slots: range | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """The normalised last hidden state ``[B, S, dim]``, which the linear `head` turns into logits."""
        slots = range(layout.order.num_tokens) if slots is None else slots
        if cache is None and slots.start != 0:
            raise ValueError(f"slots {slots} need a cache that holds the {slots.start} slots before them")
        x = self.embedding_dropout(self.embed(tokens, labels, layout, slots))
        rotary = layout.rotary[:, slots.start : slots.stop]
        mask = layout.mask(slots)
        for layer, block in enumerate(self.blocks):
            if self.gradient_checkpointing and cache is None and torch.is_grad_enabled():
                x = checkpoint(block, x, rotary, mask, use_reentrant=False)
            elif cache is None:
                x = block(x, rotary, mask)
            else:
                # Not what a training run has compiled: a cache has other shapes at every step and layer, for
                # each of which it would be compiled again.
                x = block.forward(x, rotary, mask, cache, layer, slots)
        return self.norm(x)

    def hidden_of_rows(
        self,
        tokens: Tensor,
        labels: Tensor,
        layout: SlotLayout,
        slots: Tensor,
        seen: Tensor,
        cache: KVCache,
    ) -> Tensor:
        """`hidden` for rows that have come to different slots.

        Args:
            tokens: int64 ``[B, N]`` in the order.
            labels: int64 ``[B]``.
            layout: of the order, from `layout`.
            slots: the slots to compute of each row, int64 ``[B, S]``. From N on they stand for nothing and
                only fill a row up; the cache must have a place for them.
            seen: which slots, of the first K, each of them sees, bool ``[B, S, K]``; each at least one.
            cache: holds the slots before and takes these in.

        Returns:
            ``[B, S, dim]``.
        """
        places = slots.clamp(max=layout.order.num_tokens - 1)
        x = self.embedding_dropout(self._embed_rows(tokens, labels, layout, places))
        rotary, mask = layout.rotary[:, places][:, :, None], AttentionMask(seen, seen.device)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotary, mask, cache, layer, slots)
        return self.norm(x)

    def _embed_rows(self, tokens: Tensor, labels: Tensor, layout: SlotLayout, slots: Tensor) -> Tensor:
        """What each row's own ``slots`` ``[B, S]`` are fed, ``[B, S, dim]``."""
        source = layout.source[slots]
        fed = self.token_embedding(tokens.gather(1, source.clamp(min=0)))
        transitions = self.transition_embedding.weight.expand(len(tokens), -1, -1)
        specials = torch.cat([self.class_embedding(labels)[:, None], transitions], dim=1)
        special = (-1 - source).clamp(min=0)[..., None].expand(-1, -1, specials.shape[-1])
        fed = torch.where((source < 0)[..., None], specials.gather(1, special), fed)
        for axis, embedding in enumerate(self.target_embedding):
            fed = fed + embedding(layout.target[slots, axis])
        return fed if self.order_embedding is None else fed + self.order_embedding.weight[layout.number]

    def embed(self, tokens: Tensor, labels: Tensor, layout: SlotLayout, slots: range) -> Tensor:
        """What ``slots`` are fed, ``[B, S, dim]``; arguments as of `forward`."""
        here = slice(slots.start, slots.stop)
        source = layout.source[here]
        fed = self.token_embedding(tokens[:, source.clamp(min=0)])
        if slots.start < layout.first_plain_slot:
            transitions = self.transition_embedding.weight.expand(len(tokens), -1, -1)
            specials = torch.cat([self.class_embedding(labels)[:, None], transitions], dim=1)
            fed = torch.where((source < 0)[:, None], specials[:, (-1 - source).clamp(min=0)], fed)
        for axis, embedding in enumerate(self.target_embedding):
            fed = fed + embedding(layout.target[here, axis])
        return fed if self.order_embedding is None else fed + self.order_embedding.weight[layout.number]

    def _initialise(self) -> None:
        residual = 0.02 / math.sqrt(2 * self.num_layers)
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:
                writes_residual = name.endswith(("attention.out.weight", "ffn.down.weight"))
                nn.init.normal_(parameter, std=residual if writes_residual else 0.02)

"""A slot layout: what an order says of each slot, as the tensors that a transformer computes with."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from parvideo.order import GenerationOrder
from parvideo.transformer.attention import AttentionMask


@dataclass(frozen=True, eq=False)
class SlotLayout:
    """An order's slots for one transformer on one device; `VideoTransformer.layout` makes it.

    Nothing in it changes. It is passed to every `forward`, so one transformer serves many orders at once and
    nobody who holds the transformer can change what another generates.

    Attributes:
        order: whose slots these are.
        source: what each slot is fed, int64 ``[N]``, see `GenerationOrder.source`.
        target: the place (t, h, w) of the token each slot predicts, int64 ``[N, 3]``.
        rotary: cosine and sine for queries and then keys, float32 ``[2, N, head_dim / 2, 2]``.
        number: the order's place among those that the transformer tells apart; 0 if it tells none.
        first_plain_slot: from this slot on all are fed tokens, and none the class or a transition token.
    """

    order: GenerationOrder
    source: Tensor
    target: Tensor
    rotary: Tensor
    number: int
    first_plain_slot: int
    _masks: dict[range, AttentionMask] = field(default_factory=dict, repr=False)

    @classmethod
    @torch.inference_mode(False)  # a layout that sampling makes first must serve training, too
    def build(
        cls, order: GenerationOrder, rotary: Tensor, device: torch.device, number: int = 0
    ) -> "SlotLayout":
        """Bring an order's tensors, and its rotary table, to ``device``."""
        return cls(
            order,
            order.source.to(device),
            order.target_coords.to(device),
            rotary.clone().to(device),
            number,
            int((order.source < 0).nonzero().max()) + 1,
        )

    @property
    def device(self) -> torch.device:
        """Where its tensors lie."""
        return self.source.device

    @torch.inference_mode(False)
    def mask(self, slots: range) -> AttentionMask:
        """The mask of ``slots`` against all slots up to their end; built once for each range."""
        if slots not in self._masks:
            dense = self.order.mask[slots.start : slots.stop, : slots.stop].clone()
            self._masks[slots] = AttentionMask(dense, self.device)
        return self._masks[slots]

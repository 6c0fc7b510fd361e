"""Keys and values of the slots computed so far: made by the sampler, filled by the attention layers."""

import torch
from torch import Tensor


def kv_bytes(layers: int, rows: int, slots: int, kv_dim: int, value_bytes: int) -> int:
    """Bytes of the keys and values of a batch.

    Args:
        layers: of the transformer.
        rows: of the batch, two a clip with guidance.
        slots: of each row that are kept.
        kv_dim: width of the keys of one slot in one layer, all key heads together.
        value_bytes: of one number.
    """
    return 2 * layers * rows * slots * kv_dim * value_bytes


class KVCache:
    """A static cache for one batch; its size is fixed when it is made.

    Its size is `kv_bytes`; nothing else grows while decoding.

    Args:
        layers: number of transformer layers.
        batch: rows, two a clip with guidance.
        kv_heads: key and value heads of a layer.
        slots: N, the slots of the order.
        head_dim: width of a head.
        dtype: of keys and values.
        device: where they lie.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        slots: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.keys = torch.zeros(layers, batch, kv_heads, slots, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, int64 ``[R]``."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]

    @property
    def nbytes(self) -> int:
        """Memory of the cache in bytes."""
        return self.keys.nbytes + self.values.nbytes

    def update(
        self, layer: int, slots: range | Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Store keys and values ``[B, kv_heads, S, head_dim]`` of ``slots``; return all up to and with them.

        Returns:
            keys and values ``[B, kv_heads, slots.stop, head_dim]``, views into the cache; all that it holds
            where each row has slots of its own, int64 ``[B, S]``.
        """
        if isinstance(slots, Tensor):
            places = slots[:, None, :, None].expand_as(keys)
            self.keys[layer].scatter_(2, places, keys)
            self.values[layer].scatter_(2, places, values)
            return self.keys[layer], self.values[layer]
        self.keys[layer, :, :, slots.start : slots.stop] = keys
        self.values[layer, :, :, slots.start : slots.stop] = values
        return self.keys[layer, :, :, : slots.stop], self.values[layer, :, :, : slots.stop]

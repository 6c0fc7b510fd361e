"""The matrix products of a transformer's layer, each in the several ways in which a CPU can compute it.

A way is a storage of the weight (`STORAGES`), and for packed ones the least rows computed: oneDNN takes less
time for four rows than for two on some processors. Which way is fastest depends on the processor and on the
rows; `parvideo.engine.selection` finds it by timing.
"""

import copy
import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvideo.engine.native import NativeKernels
from parvideo.engine.packed import DecodeLinear, fold, normalize, packing_obstacle
from parvideo.transformer.blocks import TransformerBlock
from parvideo.transformer.model import VideoTransformer

PLAIN, PACKED, LARGE, NATIVE = "plain", "packed", "packed in large pages", "native"
STORAGES = (PLAIN, PACKED, LARGE, NATIVE)
"""PyTorch's own; arranged by oneDNN; the same in large memory pages; `parvideo.engine.native`'s."""
FEWEST = 4
"""Rows that a packed product may be given at least, the missing ones zero."""


@dataclass(frozen=True)
class Kind:
    """A product of a layer, with what is computed beside it.

    Attributes:
        name: for reports.
        normed: its input is divided by its length first (the norm's gain lies in the weight).
        gated: two matrices, joined by ``silu(gate) * up``.
    """

    name: str
    normed: bool = False
    gated: bool = False


QKV, OUT, GATE_UP, DOWN = Kind("qkv", normed=True), Kind("out"), Kind("gate and up", True, True), Kind("down")
HEAD = Kind("head")
Padded = dict[tuple[str, str], dict[int, int]]
"""Of each kind's name and storage: by how many rows (a power of two) at most -> filled up to how many."""
KINDS = (GATE_UP, DOWN, QKV, HEAD, OUT)
"""All of them, those that take longest first."""


@dataclass(frozen=True)
class Setting:
    """What the products of one engine have in common.

    Attributes:
        dtype: to compute in.
        eps: of the norms.
        native: our own kernels, where they can be had.
    """

    dtype: torch.dtype
    eps: float
    native: NativeKernels | None


class Product(Protocol):
    """One product with one weight: ``[M, in]`` and, to be added, ``[M, out]`` -> ``[M, out]``, a new
    tensor."""

    storage: str
    shape: tuple[int, int]
    """Outputs, of either matrix if gated, and inputs."""

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor: ...

    def weights(self) -> list[Tensor]:
        """``[out, in]``, two if gated, as they were given."""


class TorchProduct:
    """By PyTorch's operators.

    Args:
        kind: of the product.
        weights: ``[out, in]``, two if gated.
        storage: plain or packed.
        setting: of the engine.
        padded: by how many rows (a power of two) at most -> to how many they are filled up; shared, and may
        grow.
    """

    def __init__(
        self, kind: Kind, weights: list[Tensor], storage: str, setting: Setting, padded: dict[int, int]
    ) -> None:
        whole = weights[0] if len(weights) == 1 else torch.cat(weights)
        self.storage, self.shape = storage, (weights[0].shape[0], weights[0].shape[1])
        self.linear = DecodeLinear(whole, storage != PLAIN, storage == LARGE)
        self.kind, self.padded = kind, padded
        width = weights[0].shape[1]
        self.length = torch.tensor(math.sqrt(width * setting.eps)) if kind.normed else None

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """See `Product`."""
        rows = len(x)
        if self.length is not None:
            x = normalize(x, self.length)
        if missing := max(0, self.padded.get(bucket(rows), 0) - rows):
            x = F.pad(x, (0, 0, 0, missing))
        y = self.linear(x)
        if missing:
            y = y[:rows]
        if self.kind.gated:
            gate, up = y.chunk(2, dim=-1)
            y = F.silu(gate).mul_(up)
        return y if residual is None else y.add_(residual)

    def weights(self) -> list[Tensor]:
        """See `Product`."""
        weight = self.linear.weight
        return list((weight.to_dense() if weight.is_mkldnn else weight).split(self.shape[0]))


class NativeProduct:
    """By `parvideo.engine.native`, norm, gate and sum included; arguments as of `TorchProduct`."""

    def __init__(self, kind: Kind, weights: list[Tensor], setting: Setting) -> None:
        assert setting.native is not None
        self.kernels = setting.native
        outputs, width = weights[0].shape
        self.storage, self.shape = NATIVE, (outputs, width)
        self.packed = self.kernels.pack(*weights)
        self.floor = width * setting.eps if kind.normed else -1.0
        self.gated = kind.gated

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """See `Product`."""
        return self.kernels.product(x, self.packed, self.shape[0], residual, self.floor, self.gated)

    def weights(self) -> list[Tensor]:
        """See `Product`."""
        return self.kernels.unpack(self.packed, self.shape, 2 if self.gated else 1)


class Layer:
    """One block's products, at first as PyTorch's own.

    Args:
        block: of the transformer; its weights are copied.
        setting: of the engine.
    """

    def __init__(self, block: TransformerBlock, setting: Setting) -> None:
        attention, ffn, dtype = block.attention, block.ffn, setting.dtype
        gated = [fold(part.weight, block.ffn_norm).to(dtype) for part in (ffn.gate, ffn.up)]
        self.qkv = _plain(QKV, [fold(attention.qkv.weight, block.attention_norm).to(dtype)], setting)
        self.out = _plain(OUT, [attention.out.weight.to(dtype, copy=True)], setting)
        self.gated = _plain(GATE_UP, gated, setting)
        self.down = _plain(DOWN, [ffn.down.weight.to(dtype, copy=True)], setting)
        norms = attention.query_norm, attention.key_norm
        scales = [norm.weight.to(dtype, copy=True) for norm in norms if isinstance(norm, nn.RMSNorm)]
        self.qk_norm = scales or None

    def products(self) -> dict[str, Product]:
        """By the names of their kinds."""
        return {QKV.name: self.qkv, OUT.name: self.out, GATE_UP.name: self.gated, DOWN.name: self.down}

    def stored(self, storages: dict[str, str], setting: Setting, padded: Padded) -> "Layer":
        """The same layer with its weights stored as chosen for each kind."""
        layer = copy.copy(self)
        layer.qkv = stored(QKV, self.qkv, storages, setting, padded)
        layer.out = stored(OUT, self.out, storages, setting, padded)
        layer.gated = stored(GATE_UP, self.gated, storages, setting, padded)
        layer.down = stored(DOWN, self.down, storages, setting, padded)
        return layer


def plain_head(transformer: VideoTransformer, setting: Setting) -> Product:
    """The head, with the gain of the norm before it; its weight is copied."""
    return _plain(HEAD, [fold(transformer.head.weight, transformer.norm).to(setting.dtype)], setting)


def make_product(
    kind: Kind, weights: list[Tensor], storage: str, setting: Setting, padded: Padded
) -> Product:
    """A product in one storage; ``padded`` is of all kinds and storages, and may grow."""
    if storage == NATIVE:
        return NativeProduct(kind, weights, setting)
    return TorchProduct(kind, weights, storage, setting, padded.setdefault((kind.name, storage), {}))


def stored(
    kind: Kind, product: Product, storages: dict[str, str], setting: Setting, padded: Padded
) -> Product:
    """A product with its weights stored as chosen for its kind."""
    storage = storages[kind.name]
    if product.storage == storage:
        return product
    return make_product(kind, product.weights(), storage, setting, padded)


def _plain(kind: Kind, weights: list[Tensor], setting: Setting) -> Product:
    return TorchProduct(kind, weights, PLAIN, setting, {})


def possible_storages(setting: Setting) -> list[str]:
    """Those of `STORAGES` that can be had on this machine."""
    packs = packing_obstacle(torch.empty(1, 1, dtype=setting.dtype)) is None
    return [PLAIN, *([PACKED, LARGE] if packs else []), *([NATIVE] if setting.native is not None else [])]


def bucket(count: int) -> int:
    """The power of two from ``count`` on: what is timed stands for all that share it."""
    return 1 << max(0, count - 1).bit_length()

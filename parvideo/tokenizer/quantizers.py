"""Quantizers: a quantizer replaces each code vector by the nearest of a finite codebook and numbers it.

One interface for finite scalar quantization (ours), lookup-free quantization and vector quantization with
an EMA codebook (both wrapped from vector-quantize-pytorch). All quantize in float32, also under autocast:
in bf16 about 2% of ids would differ.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

FSQBound = Literal["nbp", "vqp"]
QuantizerKind = Literal["fsq", "lfq", "vq_ema"]


class Quantized(NamedTuple):
    """What a quantizer returns.

    ``codes`` float ``[B, C, t, h, w]``, quantized, with a straight-through gradient; ``ids`` int64
    ``[B, t, h, w]``; ``aux_loss`` a scalar to add to the training loss.
    """

    codes: Tensor
    ids: Tensor
    aux_loss: Tensor


class Quantizer(nn.Module, ABC):
    """Codes ``[B, C, t, h, w]`` to ids ``[B, t, h, w]`` and back."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Channels C of a code."""

    @property
    @abstractmethod
    def codebook_size(self) -> int:
        """The number of different ids."""

    @abstractmethod
    def forward(self, codes: Tensor) -> Quantized:
        """Quantize float codes ``[B, C, t, h, w]``."""

    @abstractmethod
    def ids_to_codes(self, ids: Tensor) -> Tensor:
        """The quantized codes of ids: int64 ``[B, t, h, w]`` -> float32 ``[B, C, t, h, w]``."""


class FSQ(Quantizer):
    """Finite scalar quantization (Mentzer et al., arXiv 2309.15505): each channel rounds to its own levels.

    A channel is squashed by tanh into its range and rounded. There is no codebook to learn or to collapse
    and no auxiliary loss. The id is the mixed-radix number of the levels, first channel fastest.

    Args:
        levels: how many values each channel takes; their product is the codebook size.
        bound: the squashing. "nbp": shift by tan and range (L-1)(1-eps), as in the paper's code and NBP's
            checkpoint; "vqp": atanh and (1+eps), as in vector-quantize-pytorch. They disagree on about 1%
            of ids, so weights and form belong together.
    """

    levels: Tensor
    basis: Tensor
    _half_range: Tensor
    _offset: Tensor
    _shift: Tensor

    def __init__(self, levels: Sequence[int], bound: FSQBound = "nbp") -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(f"levels must be 2 or more each, such as [8, 5, 5, 5]; got {list(levels)}")
        if math.prod(levels) > 2**31:
            raise ValueError(f"levels must multiply to at most 2**31, got {list(levels)}")
        if bound not in ("nbp", "vqp"):
            raise ValueError(f"bound must be 'nbp' or 'vqp', got {bound!r}")
        if bound == "vqp" and 2 in levels:
            raise ValueError(f"bound 'vqp' needs levels of 3 or more (atanh of 1 at 2), got {list(levels)}")
        sizes = [int(level) for level in levels]
        self._codebook_size = math.prod(sizes)
        eps = 1e-3 if bound == "vqp" else -1e-3
        column = (1, len(sizes), 1, 1, 1)  # five axes, so that .to(memory_format=channels_last_3d) works
        half_range = torch.tensor([(size - 1) * (1 + eps) / 2 for size in sizes])
        offset = torch.tensor([0.5 if size % 2 == 0 else 0.0 for size in sizes])
        shift = torch.atanh(offset / half_range) if bound == "vqp" else torch.tan(offset / half_range)
        basis = [math.prod(sizes[:i]) for i in range(len(sizes))]
        # Constants of the configuration, not weights: kept out of the state dict.
        self.register_buffer("levels", torch.tensor(sizes).view(column), persistent=False)
        self.register_buffer("basis", torch.tensor(basis).view(column), persistent=False)
        self.register_buffer("_half_range", half_range.view(column), persistent=False)
        self.register_buffer("_offset", offset.view(column), persistent=False)
        self.register_buffer("_shift", shift.view(column), persistent=False)

    @property
    def dim(self) -> int:
        return self.levels.numel()

    @property
    def codebook_size(self) -> int:
        return self._codebook_size

    def forward(self, codes: Tensor) -> Quantized:
        with torch.autocast(codes.device.type, enabled=False):
            bounded = torch.tanh(codes.float() + self._shift) * self._half_range - self._offset
            rounded = bounded + (bounded.round() - bounded).detach()
            digits = bounded.detach().round().long() + self.levels // 2
            return Quantized(
                codes=rounded / (self.levels // 2),
                ids=(digits * self.basis).sum(dim=1),
                aux_loss=rounded.new_zeros(()),
            )

    def ids_to_codes(self, ids: Tensor) -> Tensor:
        half = self.levels // 2
        return (self.ids_to_levels(ids) - half) / half.float()

    def ids_to_levels(self, ids: Tensor) -> Tensor:
        """Which level each channel takes: ids int64 ``[B, t, h, w]`` -> int64 ``[B, C, t, h, w]``."""
        return ids.unsqueeze(1) // self.basis % self.levels


class LFQ(Quantizer):
    """Lookup-free quantization (Yu et al., arXiv 2310.05737): one bit a channel, its sign.

    Args:
        bits: channels; the codebook has 2**bits entries.
        entropy_weight: pulls towards sure choices for each code and even use of the codebook.
        commitment_weight: pulls codes to the signs they are rounded to.
        anneal_steps: training steps over which the entropy's weight falls in a line from ``ANNEAL_FROM``
            times its value to that value; 0 keeps it constant. The steps are counted in the state dict.
    """

    ANNEAL_FROM = 3.0
    steps: Tensor

    def __init__(
        self,
        bits: int,
        entropy_weight: float = 0.1,
        commitment_weight: float = 0.25,
        anneal_steps: int = 0,
    ) -> None:
        super().__init__()
        if not 1 <= bits <= 24:
            raise ValueError(f"bits must be from 1 to 24, got {bits}")
        if anneal_steps < 0:
            raise ValueError(f"anneal_steps must be 0 (no annealing) or more, got {anneal_steps}")
        import vector_quantize_pytorch  # 1.5 s to import, and FSQ needs none of it

        self.bits = bits
        self.entropy_weight, self.anneal_steps = entropy_weight, anneal_steps
        if anneal_steps:
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.wrapped = vector_quantize_pytorch.LFQ(
            dim=bits,
            codebook_size=2**bits,
            entropy_loss_weight=entropy_weight,
            commitment_loss_weight=commitment_weight,
        )

    @property
    def dim(self) -> int:
        return self.bits

    @property
    def codebook_size(self) -> int:
        return 2**self.bits

    def forward(self, codes: Tensor) -> Quantized:
        if self.training and self.anneal_steps:
            left = 1 - (self.steps / self.anneal_steps).clamp(max=1)
            self.wrapped.entropy_loss_weight = self.entropy_weight * (1 + (self.ANNEAL_FROM - 1) * left)
            self.steps += 1
        with torch.autocast(codes.device.type, enabled=False):
            quantized, ids, aux_loss = self.wrapped(codes.float())
        return Quantized(quantized, ids, aux_loss)

    def ids_to_codes(self, ids: Tensor) -> Tensor:
        return self.wrapped.indices_to_codes(ids)


class VectorQuantizerEMA(Quantizer):
    """Vector quantization with a codebook moved by exponential averages (van den Oord et al., 1711.00937).

    The first batch seeds the codebook by k-means; entries that fall out of use are re-seeded.

    Args:
        codes: entries of the codebook.
        dim: channels of one entry.
        commitment_weight: pulls the encoder to the entries it uses.
    """

    def __init__(self, codes: int, dim: int, commitment_weight: float = 0.25) -> None:
        super().__init__()
        if codes < 2 or dim < 1:
            raise ValueError(f"codes must be 2 or more and dim 1 or more, got codes={codes}, dim={dim}")
        import vector_quantize_pytorch

        self.wrapped = vector_quantize_pytorch.VectorQuantize(
            dim=dim,
            codebook_size=codes,
            decay=0.99,
            kmeans_init=True,
            threshold_ema_dead_code=1,
            commitment_weight=commitment_weight,
            rotation_trick=False,
        )
        self._shape = (codes, dim)

    @property
    def dim(self) -> int:
        return self._shape[1]

    @property
    def codebook_size(self) -> int:
        return self._shape[0]

    def forward(self, codes: Tensor) -> Quantized:
        b, _, t, h, w = codes.shape
        with torch.autocast(codes.device.type, enabled=False):
            flat = rearrange(codes.float(), "b c t h w -> b (t h w) c")
            quantized, ids, aux_loss = self.wrapped(flat)
        return Quantized(
            codes=rearrange(quantized, "b (t h w) c -> b c t h w", t=t, h=h, w=w),
            ids=ids.view(b, t, h, w),
            aux_loss=aux_loss.sum(),
        )

    def ids_to_codes(self, ids: Tensor) -> Tensor:
        return self.wrapped.codebook[ids].movedim(-1, 1)


def build_quantizer(
    kind: QuantizerKind,
    levels: Sequence[int],
    fsq_bound: FSQBound,
    lfq_bits: int,
    lfq_anneal_steps: int,
    vq_codes: int,
    vq_dim: int,
) -> Quantizer:
    """The quantizer named ``kind``, from the arguments that are its own; the others are not looked at.

    Raises:
        ValueError: if there is no such kind, or its arguments are out of range.
    """
    if kind == "fsq":
        return FSQ(levels, fsq_bound)
    if kind == "lfq":
        return LFQ(lfq_bits, anneal_steps=lfq_anneal_steps)
    if kind == "vq_ema":
        return VectorQuantizerEMA(vq_codes, vq_dim)
    raise ValueError(f"quantizer must be 'fsq', 'lfq' or 'vq_ema', got {kind!r}")

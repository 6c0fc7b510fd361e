"""A transformer's weights for decoding on a CPU: packed once for its kernels, norms folded in.

A decode step multiplies a few rows by every weight of the model. A product that arranges the weights anew
at each call spends most of its time on that; oneDNN takes weights arranged beforehand (PyTorch's own
compiler uses the same two operators).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvideo.engine.large_pages import use_large_pages
from parvideo.transformer.blocks import TransformerBlock

PACKED_DTYPES = (torch.float32, torch.bfloat16)
_ROWS_HINT = 32
"""Rows the packing is made for; measured best for 1 to 128 rows, see docs/performance.md."""


def packing_obstacle(weight: Tensor) -> str | None:
    """Why ``weight`` cannot be packed on this machine with this PyTorch; None if it can."""
    if weight.device.type != "cpu":
        return f"weights lie on {weight.device}, packing is for the CPU"
    if weight.dtype not in PACKED_DTYPES:
        return f"weights are {weight.dtype}, packing takes float32 and bfloat16"
    if not torch.backends.mkldnn.is_available():
        return "this PyTorch was built without oneDNN"
    operators = torch.ops.mkldnn
    needed = ("_reorder_linear_weight", "_linear_pointwise", "data_ptr", "_nbytes")
    if not all(hasattr(operators, name) for name in needed):
        return f"PyTorch {torch.__version__} has no packed linear operators"
    if weight.dtype == torch.bfloat16 and not operators._is_mkldnn_bf16_supported():
        return "this CPU has no bfloat16 instructions"
    return None


class DecodeLinear:
    """``x @ weight.T`` without bias.

    Args:
        weight: ``[out, in]``; packed, it is copied, and later changes to it are not seen.
        packed: arrange the weight for the kernel; else call `torch.nn.functional.linear`.
        large_pages: ask for large pages for the packed weight (see `parvideo.engine.large_pages`).

    Attributes:
        large_pages: whether the packed weight lies in such pages.

    Raises:
        ValueError: if it is to be packed and cannot be.
    """

    def __init__(self, weight: Tensor, packed: bool, large_pages: bool = True) -> None:
        if packed and (obstacle := packing_obstacle(weight)) is not None:
            raise ValueError(f"packed=True is impossible here: {obstacle}; use packed=False")
        self.packed = packed
        self.weight = weight
        self.large_pages = False
        if packed:
            operators = torch.ops.mkldnn
            self.weight = operators._reorder_linear_weight(weight, _ROWS_HINT)
            address, nbytes = operators.data_ptr(self.weight), operators._nbytes(self.weight)
            self.large_pages = large_pages and use_large_pages(address, nbytes, filled=True)

    def __call__(self, x: Tensor) -> Tensor:
        """``[M, in]`` -> ``[M, out]``, a new tensor."""
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, None, "none", [], "")
        return F.linear(x, self.weight)


class GatedLinear:
    """``silu(x @ gate.T) * (x @ up.T)`` with both matrices in one product.

    Args:
        gate: ``[out, in]``.
        up: ``[out, in]``.
        packed: see `DecodeLinear`.
    """

    def __init__(self, gate: Tensor, up: Tensor, packed: bool) -> None:
        self.both = DecodeLinear(torch.cat([gate, up]), packed)

    def __call__(self, x: Tensor) -> Tensor:
        """``[M, in]`` -> ``[M, out]``."""
        gate, up = self.both(x).chunk(2, dim=-1)
        return F.silu(gate).mul_(up)


class LayerWeights:
    """One block's weights.

    The gain of a norm and the square root of the width multiply the columns of the matrix that follows, so
    that the norm itself is a division by a length (`normalize`), three operations instead of seven: between
    matrix products each small operation costs some 10 microseconds, for its code is no longer in the cache.

    They are copies: what later happens to the block's own is not seen here.

    Args:
        block: of the transformer.
        dtype: to compute in.
    """

    def __init__(self, block: TransformerBlock, dtype: torch.dtype) -> None:
        attention, ffn = block.attention, block.ffn
        self.qkv = DecodeLinear(fold(attention.qkv.weight, block.attention_norm).to(dtype), False)
        self.qk_norm = (
            (
                attention.query_norm.weight.to(dtype, copy=True),
                attention.key_norm.weight.to(dtype, copy=True),
            )
            if isinstance(attention.query_norm, nn.RMSNorm) and isinstance(attention.key_norm, nn.RMSNorm)
            else None
        )
        self.out = DecodeLinear(attention.out.weight.to(dtype, copy=True), False)
        gate, up = (fold(part.weight, block.ffn_norm).to(dtype) for part in (ffn.gate, ffn.up))
        self.gated = GatedLinear(gate, up, False)
        self.down = DecodeLinear(ffn.down.weight.to(dtype, copy=True), False)


def fold(weight: Tensor, norm: nn.RMSNorm) -> Tensor:
    """``weight`` ``[out, in]`` times the gain of the norm before it and the root of the width, float32."""
    return weight.float() * (norm.weight.float() * math.sqrt(weight.shape[1]))


def normalize(x: Tensor, length: Tensor) -> Tensor:
    """Rows ``[M, dim]`` divided by ``sqrt(|row|² + dim · eps)``, in ``x``'s dtype, computed in float32.

    Args:
        x: rows.
        length: the scalar ``sqrt(dim · eps)``.
    """
    norms = torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32), length)
    return torch.div(x, norms, out=torch.empty_like(x))

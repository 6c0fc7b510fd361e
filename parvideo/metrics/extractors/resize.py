"""Resizing of clips the way each published evaluation does it; the way changes the number.

From 128 to 224 pixels the TensorFlow 1 way (no half-pixel centres) differs from the usual one by 4.7 of 255
levels on natural statistics; from 240 to 128 antialiased differs from not by 7.7.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.pixels import TensorLike, as_tensor, to_float, to_uint8

Resize = Literal["tf1", "bilinear", "antialiased"]
Crop = Literal["center", "squash"]
Quantization = Literal["round", "truncate"]


def resize(clips: TensorLike, size: int | tuple[int, int], how: Resize) -> Tensor:
    """Resize every frame by bilinear interpolation.

    Args:
        clips: float ``[B, 3, T, H, W]``.
        size: of the result, pixels: the side of a square, or ``(height, width)``.
        how: ``tf1``: source position = target position x scale, as TensorFlow 1 ``resize_bilinear``;
            ``bilinear``: half-pixel centres, no antialiasing; ``antialiased``: the same with a wider filter
            where it shrinks.

    Returns:
        float ``[B, 3, T, height, width]``.

    Raises:
        ValueError: if ``how`` is unknown, ``size`` < 1, or the clips are not float ``[B, 3, T, H, W]``.
    """
    if how not in get_args(Resize):
        raise ValueError(f"resize is {how!r}; it must be one of {', '.join(get_args(Resize))}")
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size is {height}x{width}; both sides must be at least 1")
    clips = as_tensor(clips)
    if clips.ndim != 5 or not clips.is_floating_point():
        raise ValueError(f"clips must be float [B, 3, T, H, W], got {clips.dtype} {list(clips.shape)}")
    b, c, t, h, w = clips.shape
    if (h, w) == (height, width):
        return clips
    if how == "tf1":
        return _tf1_axis(_tf1_axis(clips, height, dim=3), width, dim=4)
    frames = clips.reshape(b * c * t, 1, h, w)
    frames = F.interpolate(
        frames, (height, width), mode="bilinear", align_corners=False, antialias=how == "antialiased"
    )
    return frames.reshape(b, c, t, height, width)


def resize_source(
    clips: TensorLike, size: int, how: Resize, crop: Crop, quantization: Quantization
) -> Tensor:
    """Bring source frames to the size of a protocol.

    Args:
        clips: uint8 ``[B, T, H, W, 3]``, as decoded.
        size: of the result, pixels.
        how: see `resize`.
        crop: ``center``: the short side to ``size``, then the centre; ``squash``: both sides to ``size``.
        quantization: ``round`` to the nearest level, or ``truncate`` towards zero.

    Returns:
        uint8 ``[B, T, size, size, 3]``.

    Raises:
        ValueError: if an argument is unknown or the clips are not uint8 ``[B, T, H, W, 3]``.
    """
    if crop not in get_args(Crop):
        raise ValueError(f"crop is {crop!r}; it must be one of {', '.join(get_args(Crop))}")
    if quantization not in get_args(Quantization):
        raise ValueError(
            f"quantization is {quantization!r}; it must be one of {', '.join(get_args(Quantization))}"
        )
    x = to_float(clips)  # [B, 3, T, H, W]
    if crop == "squash":
        x = resize(x, size, how)
    else:
        scale = size / min(x.shape[3:])
        height, width = (max(size, round(side * scale)) for side in x.shape[3:])
        top, left = (height - size) // 2, (width - size) // 2
        x = resize(x, (height, width), how)[..., top : top + size, left : left + size]
    if quantization == "truncate":
        # Half a level down before rounding; a little less, so that whole levels stay where they are.
        x = x - (0.5 - 1e-3) / 127.5
    return to_uint8(x)


def _tf1_axis(x: Tensor, size: int, dim: int) -> Tensor:
    """Linear interpolation along one axis at positions k x (length / size), the last pixel repeated."""
    length = x.shape[dim]
    position = torch.arange(size, device=x.device, dtype=torch.float32) * (length / size)
    low = position.floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    shape = [1] * x.ndim
    shape[dim] = size
    weight = (position - low).reshape(shape).to(x.dtype)
    return torch.lerp(x.index_select(dim, low), x.index_select(dim, high), weight)

"""The two forms of a clip and the one way between them.

At every border (files, metrics, the user) a clip is uint8 ``[B, T, H, W, 3]``; inside, where networks
work, it is float in [-1, 1] ``[B, 3, T, H, W]``. Nothing else in parvideo scales pixels.
"""

import torch
from einops import rearrange
from torch import Tensor


def to_float(clips: Tensor) -> Tensor:
    """Turn uint8 clips into the form networks take.

    Args:
        clips: uint8 ``[..., T, H, W, 3]``.

    Returns:
        float32 in [-1, 1], ``[..., 3, T, H, W]``.

    Raises:
        ValueError: if the dtype is not uint8 or the last axis is not 3 channels.
    """
    check_clips(clips)
    return rearrange(clips, "... t h w c -> ... c t h w").to(torch.float32) / 127.5 - 1.0


def to_uint8(clips: Tensor) -> Tensor:
    """Turn network clips into uint8, rounding (truncation would shift every pixel by half a level).

    Args:
        clips: float ``[..., 3, T, H, W]``; values outside [-1, 1] are clamped.

    Returns:
        uint8 ``[..., T, H, W, 3]``.

    Raises:
        ValueError: if the clips are not floating point, lack the channel axis, or hold NaN.
    """
    if not clips.is_floating_point() or clips.ndim < 4 or clips.shape[-4] != 3:
        raise ValueError(f"clips must be float [..., 3, T, H, W], got {clips.dtype} {list(clips.shape)}")
    if torch.isnan(clips).any():
        raise ValueError("clips contain NaN; a pixel must be a number in [-1, 1]")
    levels = ((clips.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return rearrange(levels, "... c t h w -> ... t h w c").contiguous()


def check_clips(clips: Tensor) -> None:
    """Raise ValueError unless ``clips`` is uint8 ``[..., T, H, W, 3]``."""
    if clips.dtype != torch.uint8 or clips.ndim < 4 or clips.shape[-1] != 3:
        raise ValueError(f"clips must be uint8 [..., T, H, W, 3], got {clips.dtype} {list(clips.shape)}")

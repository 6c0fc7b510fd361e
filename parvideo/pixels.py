"""The two forms of a clip and the one way between them.

At every border (files, metrics, the user) a clip is uint8 ``[B, T, H, W, 3]``; inside, where networks
work, it is float in [-1, 1] ``[B, 3, T, H, W]``. Nothing else in parvideo scales pixels.
"""

from typing import Any, TypeAlias

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

TensorLike: TypeAlias = Tensor | NDArray[Any]
"""What Python callers may give for a tensor."""


def as_tensor(values: TensorLike, name: str = "clips") -> Tensor:
    """A tensor as it is, an array of numpy as a tensor (of the same memory where PyTorch can share it).

    Raises:
        ValueError: if it is something else, or an array of what no tensor holds; ``name`` says which.
    """
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{name} must be a tensor or a numpy array, got {type(values).__name__}")
    array = values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))
    if not array.flags.writeable or min(array.strides, default=0) < 0:  # torch shares neither
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise ValueError(f"{name} is an array of {values.dtype}; a tensor holds numbers only") from error


def as_array(values: TensorLike, name: str = "values") -> NDArray[Any]:
    """An array of numpy as it is, a tensor as an array on the CPU (bfloat16, which numpy lacks, as float32).

    Raises:
        ValueError: if it is something else; ``name`` says which.
    """
    if isinstance(values, np.ndarray):
        return values
    tensor = as_tensor(values, name).detach().cpu()
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def to_float(clips: TensorLike) -> Tensor:
    """Turn uint8 clips into the form networks take.

    Args:
        clips: uint8 ``[..., T, H, W, 3]``.

    Returns:
        float32 in [-1, 1], ``[..., 3, T, H, W]``.

    Raises:
        ValueError: if the dtype is not uint8 or the last axis is not 3 channels.

    >>> clip = torch.tensor([0, 255, 0], dtype=torch.uint8).view(1, 1, 1, 3)
    >>> to_float(clip).shape, to_float(clip).flatten().tolist()
    (torch.Size([3, 1, 1, 1]), [-1.0, 1.0, -1.0])
    """
    return rearrange(check_clips(clips), "... t h w c -> ... c t h w").to(torch.float32) / 127.5 - 1.0


def to_uint8(clips: TensorLike) -> Tensor:
    """Turn network clips into uint8, rounding (truncation would shift every pixel by half a level).

    Args:
        clips: float ``[..., 3, T, H, W]``; values outside [-1, 1] are clamped.

    Returns:
        uint8 ``[..., T, H, W, 3]``.

    Raises:
        ValueError: if the clips are not floating point, lack the channel axis, or hold NaN.

    >>> to_uint8(torch.tensor([-1.0, 0.0, 7.0]).view(3, 1, 1, 1)).flatten().tolist()
    [0, 128, 255]
    """
    clips = as_tensor(clips)
    if not clips.is_floating_point() or clips.ndim < 4 or clips.shape[-4] != 3:
        raise ValueError(f"clips must be float [..., 3, T, H, W], got {clips.dtype} {list(clips.shape)}")
    if torch.isnan(clips).any():
        raise ValueError("clips contain NaN; a pixel must be a number in [-1, 1]")
    levels = ((clips.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return rearrange(levels, "... c t h w -> ... t h w c").contiguous()


def check_clips(clips: TensorLike) -> Tensor:
    """The clips as a tensor.

    Raises:
        ValueError: unless they are uint8 ``[..., T, H, W, 3]``.
    """
    clips = as_tensor(clips)
    if clips.dtype != torch.uint8 or clips.ndim < 4 or clips.shape[-1] != 3:
        raise ValueError(f"clips must be uint8 [..., T, H, W, 3], got {clips.dtype} {list(clips.shape)}")
    return clips

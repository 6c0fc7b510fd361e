"""From tokens to pixels in memory that does not grow with the number or the length of the clips."""

import torch
from torch import Tensor

from parvideo.pixels import to_uint8
from parvideo.tokenizer import CausalVideoTokenizer, VideoTokenizer
from parvideo.tokenizer.streaming import decode_stream

DECODE_PIXELS = {"cpu": 1 << 19, "cuda": 1 << 21}
"""Pixels decoded at a time, of all clips and frames together; a clip of 17x128x128 has 278528. By shapes
alone, so that the same tokens give the same clips whatever memory is free."""


def decode_tokens(tokenizer: VideoTokenizer, tokens: Tensor, pixels: int, batch_size: int) -> Tensor:
    """Decode token grids, at most `DECODE_PIXELS` at a time.

    That means fewer clips than ``batch_size`` at a time, and of one larger clip a few latent frames after the
    other where the tokenizer is causal.

    Args:
        tokenizer: decodes them.
        tokens: int64 ``[B, t, h, w]``.
        pixels: that a latent frame of one clip makes.
        batch_size: clips decoded together, at most.

    Returns:
        uint8 ``[B, T, H, W, 3]``, on the CPU.
    """
    most = DECODE_PIXELS["cpu" if tokens.device.type == "cpu" else "cuda"]
    at_once = max(1, most // pixels)  # latent frames, of all clips together
    if tokens.shape[1] > at_once and isinstance(tokenizer, CausalVideoTokenizer):
        clips = [_decode_stream(tokenizer, clip, at_once) for clip in tokens.split(1)]
    else:
        parts = tokens.split(max(1, min(batch_size, at_once // tokens.shape[1])))
        clips = [to_uint8(tokenizer.decode(part)).cpu() for part in parts]
    return clips[0] if len(clips) == 1 else torch.cat(clips)


def _decode_stream(tokenizer: CausalVideoTokenizer, tokens: Tensor, latent_frames: int) -> Tensor:
    chunks = decode_stream(tokenizer, tokens.split(latent_frames, dim=1))
    return torch.cat([to_uint8(chunk).cpu() for chunk in chunks], dim=1)

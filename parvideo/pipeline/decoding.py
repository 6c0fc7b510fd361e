"""From tokens to pixels: in which arithmetic, and in memory that does not grow with the clips."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from parvideo.pixels import to_uint8
from parvideo.tokenizer import CausalVideoTokenizer, VideoTokenizer
from parvideo.tokenizer.streaming import decode_stream
from parvideo.transformer.stairs import multiplies_bf16

DecoderDtype = Literal["auto", "float32", "bfloat16"]
"""What a tokenizer's decoder computes in. ``auto`` is bfloat16 where the device multiplies it in hardware and
the tokenizer's folder states a loss below `MOST_LOSS_DB`, and float32 elsewhere."""

MOST_LOSS_DB = 0.01
"""A loss of PSNR through bfloat16 that nobody sees, in dB."""

BF16_NOTE = "bf16_decoding"
"""Where a tokenizer's folder states that loss: ``loss_db``, of the two PSNRs and the number of clips."""

DECODE_PIXELS = {"cpu": 1 << 19, "cuda": 1 << 21}
"""Pixels decoded at a time, of all clips and frames together; a clip of 17x128x128 has 278528. By shapes
alone, so that the same tokens give the same clips whatever memory is free."""


class Decoder:
    """Decodes tokens by a tokenizer, in float32 or in bfloat16.

    The choice is by the device and by what is known of the tokenizer, never by time or by what else the
    machine does: the same tokens give the same clips.

    Attributes:
        tokenizer: whose encoder and float32 weights are never changed.
        loss_db: what decoding in bfloat16 costs in PSNR, as `parvideo tokenize` measured it on real clips;
            None where nobody has.
    """

    def __init__(self, tokenizer: VideoTokenizer, loss_db: float | None = None) -> None:
        self.tokenizer, self.loss_db = tokenizer, loss_db
        self._asked: DecoderDtype = "auto"
        self._rough: CausalVideoTokenizer | None = None

    def ask(self, dtype: DecoderDtype) -> None:
        """Decode in this from now on.

        Raises:
            ValueError: if there is no such choice, or this tokenizer decodes in float32 alone.
        """
        if dtype not in get_args(DecoderDtype):
            raise ValueError(
                f"decoder_dtype must be one of {', '.join(get_args(DecoderDtype))}; got {dtype!r}"
            )
        if dtype == "bfloat16" and not isinstance(self.tokenizer, CausalVideoTokenizer):
            raise ValueError(
                f"decoder_dtype is 'bfloat16', and a {type(self.tokenizer).__name__} decodes in float32 alone"
            )
        self._asked = dtype

    def dtype(self, device: torch.device) -> Literal["float32", "bfloat16"]:
        """What tokens on a device are decoded in."""
        if self._asked != "auto":
            return self._asked
        small = self.loss_db is not None and self.loss_db < MOST_LOSS_DB
        fit = isinstance(self.tokenizer, CausalVideoTokenizer) and small and multiplies_bf16(device)
        return "bfloat16" if fit else "float32"

    def record(self, device: torch.device) -> dict[str, str]:
        """The dtype as a setting of the clips; nothing for float32, as before there was a choice."""
        dtype = self.dtype(device)
        return {} if dtype == "float32" else {"decoder_dtype": dtype}

    def network(self, device: torch.device) -> VideoTokenizer:
        """What decodes tokens on a device."""
        if self.dtype(device) == "float32":
            return self.tokenizer
        assert isinstance(self.tokenizer, CausalVideoTokenizer)
        if self._rough is None or next(self._rough.decoder.parameters()).device != device:
            self._rough = self.tokenizer.with_bf16_decoder()
        return self._rough

    def decode(self, tokens: Tensor, pixels: int, batch_size: int) -> Tensor:
        """Clips of token grids; arguments and result as of `decode_tokens`.

        In bfloat16 one clip after the other: convolutions of other shapes add in another order, and rounded
        to bfloat16 that can be seen (by up to 4 of 255 levels), where in float32 it cannot.
        """
        together = batch_size if self.dtype(tokens.device) == "float32" else 1
        return decode_tokens(self.network(tokens.device), tokens, pixels, together)


def stated_loss(notes: Mapping[str, Any]) -> float | None:
    """The loss in dB that a tokenizer's folder states among its notes; None where it states none."""
    stated = notes.get(BF16_NOTE)
    loss = stated.get("loss_db") if isinstance(stated, Mapping) else None
    return float(loss) if isinstance(loss, int | float) and not isinstance(loss, bool) else None


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

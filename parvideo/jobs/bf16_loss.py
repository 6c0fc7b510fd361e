"""What decoding in bfloat16 costs a tokenizer, measured on real clips and kept in its folder."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parvideo.metrics.float32 import in_float32
from parvideo.metrics.reconstruction import ReconstructionQuality
from parvideo.pipeline.decoding import BF16_NOTE, stated_loss
from parvideo.pixels import to_float
from parvideo.pretrained.folder import add_note, load_extra
from parvideo.tokenizer import CausalVideoTokenizer, VideoTokenizer


@torch.inference_mode()
def measure_bf16_loss(tokenizer: VideoTokenizer, clips: Iterable[Tensor]) -> dict[str, Any] | None:
    """Encode real clips, and decode their tokens in float32 and in bfloat16.

    Args:
        tokenizer: on the device where it is to compute.
        clips: uint8 ``[B, T, H, W, 3]``, batch after batch.

    Returns:
        ``clips``, how many there were; ``psnr`` and ``psnr_bf16``, of all pixels of them all; ``loss_db``,
        their difference. None for a tokenizer that decodes in float32 alone, or where one of them is exact.
    """
    if not isinstance(tokenizer, CausalVideoTokenizer):
        return None
    device = next(tokenizer.parameters()).device
    qualities = [ReconstructionQuality().to(device) for _ in range(2)]
    count, rough = 0, tokenizer.with_bf16_decoder()
    for batch in clips:
        originals = to_float(batch).to(device)
        with in_float32(device):
            tokens = tokenizer.encode(originals)
            for network, quality in zip((tokenizer, rough), qualities, strict=True):
                quality.update(network.decode(tokens), originals)
        count += len(batch)
    psnr, psnr_bf16 = (float(quality.compute()["psnr"]) for quality in qualities)
    if not (math.isfinite(psnr) and math.isfinite(psnr_bf16)):
        return None
    # Rounded, for the last bits of a sum are not the same on every machine.
    figures = {"psnr": psnr, "psnr_bf16": psnr_bf16, "loss_db": psnr - psnr_bf16}
    return {"clips": count, **{name: round(value, 4) for name, value in figures.items()}}


def state_bf16_loss(folder: Path, tokenizer: VideoTokenizer, clips: Iterable[Tensor]) -> None:
    """Measure the loss and state it in the tokenizer's model folder, unless that states it already.

    Args:
        folder: the model folder.
        tokenizer: that was loaded from it.
        clips: as of `measure_bf16_loss`; not looked at where nothing is to be measured.
    """
    if stated_loss(load_extra(folder)) is None:
        figures = measure_bf16_loss(tokenizer, clips)
        if figures is not None:
            add_note(folder, BF16_NOTE, figures)

"""What scalars cannot show: clips, clips side by side and histograms, in whichever logger takes them.

Lightning has no word for them that all its loggers know, so each kind of logger is spoken to here, and here
alone: TensorBoard and Weights & Biases.
"""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from lightning.fabric.loggers.logger import Logger
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from parvideo.pixels import check_clips
from parvideo.tokenizer.quantizers import FSQ
from parvideo.training.private_apis import add_summary

FRAME_MILLISECONDS = 125


def takes_media(logger: Logger) -> bool:
    """Whether a logger shows what this module adds."""
    return isinstance(logger, TensorBoardLogger | WandbLogger)


def add_scalar(loggers: Iterable[Logger], tag: str, value: float, step: int) -> None:
    """Add a point of a curve that belongs to no row of metrics."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_scalar(tag, value, step)
        elif isinstance(logger, WandbLogger):
            logger.log_metrics({tag: value}, step)


def add_side_by_side(loggers: Iterable[Logger], tag: str, left: Tensor, right: Tensor, step: int) -> None:
    """Add an animation with two sets of clips, uint8 ``[B, T, H, W, 3]`` each: one pair a row.

    Raises:
        ValueError: if the clips are not uint8 or differ in shape.
    """
    check_clips(left)
    check_clips(right)
    if left.shape != right.shape:
        raise ValueError(f"clips must have one shape, got {list(left.shape)} and {list(right.shape)}")
    add_clips(loggers, tag, torch.cat([left.cpu(), right.cpu()], dim=3), step)  # [B, T, H, 2W, 3]


def add_clips(loggers: Iterable[Logger], tag: str, clips: Tensor, step: int) -> None:
    """Add an animation of clips, uint8 ``[B, T, H, W, 3]``, one below the other.

    It is a GIF: to make a video of an array both loggers need a package more.

    Raises:
        ValueError: if the clips are not uint8 of that shape.
    """
    check_clips(clips)
    frames = clips.cpu().transpose(0, 1).flatten(1, 2)  # [T, B*H, W, 3]
    images = [Image.fromarray(frame.numpy()) for frame in frames]
    encoded = io.BytesIO()
    images[0].save(
        encoded, "GIF", save_all=True, append_images=images[1:], duration=FRAME_MILLISECONDS, loop=0
    )
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            picture = Summary.Image(
                height=frames.shape[1],
                width=frames.shape[2],
                colorspace=3,
                encoded_image_string=encoded.getvalue(),
            )
            summary = Summary(value=[Summary.Value(tag=tag, image=picture)])
            add_summary(logger.experiment, summary, step)
        elif isinstance(logger, WandbLogger):
            logger.log_video(tag, [io.BytesIO(encoded.getvalue())], step, format=["gif"])


def add_level_histograms(loggers: Iterable[Logger], quantizer: FSQ, counts: Tensor, step: int) -> None:
    """Add a histogram of each FSQ channel's levels.

    Args:
        loggers: where to.
        quantizer: the quantizer.
        counts: how often each id occurred, ``[codebook size]``.
        step: the training step.
    """
    for channel, weights in enumerate(level_counts(quantizer, counts)):
        levels = torch.arange(len(weights), dtype=torch.float64)
        tag = f"val/levels_{channel}"
        for logger in loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_histogram_raw(
                    tag,
                    min=0.0,
                    max=float(len(weights) - 1),
                    num=int(weights.sum()),
                    sum=float((weights * levels).sum()),
                    sum_squares=float((weights * levels.square()).sum()),
                    bucket_limits=(levels + 0.5).tolist(),
                    bucket_counts=weights.tolist(),
                    global_step=step,
                )
            elif isinstance(logger, WandbLogger):
                logger.log_metrics({tag: _wandb_histogram(weights)}, step)


def level_counts(quantizer: FSQ, counts: Tensor) -> list[Tensor]:
    """How often each level of each FSQ channel occurred: counts ``[codebook size]`` -> one ``[L]`` each."""
    ids = torch.arange(counts.numel(), device=counts.device).view(1, -1, 1, 1)
    digits = quantizer.ids_to_levels(ids)[0, :, :, 0, 0]  # [C, codebook size]
    sizes = quantizer.levels.flatten().tolist()
    return [
        torch.zeros(size, dtype=torch.float64, device=counts.device)
        .index_add_(0, digits[channel], counts.double())
        .cpu()
        for channel, size in enumerate(sizes)
    ]


def _wandb_histogram(weights: Tensor) -> Any:
    """A histogram whose bins are the levels 0, 1, ...: counts ``[L]``."""
    import wandb

    return wandb.Histogram(np_histogram=(weights.numpy(), np.arange(len(weights) + 1) - 0.5))

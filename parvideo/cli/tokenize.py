"""`parvideo tokenize`: turn videos into tokens on disk with a trained tokenizer; a killed run goes on."""

import sys
from pathlib import Path
from typing import Literal


def tokenize(
    tokenizer: Path,
    data: Path,
    out: Path,
    frames: int | None = None,
    size: int | None = None,
    fps: float | None = None,
    stride: int | None = None,
    views: int = 1,
    all_clips: bool = False,
    flip: bool = False,
    splits: list[Literal["train", "test"]] | None = None,
    split_index: int = 1,
    annotations: Path | None = None,
    held_out_time: float | None = None,
    shard_size: int = 256,
    batch_size: int = 8,
    num_workers: int = 0,
    devices: int = 1,
    accelerator: str = "auto",
    seed: int = 0,
) -> None:
    """Encode every video of a data set with a trained tokenizer, in float32.

    The folder holds train/, test/ and a copy of the tokenizer, and is what a generator trains on
    (--data.tokens).

    Args:
        tokenizer: model folder of the tokenizer, or its run folder.
        data: folder of videos, in UCF-101's layout or class folders.
        out: folder for the tokens.
        frames: frames of a clip; as the tokenizer was trained, if not given.
        size: height and width in pixels; as the tokenizer was trained, if not given.
        fps: frames a second of a clip; as the tokenizer was trained, if not given.
        stride: source frames from one frame of a clip to the next, in place of fps.
        views: clips taken of each training video, at random places; with 1 the centre. Test: the centre.
        all_clips: take every clip of each training video instead, one after the other without overlap.
        flip: take every training clip mirrored too.
        splits: train or test; may be repeated; both if not given.
        split_index: which of UCF-101's three splits.
        annotations: folder of UCF-101's lists, if it is neither in nor beside the folder of videos.
        held_out_time: hold out this last part of each video's time instead of the test split.
        shard_size: clips in one file.
        batch_size: clips encoded together.
        num_workers: processes that decode.
        devices: how many devices encode; the tokens do not depend on it.
        accelerator: auto, cpu, gpu, ...
        seed: of the views' places.

    Raises:
        ValueError: if ``out`` was begun with other settings or videos, a class is left without a clip, or the
            tokenizer cannot encode such clips. Then nothing is written.
    """
    from parvideo.jobs import tokenize as job

    made = job.tokenize(
        tokenizer,
        data,
        out,
        frames=frames,
        size=size,
        fps=fps,
        stride=stride,
        views=views,
        all_clips=all_clips,
        flip=flip,
        splits=splits,
        split_index=split_index,
        annotations=annotations,
        held_out_time=held_out_time,
        shard_size=shard_size,
        batch_size=batch_size,
        num_workers=num_workers,
        devices=devices,
        accelerator=accelerator,
        seed=seed,
    )
    for folder, plan in made.items():
        print(f"{folder}: {len(plan.ids)} clips as {'x'.join(map(str, plan.grid))} tokens", file=sys.stderr)

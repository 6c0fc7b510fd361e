"""Reconstructing: videos through a tokenizer and back, side by side, with figures."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from parvideo.datasets import ClipDataset, VideoRecord, write_mp4
from parvideo.files import write_json
from parvideo.jobs.bf16_loss import measure_bf16_loss
from parvideo.jobs.options import ReconstructOptions
from parvideo.metrics.reconstruction import ReconstructionQuality
from parvideo.pipeline.decoding import BF16_NOTE, MOST_LOSS_DB
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import add_note, find_folder, find_tokenizer, load_tokenizer
from parvideo.pretrained.hub import origin
from parvideo.progress import Progress
from parvideo.tokenizer import VideoTokenizer


def reconstruct(files: Sequence[Path], options: ReconstructOptions) -> dict[str, dict[str, float]]:
    """Encode and decode the middle clip of each video.

    Args:
        files: videos.
        options: by which tokenizer, and where to.

    Returns:
        The figures of `ReconstructionQuality` of each clip by its id, and of all together as "all".

    Raises:
        FileNotFoundError: if a video is missing.
        ValueError: if one cannot be read or is too short, or the tokenizer cannot encode such clips.
    """
    device = options.device
    network, clips, fps = _load(files, options)
    rows: dict[str, dict[str, float]] = {}
    whole = ReconstructionQuality().to(device)
    for index in Progress(range(len(clips)), title="reconstructing", unit="clip"):
        item = clips[index]
        original = to_float(item["clip"][None]).to(device)
        with torch.inference_mode():
            decoded = network.decode(network.encode(original))
        quality = ReconstructionQuality().to(device)
        quality.update(decoded, original)
        whole.update(decoded, original)
        rows[item["id"]] = {name: value.item() for name, value in quality.compute().items()}
        pair = torch.cat([item["clip"], to_uint8(decoded)[0].cpu()], dim=2)  # [T, H, 2W, 3]
        write_mp4(options.out / f"{item['id']}.mp4", pair, fps)
    rows["all"] = {name: value.item() for name, value in whole.compute().items()}
    finite = {
        name: {figure: value if math.isfinite(value) else None for figure, value in row.items()}
        for name, row in rows.items()
    }
    source = origin(find_folder(options.tokenizer))
    made_by = {} if source is None else {"tokenizer": source}
    write_json(options.out / "reconstruct.json", finite | made_by)  # null: no such frames, or no error at all
    return rows


def state_loss(files: Sequence[Path], options: ReconstructOptions) -> str:
    """Decode the same clips in bfloat16 too, and state what that costs in the tokenizer's folder.

    Returns:
        What was found, in a line.

    Raises:
        ValueError: if this tokenizer decodes in float32 alone, or reconstructs the clips exactly, or its
            folder is not the user's own.
    """
    folder = find_tokenizer(options.tokenizer)
    if (source := origin(folder)) is not None:
        raise ValueError(
            f"bf16 states something in the model's folder, and {source} is kept as it came: copy it"
        )
    network, clips, _ = _load(files, options)
    found = measure_bf16_loss(network, (clips[index]["clip"][None] for index in range(len(clips))))
    if found is None:
        raise ValueError(f"there is no loss through bf16 to state for {folder}, a {type(network).__name__}")
    add_note(folder, BF16_NOTE, found)
    below = found["loss_db"] < MOST_LOSS_DB
    return (
        f"bfloat16: {found['psnr']:.4f} dB in float32, {found['psnr_bf16']:.4f} dB in bfloat16, a loss of "
        f"{found['loss_db']:.4f} dB, stated in {folder}; below {MOST_LOSS_DB} dB: {'yes' if below else 'no'}"
    )


def _load(files: Sequence[Path], options: ReconstructOptions) -> tuple[VideoTokenizer, ClipDataset, float]:
    """The tokenizer, the middle clip of each video, and the frames a second to show them at."""
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file}")
    network = load_tokenizer(options.tokenizer, options.device)
    form = options.clip_format.build(options.tokenizer)
    frames, size, _ = form.shape
    network.latent_grid((frames, size, size))
    records = [VideoRecord(file, 0, f"{number:03d}-{file.stem}", "") for number, file in enumerate(files)]
    clips = ClipDataset(records, frames, size, form.fps, form.stride, policy="center", max_bad=0.0)
    if clips.skipped:
        record, reason = clips.skipped[0]
        raise ValueError(f"{record.path} {reason}")
    return network, clips, 8.0 if form.fps is None else form.fps

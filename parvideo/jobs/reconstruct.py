"""Reconstructing: videos through a tokenizer and back, side by side, with figures."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from parvideo.datasets import ClipDataset, VideoRecord, write_mp4
from parvideo.files import write_json
from parvideo.jobs.options import ReconstructOptions
from parvideo.metrics.reconstruction import ReconstructionQuality
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import find_folder, load_tokenizer
from parvideo.pretrained.hub import origin


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
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file}")
    network = load_tokenizer(options.tokenizer, device)
    form = options.clip_format.build(options.tokenizer)
    frames, size, _ = form.shape
    network.latent_grid((frames, size, size))
    records = [VideoRecord(file, 0, f"{number:03d}-{file.stem}", "") for number, file in enumerate(files)]
    clips = ClipDataset(records, frames, size, form.fps, form.stride, policy="center", max_bad=0.0)
    if clips.skipped:
        record, reason = clips.skipped[0]
        raise ValueError(f"{record.path} {reason}")
    rows: dict[str, dict[str, float]] = {}
    whole = ReconstructionQuality().to(device)
    for index in tqdm(range(len(clips)), desc="reconstructing", unit="clip", disable=None):
        item = clips[index]
        original = to_float(item["clip"][None]).to(device)
        with torch.inference_mode():
            decoded = network.decode(network.encode(original))
        quality = ReconstructionQuality().to(device)
        quality.update(decoded, original)
        whole.update(decoded, original)
        rows[item["id"]] = {name: value.item() for name, value in quality.compute().items()}
        pair = torch.cat([item["clip"], to_uint8(decoded)[0].cpu()], dim=2)  # [T, H, 2W, 3]
        write_mp4(options.out / f"{item['id']}.mp4", pair, 8.0 if form.fps is None else form.fps)
    rows["all"] = {name: value.item() for name, value in whole.compute().items()}
    finite = {
        name: {figure: value if math.isfinite(value) else None for figure, value in row.items()}
        for name, row in rows.items()
    }
    source = origin(find_folder(options.tokenizer))
    made_by = {} if source is None else {"tokenizer": source}
    write_json(options.out / "reconstruct.json", finite | made_by)  # null: no such frames, or no error at all
    return rows

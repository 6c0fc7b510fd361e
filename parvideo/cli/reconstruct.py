"""`parvideo reconstruct`: encode and decode videos, side by side, with figures."""

import math
from pathlib import Path

from parvideo.files import write_json

COLUMNS = ("psnr", "psnr_copy_first", "ssim", "psnr_t0", "psnr_t1", "psnr_t2", "psnr_t3", "motion_ratio")


def reconstruct(
    files: list[Path],
    /,
    tokenizer: Path,
    out: Path,
    frames: int | None = None,
    size: int | None = None,
    fps: float | None = None,
    stride: int | None = None,
    device: str = "cpu",
) -> None:
    """Encode and decode the middle clip of each video; write original and reconstruction side by side.

    Prints PSNR, what copying the first frame would score, SSIM, PSNR by the frame's place t mod 4 in its
    latent frame, and how much moves relative to the original; also writes them to reconstruct.json.

    Args:
        files: videos.
        tokenizer: model folder of a tokenizer or generator, or a run folder.
        out: folder for the videos.
        frames: frames of a clip; as the tokenizer was trained, if not given.
        size: height and width in pixels; as the tokenizer was trained, if not given.
        fps: frames a second; as the tokenizer was trained, if not given.
        stride: source frames from one frame of a clip to the next, in place of fps.
        device: where to compute, such as cuda.

    Raises:
        FileNotFoundError: if a video is missing.
        ValueError: if one cannot be read or is too short, or the tokenizer cannot encode such clips.
    """
    import torch
    from tqdm import tqdm

    from parvideo.datasets import ClipDataset, VideoRecord, write_mp4
    from parvideo.jobs.clip_format import ClipForm
    from parvideo.metrics.reconstruction import ReconstructionQuality
    from parvideo.pixels import to_float, to_uint8
    from parvideo.pretrained.folder import load_tokenizer

    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file}")
    network = load_tokenizer(tokenizer, device)
    form = ClipForm.of(tokenizer, frames, size, fps, stride)
    network.latent_grid((form.frames, form.size, form.size))
    records = [VideoRecord(file, 0, f"{number:03d}-{file.stem}", "") for number, file in enumerate(files)]
    clips = ClipDataset(records, form.frames, form.size, form.fps, form.stride, policy="center", max_bad=0.0)
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
        write_mp4(out / f"{item['id']}.mp4", pair, 8.0 if form.fps is None else form.fps)
    rows["all"] = {name: value.item() for name, value in whole.compute().items()}
    finite = {
        name: {figure: value if math.isfinite(value) else None for figure, value in row.items()}
        for name, row in rows.items()
    }
    write_json(out / "reconstruct.json", finite)  # null: no such frames, or no error at all
    print(_table(rows))


def _table(rows: dict[str, dict[str, float]]) -> str:
    width = max(map(len, rows)) + 2
    lines = [" " * width + "".join(f"{name:>17}" for name in COLUMNS)]
    lines += [f"{name:<{width}}" + "".join(f"{row[c]:>17.2f}" for c in COLUMNS) for name, row in rows.items()]
    return "\n".join(lines)

"""`parvideo reconstruct`: encode and decode videos, side by side, with figures."""

from pathlib import Path

from parvideo.jobs.options import ReconstructOptions

COLUMNS = ("psnr", "psnr_copy_first", "ssim", "psnr_t0", "psnr_t1", "psnr_t2", "psnr_t3", "motion_ratio")


def reconstruct(files: list[Path], /, options: ReconstructOptions) -> None:
    """Encode and decode the middle clip of each video; write original and reconstruction side by side.

    Prints PSNR, what copying the first frame would score, SSIM, PSNR by the frame's place t mod 4 in its
    latent frame, and how much moves relative to the original; also writes them to reconstruct.json.

    Args:
        files: videos.
        options: by which tokenizer, and where to.

    Raises:
        FileNotFoundError: if a video is missing.
        ValueError: if one cannot be read or is too short, or the tokenizer cannot encode such clips.
    """
    from parvideo.jobs import reconstruct as job

    print(_table(job.reconstruct(files, options)))
    if options.bf16:
        print(job.state_loss(files, options))


def _table(rows: dict[str, dict[str, float]]) -> str:
    width = max(map(len, rows)) + 2
    lines = [" " * width + "".join(f"{name:>17}" for name in COLUMNS)]
    lines += [f"{name:<{width}}" + "".join(f"{row[c]:>17.2f}" for c in COLUMNS) for name, row in rows.items()]
    return "\n".join(lines)

"""`parvideo demo`: everything, small, in minutes: train, sample, score, a page to look at."""

from pathlib import Path
from typing import Literal


def demo(
    out: Path = Path("runs/demo"),
    data: Path | None = None,
    i3d: Path | None = None,
    preset: Literal["small", "smoke"] = "small",
    seed: int = 0,
    split_index: int = 1,
    annotations: Path | None = None,
) -> None:
    """Train a tokenizer and a transformer on videos, generate, score, and write a page that fills meanwhile.

    Interrupt it at any time; the same command goes on where it was.

    Args:
        out: folder for everything.
        data: folder of your own videos (UCF-101's layout or class folders); a drawn objects set if not given.
        i3d: weights of the Kinetics-400 I3D for FVD. If not given, your own videos are scored by those that
            `parvideo weights i3d` keeps; without them, and on the objects set, by a network the demo trains.
        preset: small takes about thirteen minutes of processor time; smoke only shows that everything runs.
        seed: of everything random.
        split_index: which of UCF-101's three splits of your own videos.
        annotations: folder of UCF-101's lists, if it is neither in nor beside your own videos.

    Raises:
        ValueError: if ``out`` was begun with other settings, or the videos do not fit.
    """
    from parvideo.demo.run import run_demo

    run_demo(out, data, i3d, preset, seed, split_index, annotations)

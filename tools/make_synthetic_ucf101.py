"""Write a synthetic UCF-101: all 13,320 names of the official layout, as tiny AVI files.

The names of split 1, which the repository holds, are all there are. One clip of noise is encoded for
each class; its files are copies, so the set is small and quickly made, and readers do all their work.

    python -m tools.make_synthetic_ucf101 --out /tmp/UCF-101
    parvideo data ucf101 --root /tmp/UCF-101
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import torch

from parvideo.datasets import write_avi
from parvideo.datasets.annotations import read_class_index, read_split_list
from parvideo.datasets.folders import ANNOTATIONS
from parvideo.progress import Progress

LISTS = Path(__file__).parents[1] / "data" / "ucf101" / ANNOTATIONS
FRAMES, HEIGHT, WIDTH, FPS = 60, 24, 32, 25


def main() -> None:
    """Parse arguments, write, and say how long it took."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.make_synthetic_ucf101",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for class folders and lists")
    out: Path = parser.parse_args().out
    started = time.monotonic()
    names = read_class_index(LISTS / "classInd.txt")
    videos = [
        name
        for part in ("trainlist01", "testlist01")
        for name in read_split_list(LISTS / f"{part}.txt", names)
    ]
    shutil.copytree(LISTS, out / ANNOTATIONS)
    with tempfile.TemporaryDirectory() as folder:
        for label, name in enumerate(names):
            generator = torch.Generator().manual_seed(label)
            clip = torch.randint(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=generator)
            write_avi(Path(folder) / f"{name}.avi", clip, FPS)
            (out / name).mkdir()
        for video in Progress(videos, title="copying", unit="video"):
            shutil.copyfile(Path(folder) / f"{Path(video).parts[0]}.avi", out / video)
    print(f"{len(videos)} videos of {len(names)} classes in {out}: {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()

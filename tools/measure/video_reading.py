"""Clips a second that the data set gives: PyAV, decord, the automatic choice and the cache, side by side.

    python -m tools.measure.video_reading --root data/ucf101/UCF-101

Figures are ratios as much as rates: every reader draws the same clips in turn, on the machine as it is.

    python -m tools.measure.video_reading --root data/ucf101/UCF-101 --against 2dacc54

compares this tree's reading of whole videos by PyAV with that of another commit: CPU time, both in turn
video by video, best of the rounds for each.
"""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Subset

from parvideo.datasets import (
    Backend,
    ClipDataset,
    UnreadableVideoError,
    build_cache,
    load_videos,
    read_frames,
)
from parvideo.datasets.videos import VideoList
from parvideo.progress import Progress
from tools.measure.reading_of_commits import compare


def main() -> None:
    """Read the command line, measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure.video_reading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--root", type=Path, required=True, help="videos in UCF-101's layout or class folders"
    )
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--fps", type=float, default=8.0)
    parser.add_argument("--videos", type=int, default=60, help="videos to draw from, spread over the list")
    parser.add_argument("--rounds", type=int, default=5, help="times that each reader reads one clip of each")
    parser.add_argument("--workers", type=int, default=0, help="processes of the data loader")
    parser.add_argument("--against", help="a commit to compare the reading of whole videos with")
    options = parser.parse_args()
    torch.set_num_threads(1)
    everything = load_videos(options.root, "all")
    step = max(1, len(everything) // options.videos)
    videos = VideoList(
        everything.records[::step][: options.videos], everything.class_names, everything.layout
    )
    if options.against is not None:
        compare(options.against, [record.path for record in videos.records], options.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        begin = time.perf_counter()
        build_cache(cache, videos, options.size, workers=1)
        built = time.perf_counter() - begin
        readers = {
            name: ClipDataset(
                videos,
                options.frames,
                options.size,
                fps=options.fps,
                backend=backend,
                cache=cache if name == "cache" else None,
            )
            for name, backend in _backends(videos).items()
        }
        rates = _measure(readers, options.rounds, options.workers)
        bytes_cached = sum(path.stat().st_size for path in cache.rglob("*.npy"))
    count = len(readers["pyav"])
    print(
        f"{count} clips of {options.frames} frames at {options.fps:g}/s, {options.size}x{options.size}, "
        f"from {len(videos)} videos of {options.root}; {options.rounds} rounds; {options.workers} workers; "
        f"torch {torch.__version__}; {platform.processor() or platform.machine()}"
    )
    print(f"{'reader':<8}{'clips/s':>10}{'times PyAV':>12}{'spread':>10}")
    base = statistics.median(rates["pyav"])
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:<8}{median:>10.1f}{median / base:>12.2f}{(max(values) - min(values)) / median:>10.0%}")
    if "decord" not in rates:
        print("decord: left out, it refuses some of these files (see parvideo.datasets.reading)")
    print(f"the cache took {built:.1f} s to build and holds {bytes_cached / 1e6:.0f} MB")


def _backends(videos: VideoList) -> dict[str, Backend]:
    backends: dict[str, Backend] = {"pyav": "pyav", "auto": "auto", "cache": "auto"}
    try:
        for record in videos.records:
            read_frames(record.path, [0], "decord")
    except UnreadableVideoError:
        return backends
    return {**backends, "decord": "decord"}


def _measure(readers: dict[str, ClipDataset], rounds: int, workers: int) -> dict[str, list[float]]:
    """Clips a second of each reader in each round; readers take turns, so that load falls on all alike."""
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for epoch in Progress(range(rounds + 1), title="timing", unit="round"):
        for name, clips in readers.items():
            clips.set_epoch(epoch)
            loader = DataLoader(Subset(clips, range(len(clips))), batch_size=4, num_workers=workers)
            begin = time.perf_counter()
            count = sum(len(batch["label"]) for batch in loader)
            if epoch:  # the first round warms up imports and the disk's cache
                rates[name].append(count / (time.perf_counter() - begin))
    return rates


if __name__ == "__main__":
    main()

"""Measure the throughput and memory of an evaluation of many clips.

    python -m tools.measure.evaluation --clips 10000 --frames 16 --size 128

Clips are drawn on the fly, so that reading costs little; the extractor is a cheap one (moments of colour and
motion on a grid) or, with --i3d PATH, the real one. Prints clips a second and peak memory at every tenth of
the way: memory must not grow.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.evaluation.feature_store import FeatureStore
from parvideo.evaluation.sources import ClipSource, ScoredClips
from parvideo.jobs.devices import launch
from parvideo.jobs.extract_features import extract_features, to_device
from parvideo.metrics.extractors.i3d import FeatureExtractor, I3DExtractor
from parvideo.metrics.fvd import describe
from parvideo.pixels import to_float


class DrawnClips(ClipSource):
    """Random clips of 8 x 8 blocks, each from its own seed; ``shift`` brightens them."""

    def __init__(self, count: int, frames: int, size: int, shift: float) -> None:
        self.ids, self.frames, self.size, self.shift = list(range(count)), frames, size, shift
        self.manifest, self.description = "drawn", {}
        self.started = time.monotonic()

    def batches(self, ids: Sequence[int], batch_size: int) -> Iterator[ScoredClips]:
        """See `ClipSource`; prints throughput and peak memory at every tenth."""
        tenth = max(len(ids) // 10, 1)
        for start in range(0, len(ids), batch_size):
            keys = torch.tensor(ids[start : start + batch_size])
            if start // tenth != (start - batch_size) // tenth and start:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                rate = start / (time.monotonic() - self.started)
                print(f"\n{start:>7} clips  {rate:8.1f} clips/s  peak {peak:7.0f} MiB", flush=True)
            clips = torch.stack([self._draw(int(key)) for key in keys])
            yield ScoredClips(clips, keys, keys, torch.zeros_like(keys))

    def _draw(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed + int(1e6 * self.shift))
        coarse = (torch.rand(self.frames, 8, 8, 3, generator=generator) * 200 + self.shift).to(torch.uint8)
        side = self.size // 8
        return coarse.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)


class GridMoments:
    """Mean and temporal change of colour on a 4 x 4 grid: 96 features, no weights."""

    dim, min_frames, fingerprint = 96, 9, "grid-moments"
    comparability = "A stand-in for measuring speed; the value means nothing."

    def __call__(self, clips: Tensor) -> Tensor:
        """Features ``[B, 96]`` of uint8 clips ``[B, T, H, W, 3]``."""
        x = to_float(clips[:, :, ::4, ::4])
        mean = F.adaptive_avg_pool3d(x, (1, 4, 4)).flatten(1)
        motion = F.adaptive_avg_pool3d(x.diff(dim=2).abs(), (1, 4, 4)).flatten(1)
        return torch.cat([mean, motion], dim=1)


def main() -> None:
    """Evaluate drawn clips against drawn clips and print what it took."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure.evaluation", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--i3d", type=Path)
    arguments = parser.parse_args()
    extractor: FeatureExtractor = I3DExtractor(arguments.i3d) if arguments.i3d else GridMoments()
    fabric = launch("auto", 1)
    to_device(extractor, fabric)
    sets = []
    with tempfile.TemporaryDirectory() as folder:
        for title, shift in (("real", 0.0), ("generated", 5.0)):
            source = DrawnClips(arguments.clips, arguments.frames, arguments.size, shift)
            store = FeatureStore(Path(folder) / title, {"source": title})
            started = time.monotonic()
            extract_features(
                source,
                store,
                extractor,
                fabric,
                arguments.frames,
                arguments.size,
                arguments.batch_size,
                title,
            )
            seconds = time.monotonic() - started
            print(f"{title}: {arguments.clips / seconds:.1f} clips/s ({seconds:.0f} s)")
            sets.append(store.load())
    started = time.monotonic()
    real, fake = sets
    result = describe(real.features.astype(float), fake.features.astype(float), real.groups, fake.groups)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"statistics: {time.monotonic() - started:.1f} s, FVD {result.fvd:.4g}; peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()

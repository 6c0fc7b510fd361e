"""Reads clips of the objects set: from pixels to the class, the objects' tracks, and what is wrong with them.

No network: colours are found by their angle in the chroma plane, every class whose colours are there has its
law of motion fitted to the tracks, and the one that explains tracks, shapes and textures best is taken. Then
the clip is compared, frame by frame, with what that class and those parameters must show, occlusion included.
Of the background only change over time is seen, not a seam that stands still.
`python -m tools.measure.synthetic_reader` prints what the reader finds and what it misses.
"""

from collections.abc import Sequence

import numpy as np

from parvideo.datasets.transforms import resize_and_crop
from parvideo.pixels import TensorLike, as_tensor, check_clips, to_uint8
from parvideo.progress import Progress
from parvideo.synthetic.consistency import ConsistencyCheck, Guess, Reading, Track, Violation
from parvideo.synthetic.motion import Pan
from parvideo.synthetic.objects import CLASSES, COLOURS, ObjectsClass
from parvideo.synthetic.outlines import Array
from parvideo.synthetic.segments import (
    FULL,
    Seen,
    patches,
    shape_errors,
    stripe_strength,
    take_apart,
)

_SIZE = 64  # pixels of the side at which every clip is read
_PARTIAL = (0.2, 0.7, 0.0)  # weights to try for places where an object is hidden in part
_COLOURS = list(COLOURS)

__all__ = ["Reading", "Track", "Violation", "analyse_clip", "analyse_clips", "violation_rate"]


def analyse_clips(
    clips: TensorLike, fps: float = 16.0, num_classes: int = len(CLASSES), show_progress: bool = False
) -> list[Reading]:
    """Read clips one by one.

    Args:
        clips: uint8 ``[B, T, size, size, 3]``, or float in [-1, 1] ``[B, 3, T, size, size]``.
        fps: frames a second of the clips.
        num_classes: the classes there are: the first so many.
        show_progress: show a progress bar.

    Raises:
        ValueError: on another form of clips, or num_classes outside 1 to 24.
    """
    clips = as_tensor(clips)
    if clips.ndim != 5:
        raise ValueError(f"clips must be [B, T, H, W, 3] or [B, 3, T, H, W], got {list(clips.shape)}")
    bar = Progress(clips, title="reading", unit="clip", hidden=not show_progress)
    return [analyse_clip(clip, fps, num_classes) for clip in bar]


def analyse_clip(clip: TensorLike, fps: float = 16.0, num_classes: int = len(CLASSES)) -> Reading:
    """Read one clip; the arguments are those of :func:`analyse_clips` without the batch axis.

    Raises:
        ValueError: on another form of clip, a frame that is not square or below 32 pixels, fewer than 5
            frames, or num_classes outside 1 to 24.
    """
    clip = as_tensor(clip, "clip")
    if clip.is_floating_point():
        clip = to_uint8(clip)
    check_clips(clip)
    if clip.ndim != 4 or clip.shape[1] != clip.shape[2] or clip.shape[1] < 32 or len(clip) < 5:
        raise ValueError(f"clip must be [T, size, size, 3], T >= 5, size >= 32, got {list(clip.shape)}")
    if not 1 <= num_classes <= len(CLASSES):
        raise ValueError(f"num_classes is {num_classes}; it must be from 1 to {len(CLASSES)}")
    seen = take_apart(resize_and_crop(clip.cpu(), _SIZE).numpy())
    time = np.arange(len(clip)) / fps
    guesses = [_guess(seen, label, time) for label in _candidates(seen, num_classes)]
    if not guesses:
        return Reading(None, [], [Violation("vanish", 0, None, "no object of any known colour")], np.inf)
    best = min(guesses, key=lambda guess: guess.cost)
    readings = [ConsistencyCheck(seen, best).reading(clip.shape[1])]
    if readings[0].violations:  # before it is called wrong, other weights for what is half hidden
        others = (_guess(seen, best.label, time, partial) for partial in _PARTIAL[1:])
        readings += [ConsistencyCheck(seen, guess).reading(clip.shape[1]) for guess in others]
    return min(readings, key=lambda reading: len(reading.violations))


def violation_rate(readings: Sequence[Reading]) -> float:
    """The share of clips with a violation of any kind.

    Raises:
        ValueError: if there are no readings.
    """
    if not readings:
        raise ValueError("readings is empty; a rate needs at least one clip")
    return sum(bool(reading.violations) for reading in readings) / len(readings)


def _candidates(seen: Seen, num_classes: int) -> list[int]:
    """The classes whose colours fit best, by how many colours are missing or too many."""
    present = []
    for pieces in seen.pieces:
        shown = np.unique(pieces.frame[pieces.area > 0.006])
        present.append(min(1.0, len(shown) / seen.frames / 0.4))
    if max(present) == 0:
        return []
    costs = []
    for one in CLASSES[:num_classes]:
        wanted = {look.colour for look in one.looks}
        costs.append(sum(1 - p if c in wanted else p for c, p in zip(_COLOURS, present, strict=True)))
    return [label for label, cost in enumerate(costs) if cost < min(costs) + 0.3]


def _guess(seen: Seen, label: int, time: Array, partial: float = _PARTIAL[0]) -> Guess:
    """Fit a class; ``partial`` is the weight of a place where an object is hidden in part."""
    one = CLASSES[label]
    chosen = [seen.pieces[_COLOURS.index(look.colour)].largest(seen.frames) for look in one.looks]
    points = np.stack([centre for centre, _ in chosen], 1)
    areas = np.stack([area for _, area in chosen], 1)
    full = np.array([FULL[look.shape] for look in one.looks])
    least, most = one.law.radii
    sizes = [
        np.sqrt(np.percentile(area[area > 0], 80) / square)
        for area, square in zip(areas.T, full, strict=True)
        if area.any()
    ]
    typical = np.median(sizes) if sizes else (least + most) / 2
    radius = float(np.clip(typical, least * 0.95, most * 1.05))
    share = areas / (full * radius**2)
    weights = np.where(share > 0.82, 1.0, np.where(share > 0.3, partial, 0.0)) * (share < 1.25)
    for i in np.flatnonzero(weights.sum(0) < 4):
        weights[:, i] = share[:, i] > 0.2
    params = one.law.fit(points, weights, time, radius)
    places = one.law.place(params, time, radius)
    camera = one.law.camera(params, time) if isinstance(one.law, Pan) else np.zeros((len(time), 2))
    errors = np.minimum(np.linalg.norm(places - points, axis=-1), 0.15)
    errors[:, weights.sum(0) == 0] = 0.15  # an object that is never seen obeys no law
    motion = float(np.average(errors, weights=np.where(weights.sum(0) > 0, weights, 1)))
    looks = [_look_cost(seen, one, i, points, weights, radius) for i in range(len(one.looks))]
    return Guess(label, radius, places, camera, 50 * motion + float(np.mean(looks)))


def _look_cost(seen: Seen, one: ObjectsClass, i: int, points: Array, weights: Array, radius: float) -> float:
    """How badly an object's middling outline and texture fit the class: 0 well, 1 and more badly."""
    look, frames = one.looks[i], np.flatnonzero(weights[:, i] == weights[:, i].max())
    if not weights[:, i].any():
        return 1.0
    covers = patches(seen.cover[_COLOURS.index(look.colour)], points[frames, i], frames)
    errors = shape_errors(np.median(covers, axis=0)[None], radius, seen.size)
    shape = float(errors[look.shape][0] - min(error[0] for error in errors.values()))
    bright = np.median(patches(seen.bright, points[frames, i], frames), axis=0)
    strength = stripe_strength(bright, look.shape, radius, seen.size)
    return 12 * shape + abs(float(np.clip(strength, 0, 1)) - look.striped)

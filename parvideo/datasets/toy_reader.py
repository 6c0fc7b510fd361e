"""The reader of bench clips: from pixels to the class, the objects' tracks, and what is wrong with them.

No network: colours are found by their angle in the chroma plane, every class whose colours are there has its
law of motion fitted to the tracks, and the one that explains tracks, shapes and textures best is taken. Then
the clip is compared, frame by frame, with what that class and those parameters must show, occlusion included.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from parvideo.clips import check_clips, to_uint8
from parvideo.datasets.toy_bench import CLASSES, COLOURS, BenchClass, object_cover, pillar_cover
from parvideo.datasets.toy_pieces import (
    SHAPES,
    Seen,
    patches,
    shape_errors,
    stripe_strength,
    take_apart,
)
from parvideo.datasets.toy_shapes import Array

Kind = Literal["split", "vanish", "colour", "shape", "motion", "extra", "occlusion"]

_MOTION_TOLERANCE = 0.045  # sides between where an object is and where its law puts it
_SHAPE_TOLERANCE = 0.55  # share of the area by which a single frame's outline may differ
_SHAPE_MARGIN = 0.12  # by how much another shape may explain an outline better
_VISIBLE = 0.4  # share of an object that must be in view for its place and presence to be judged
_PIECE = 0.2  # a piece of this share of an object counts
_LEAST_FRAMES = 2  # what lasts for fewer frames is let pass
_COLOURS = list(COLOURS)
_FULL = {  # area in squared radii
    shape: float(object_cover(shape, 0.25, np.zeros((1, 2)), 256).sum()) / (256 * 0.25) ** 2
    for shape in SHAPES
}


@dataclass(frozen=True)
class Violation:
    """What a clip does that its class never does.

    Attributes:
        kind: "split": more than one of an object; "vanish": not there though nothing hides it; "colour" and
            "shape": it looks different; "motion": it is not where its law of motion puts it; "extra": an
            object of a colour that the class does not have; "occlusion": seen through what should hide it.
        frame: the first frame that shows it.
        object: which object of the class, from 0; None for "extra".
        detail: a sentence.
    """

    kind: Kind
    frame: int
    object: int | None
    detail: str


@dataclass(frozen=True)
class Track:
    """One object's way: where it was seen and where its law puts it.

    Attributes:
        name: its look, such as ``RedDisc``.
        seen: ``[T, 2]``, x and y in pixels from the top left corner; NaN where it was not seen.
        expected: ``[T, 2]``, the same by the fitted law of motion.
        visible: ``[T]``, the share of it that nothing hides, by the fitted law.
    """

    name: str
    seen: Array
    expected: Array
    visible: Array


@dataclass(frozen=True)
class Reading:
    """What a clip shows.

    Attributes:
        label: its class, an index into ``CLASSES``; None if there is no object of any known colour.
        tracks: one for each object of the class.
        violations: at most one for each kind and object.
        motion_error: median distance from the law of motion, in pixels of a frame of 64.
    """

    label: int | None
    tracks: list[Track]
    violations: list[Violation]
    motion_error: float

    @property
    def class_name(self) -> str:
        """The class's name; "nothing" where there is none."""
        return "nothing" if self.label is None else CLASSES[self.label].name


@dataclass(frozen=True)
class _Guess:
    """A class fitted to a clip: radius, places ``[T, n, 2]`` and the cost of believing it."""

    label: int
    radius: float
    places: Array
    cost: float


def read_clips(
    clips: Tensor, fps: float = 16.0, num_classes: int = len(CLASSES), show_progress: bool = False
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
    if clips.ndim != 5:
        raise ValueError(f"clips must be [B, T, H, W, 3] or [B, 3, T, H, W], got {list(clips.shape)}")
    bar = tqdm(clips, desc="reading", unit="clip", disable=not show_progress)
    return [read_clip(clip, fps, num_classes) for clip in bar]


def read_clip(clip: Tensor, fps: float = 16.0, num_classes: int = len(CLASSES)) -> Reading:
    """Read one clip; the arguments are those of :func:`read_clips` without the batch axis.

    Raises:
        ValueError: on another form of clip, a frame that is not square or below 32 pixels, fewer than 5
            frames, or num_classes outside 1 to 24.
    """
    if clip.is_floating_point():
        clip = to_uint8(clip)
    check_clips(clip)
    if clip.ndim != 4 or clip.shape[1] != clip.shape[2] or clip.shape[1] < 32 or len(clip) < 5:
        raise ValueError(f"clip must be [T, size, size, 3], T >= 5, size >= 32, got {list(clip.shape)}")
    if not 1 <= num_classes <= len(CLASSES):
        raise ValueError(f"num_classes is {num_classes}; it must be from 1 to {len(CLASSES)}")
    seen = take_apart(clip.cpu().numpy())
    time = np.arange(len(clip)) / fps
    guesses = [_guess(seen, label, time) for label in _candidates(seen, num_classes)]
    if not guesses:
        return Reading(None, [], [Violation("vanish", 0, None, "no object of any known colour")], np.inf)
    return _Judge(seen, min(guesses, key=lambda guess: guess.cost)).reading()


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


def _guess(seen: Seen, label: int, time: Array) -> _Guess:
    one = CLASSES[label]
    chosen = [seen.pieces[_COLOURS.index(look.colour)].largest(seen.frames) for look in one.looks]
    points = np.stack([centre for centre, _ in chosen], 1)
    areas = np.stack([area for _, area in chosen], 1)
    full = np.array([_FULL[look.shape] for look in one.looks])
    least, most = one.law.radii
    sizes = [
        np.sqrt(np.percentile(area[area > 0], 80) / square)
        for area, square in zip(areas.T, full, strict=True)
        if area.any()
    ]
    radius = float(np.clip(np.median(sizes), least * 0.95, most * 1.05))
    share = areas / (full * radius**2)
    weights = ((share > 0.82) & (share < 1.25)).astype(float)
    for i in np.flatnonzero(weights.sum(0) < 4):
        weights[:, i] = share[:, i] > _PIECE
    places = one.law.place(one.law.fit(points, weights, time, radius), time, radius)
    errors = np.minimum(np.linalg.norm(places - points, axis=-1), 0.15)
    motion = float((errors * weights).sum() / max(weights.sum(), 1))
    looks = [_look_cost(seen, one, i, points, weights, radius) for i in range(len(one.looks))]
    return _Guess(label, radius, places, 50 * motion + float(np.mean(looks)))


def _look_cost(seen: Seen, one: BenchClass, i: int, points: Array, weights: Array, radius: float) -> float:
    """How badly an object's middling outline and texture fit the class: 0 well, 1 and more badly."""
    look, frames = one.looks[i], np.flatnonzero(weights[:, i])
    if len(frames) == 0:
        return 1.0
    covers = patches(seen.cover[_COLOURS.index(look.colour)], points[frames, i], frames)
    errors = shape_errors(np.median(covers, axis=0)[None], radius, seen.size)
    shape = float(errors[look.shape][0] - min(error[0] for error in errors.values()))
    bright = np.median(patches(seen.bright, points[frames, i], frames), axis=0)
    strength = stripe_strength(bright, look.shape, radius, seen.size)
    return 5 * shape + abs(float(np.clip(strength, 0, 1)) - look.striped)


class _Judge:
    """Compares a clip with what a guess says it must show."""

    def __init__(self, seen: Seen, guess: _Guess) -> None:
        self.seen, self.guess, self.one = seen, guess, CLASSES[guess.label]
        self.full = [
            object_cover(look.shape, guess.radius, guess.places[:, i], seen.size) > 0.5
            for i, look in enumerate(self.one.looks)
        ]
        hidden = np.zeros(self.full[0].shape, bool)
        if self.one.motion == "Hide":
            hidden |= pillar_cover(seen.size) > 0.5
        self.visible: list[NDArray[np.bool_]] = []
        for whole in self.full:  # foremost first
            self.visible.append(whole & ~hidden)
            hidden = hidden | whole
        self.found: dict[tuple[Kind, int | None], list[int]] = defaultdict(list)
        self.details: dict[tuple[Kind, int | None], str] = {}
        self.errors: list[float] = []

    def reading(self) -> Reading:
        tracks = [self._follow(i) for i in range(len(self.one.looks))]
        self._look_for_extra()
        violations = [
            Violation(kind, frames[0], i, f"{self.details[kind, i]}, in {len(frames)} frames")
            for (kind, i), frames in self.found.items()
            if len(frames) >= _LEAST_FRAMES
        ]
        violations.sort(key=lambda violation: violation.frame)
        error = 64 * float(np.median(self.errors)) if self.errors else np.inf
        return Reading(self.guess.label, tracks, violations, error)

    def _follow(self, i: int) -> Track:
        """Follow one object through the clip and note what is wrong with it."""
        look, frames, size = self.one.looks[i], self.seen.frames, self.seen.size
        colour = _COLOURS.index(look.colour)
        share = self.visible[i].sum((1, 2)) / np.maximum(self.full[i].sum((1, 2)), 1)
        seen = np.full((frames, 2), np.nan)
        for frame in range(frames):
            centre = self._find(i, colour, frame, float(share[frame]))
            if centre is not None:
                seen[frame] = centre
        whole = np.flatnonzero((share > 0.95) & ~np.isnan(seen[:, 0]))
        self._check_shape(i, colour, seen, whole)
        return Track(
            str(look), (seen + 0.5) * size - 0.5, (self.guess.places[:, i] + 0.5) * size - 0.5, share
        )

    def _find(self, i: int, colour: int, frame: int, share: float) -> Array | None:
        """Where an object is in a frame, the middle of what is in view of it; notes what is wrong."""
        radius, look = self.guess.radius, self.one.looks[i]
        area = _FULL[look.shape] * radius**2
        pieces, place = self.seen.pieces[colour], self.guess.places[frame, i]
        numbers = np.flatnonzero(pieces.frame == frame)
        near = np.linalg.norm(pieces.centre[numbers] - place, axis=-1) < 1.3 * radius
        near_by, others = numbers[near], numbers[~near]
        others = others[pieces.area[others] > _PIECE * area]
        if share < _VISIBLE:
            if pieces.area[near_by].sum() > 0.65 * area:
                self._note("occlusion", i, frame, f"{look} is seen where it should be hidden")
            self._note_split(i, frame, others, 0)
            return None
        in_view = self.visible[i][frame]
        if pieces.area[near_by].sum() < _PIECE * area * share:
            if len(others) == 0:
                if self.seen.cover[colour][frame][in_view].mean() < _PIECE:
                    self._note_missing(i, colour, frame)
                return None
            largest = pieces.area[others].argmax()  # it is elsewhere
            near_by, others = others[[largest]], np.delete(others, largest)
        self._note_split(i, frame, others, 1)
        weight = pieces.area[near_by]
        centre = (pieces.centre[near_by] * weight[:, None]).sum(0) / weight.sum()
        rows, columns = np.nonzero(in_view)
        middle = (np.array([columns.mean(), rows.mean()]) + 0.5) / self.seen.size - 0.5
        error = float(np.linalg.norm(centre - middle))
        self.errors.append(error)
        # Where two colours meet, a part of each is lost.
        if error > _MOTION_TOLERANCE * (1 if share > 0.95 else 1.5):
            self._note("motion", i, frame, f"{look} is {64 * error:.0f}/64 sides from its path")
        return centre

    def _note_split(self, i: int, frame: int, others: NDArray[np.int64], known: int) -> None:
        if len(others):
            self._note("split", i, frame, f"there are {len(others) + known} of {self.one.looks[i]}")

    def _note_missing(self, i: int, colour: int, frame: int) -> None:
        look, place = self.one.looks[i], self.visible[i][frame]
        for other, pieces in enumerate(self.seen.pieces):
            if other != colour and (pieces.labels[frame][place] > 0).mean() > 0.5:
                self._note("colour", i, frame, f"{look} is {_COLOURS[other].lower()}")
                return
        self._note("vanish", i, frame, f"{look} is not there")

    def _check_shape(self, i: int, colour: int, seen: Array, frames: NDArray[np.int64]) -> None:
        if len(frames) == 0:
            return
        look = self.one.looks[i]
        covers = patches(self.seen.cover[colour], seen[frames], frames)
        errors = shape_errors(covers, self.guess.radius, self.seen.size)
        own, best = errors[look.shape], np.min(list(errors.values()), axis=0)
        for frame, error, margin in zip(frames.tolist(), own, own - best, strict=True):
            if error > _SHAPE_TOLERANCE or margin > _SHAPE_MARGIN:
                self._note("shape", i, frame, f"{look} has another outline")

    def _look_for_extra(self) -> None:
        """Objects of colours that the class does not have, except where one stands for an expected one."""
        wanted = {look.colour for look in self.one.looks}
        area = min(_FULL[look.shape] for look in self.one.looks) * self.guess.radius**2
        for colour, pieces in zip(_COLOURS, self.seen.pieces, strict=True):
            if colour in wanted:
                continue
            for number in np.flatnonzero(pieces.area > 0.3 * area):
                frame = int(pieces.frame[number])
                patch = pieces.labels[frame] == number + 1
                if max(whole[frame][patch].mean() for whole in self.full) < 0.5:
                    self._note("extra", None, frame, f"something {colour.lower()} is there")

    def _note(self, kind: Kind, i: int | None, frame: int, detail: str) -> None:
        frames = self.found[kind, i]
        if not frames or frames[-1] != frame:
            frames.append(frame)
        self.details.setdefault((kind, i), detail)

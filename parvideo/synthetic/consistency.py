"""What is wrong with a clip of the objects set, given its class: frame by frame, occlusion included."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parvideo.synthetic.objects import CLASSES, COLOURS, object_cover, pillar_cover
from parvideo.synthetic.outlines import Array
from parvideo.synthetic.segments import FULL, Seen, patches, shape_errors

Kind = Literal["split", "vanish", "colour", "shape", "motion", "extra", "occlusion", "backdrop"]

BROKEN: tuple[Kind, ...] = ("split", "vanish", "colour", "extra")
"""The kinds of violation that are a whole object's fate."""

_MOTION_TOLERANCE = 0.036  # sides between where an object is and where its law puts it
_SHAPE_TOLERANCE = 0.55  # share of the area by which a single frame's outline may differ
_SHAPE_MARGIN = 0.12  # by how much another shape may explain an outline better
_STEADY_MARGIN, _STEADY_FRAMES = 0.04, 4  # the same for an outline that lasts: a disc is nearly a square
_BACKDROP_LEVELS, _BACKDROP_SHARE = 18, 0.08  # by how much, and in what part, the background may change
_VISIBLE = 0.4  # share of an object that must be in view for its place and presence to be checked
_PIECE = 0.2  # a piece of this share of an object counts
_LEAST_FRAMES = 2  # what lasts for fewer frames is let pass
_COLOURS = list(COLOURS)


@dataclass(frozen=True)
class Violation:
    """What a clip does that its class never does.

    Attributes:
        kind: "split": more than one of an object; "vanish": not there though nothing hides it; "colour" and
            "shape": it looks different; "motion": it is not where its law of motion puts it; "extra": an
            object of a colour that the class does not have; "occlusion": seen through what should hide it;
            "backdrop": the background changes, or does not move with the camera.
        frame: the first frame that shows it.
        object: which object of the class, from 0; None for "extra" and "backdrop".
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

    @property
    def whole(self) -> bool:
        """Whether all objects are there, each in one piece and of its colour, and no others."""
        return not any(violation.kind in BROKEN for violation in self.violations)


@dataclass(frozen=True)
class Guess:
    """A class fitted to a clip.

    Attributes:
        label: of the class.
        radius: of its objects, in sides.
        places: of its objects, ``[T, n, 2]`` in sides.
        camera: how far the background is shifted, ``[T, 2]`` in sides.
        cost: of believing it.
    """

    label: int
    radius: float
    places: Array
    camera: Array
    cost: float


class ConsistencyCheck:
    """Compares a clip with what a guess says it must show."""

    def __init__(self, seen: Seen, guess: Guess) -> None:
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

    def reading(self, size: int) -> Reading:
        """What was found; ``size`` is the clip's own side, in whose pixels the tracks are given."""
        tracks = [self._follow(i, size) for i in range(len(self.one.looks))]
        self._look_for_extra()
        self._check_backdrop()
        violations = [
            Violation(kind, frames[0], i, f"{self.details[kind, i]}, in {len(frames)} frames")
            for (kind, i), frames in self.found.items()
            if len(frames) >= _LEAST_FRAMES
        ]
        violations.sort(key=lambda violation: violation.frame)
        error = 64 * float(np.median(self.errors)) if self.errors else np.inf
        return Reading(self.guess.label, tracks, violations, error)

    def _follow(self, i: int, size: int) -> Track:
        """Follow one object through the clip and note what is wrong with it."""
        look, frames = self.one.looks[i], self.seen.frames
        colour = _COLOURS.index(look.colour)
        share = self.visible[i].sum((1, 2)) / np.maximum(self.full[i].sum((1, 2)), 1)
        seen = np.full((frames, 2), np.nan)
        for frame in range(frames):
            centre = self._find(i, colour, frame, float(share[frame]))
            if centre is not None:
                seen[frame] = centre
        whole = np.flatnonzero((share > 0.95) & self._alone(i) & ~np.isnan(seen[:, 0]))
        self._check_shape(i, colour, seen, whole)
        return Track(
            str(look), (seen + 0.5) * size - 0.5, (self.guess.places[:, i] + 0.5) * size - 0.5, share
        )

    def _find(self, i: int, colour: int, frame: int, share: float) -> Array | None:
        """Where an object is in a frame, the middle of what is in view of it; notes what is wrong."""
        radius, look = self.guess.radius, self.one.looks[i]
        area = FULL[look.shape] * radius**2
        pieces, place = self.seen.pieces[colour], self.guess.places[frame, i]
        numbers = np.flatnonzero(pieces.frame == frame)
        near = np.linalg.norm(pieces.centre[numbers] - place, axis=-1) < 1.3 * radius
        near_by, others = numbers[near], numbers[~near]
        others = others[pieces.area[others] > _PIECE * area]
        if share < _VISIBLE:
            if pieces.area[near_by].sum() > 0.65 * area:
                self._note("occlusion", i, frame, f"{look} is seen where it should be hidden")
            if len(others):
                self._note("motion", i, frame, f"{look} is elsewhere while it should be hidden")
            return None
        in_view = self.visible[i][frame]
        if pieces.area[near_by].sum() < _PIECE * area * share:
            if len(others) == 0:
                if self.seen.cover[colour][frame][in_view].mean() < _PIECE:
                    self._note_missing(i, colour, frame)
                return None
            largest = pieces.area[others].argmax()  # it is elsewhere
            near_by, others = others[[largest]], np.delete(others, largest)
        if len(others):
            self._note("split", i, frame, f"there are {len(others) + 1} of {look}")
        weight = pieces.area[near_by]
        centre = (pieces.centre[near_by] * weight[:, None]).sum(0) / weight.sum()
        rows, columns = np.nonzero(in_view)
        middle = (np.array([columns.mean(), rows.mean()]) + 0.5) / self.seen.size - 0.5
        error = float(np.linalg.norm(centre - middle))
        self.errors.append(error)
        # Where two colours meet, a part of each is lost.
        if error > _MOTION_TOLERANCE * (1 if share > 0.95 and self._alone(i)[frame] else 1.5):
            self._note("motion", i, frame, f"{look} is {64 * error:.0f}/64 sides from its path")
        return centre

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
        margin = own - best
        wrong = (own > _SHAPE_TOLERANCE) | (margin > _SHAPE_MARGIN)
        if (margin > _STEADY_MARGIN).sum() >= _STEADY_FRAMES:
            wrong |= margin > _STEADY_MARGIN
        for frame in frames[wrong].tolist():
            self._note("shape", i, frame, f"{look} has another outline")

    def _alone(self, i: int) -> NDArray[np.bool_]:
        """The frames ``[T]`` in which no other object touches this one: where two do, colours mix."""
        places = self.guess.places
        apart = np.linalg.norm(np.delete(places, i, 1) - places[:, i : i + 1], axis=-1)
        return np.all(apart > 2.4 * self.guess.radius, axis=1)

    def _look_for_extra(self) -> None:
        """Objects of colours that the class does not have, except where one stands for an expected one."""
        wanted = {look.colour for look in self.one.looks}
        area = min(FULL[look.shape] for look in self.one.looks) * self.guess.radius**2
        for colour, pieces in zip(_COLOURS, self.seen.pieces, strict=True):
            if colour in wanted:
                continue
            for number in np.flatnonzero(pieces.area > 0.3 * area):
                frame = int(pieces.frame[number])
                patch = pieces.labels[frame] == number + 1
                if max(whole[frame][patch].mean() for whole in self.full) < 0.5:
                    self._note("extra", None, frame, f"something {colour.lower()} is there")

    def _check_backdrop(self) -> None:
        """Compare what no object covers with its median over time, the camera's motion undone."""
        frames, size = self.seen.frames, self.seen.size
        hidden = ndimage.maximum_filter(self.seen.cover.max(0) > 0.2, (1, 5, 5))
        hidden |= ndimage.maximum_filter(np.any(self.full, axis=0), (1, 5, 5))
        still = self.seen.bright
        if self.guess.camera.any():
            y = np.arange(size)[:, None] + self.guess.camera[:, 1, None, None] * size
            x = np.arange(size)[None, :] + self.guess.camera[:, 0, None, None] * size
            places = np.broadcast_arrays(np.arange(frames)[:, None, None], y, x)
            still = ndimage.map_coordinates(still, places, order=1)
            hidden = ndimage.map_coordinates(hidden.astype(np.float32), places, order=1, cval=1.0) > 0
        known = ~hidden & (hidden.mean(0) < 0.7)  # where the background is seen often enough to be known
        level = np.nanmedian(np.where(hidden & known.any(0), np.nan, still), axis=0)
        change = np.where(known, still - level, 0)
        change = np.abs(ndimage.gaussian_filter(change, (0, 1.5, 1.5)))
        wrong = (change > _BACKDROP_LEVELS).mean((1, 2)) > _BACKDROP_SHARE * known.mean((1, 2))
        for frame in np.flatnonzero(wrong).tolist():
            self._note("backdrop", None, frame, "the background is another")

    def _note(self, kind: Kind, i: int | None, frame: int, detail: str) -> None:
        frames = self.found[kind, i]
        if not frames or frames[-1] != frame:
            frames.append(frame)
        self.details.setdefault((kind, i), detail)

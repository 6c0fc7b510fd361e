"""The laws of motion of the objects set: how a clip's objects move, drawn at random and fitted to tracks.

Places are in units of the frame's side, its centre at 0, x to the right and y down; time is in seconds. All
objects of a clip have one radius, and none leaves the frame. Every law is symmetric under mirroring, so that
a mirrored clip obeys it too.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Random = np.random.Generator

PILLAR_WIDTH = 0.34  # of the pillar in the middle, behind which `Hide` hides an object
_REACH = 1.1  # radii from an object's centre to its farthest point
_FAR = 0.15  # an error of this much or more counts as this much when a law is fitted


class Law(ABC):
    """A law of motion; its parameters are one flat array, the same for drawing, placing and fitting."""

    counts: tuple[int, ...] = (1,)
    radii: tuple[float, float] = (0.12, 0.14)

    @abstractmethod
    def sample(self, speed: float, take: Random, radius: float, count: int) -> Array:
        """Sample parameters ``[P]`` for ``count`` objects; ``speed`` is 1 or near it."""

    @abstractmethod
    def place(self, params: Array, time: Array, radius: float) -> Array:
        """Where the objects are: ``[..., P]``, ``[T]`` to ``[..., T, count, 2]``."""

    @abstractmethod
    def fit(self, points: Array, weights: Array, time: Array, radius: float) -> Array:
        """Parameters ``[P]`` that explain most of ``points [T, count, 2]`` with ``weights [T, count]``.

        Errors beyond 0.15 count as 0.15, so that a few wrong points do not bend the fit.
        """


class Bounce(Law):
    """Every object flies straight at constant speed and is reflected by the frame's edges."""

    counts = (1, 2, 3)

    def sample(self, speed: float, take: Random, radius: float, count: int) -> Array:
        steep = take.uniform(0.45, 1.1, count)
        velocity = 0.65 * speed * np.stack([np.cos(steep), np.sin(steep)], -1)
        return np.concatenate([velocity, take.uniform(0, 1, (count, 2))], -1).ravel()

    def place(self, params: Array, time: Array, radius: float) -> Array:
        vx, vy, px, py = _split(params, 4)
        return np.stack([_zigzag(vx, px, time, _room(radius)), _zigzag(vy, py, time, _room(radius))], -1)

    def fit(self, points: Array, weights: Array, time: Array, radius: float) -> Array:
        found = []
        for i in range(points.shape[1]):
            fits = [
                _fit_zigzag(points[:, i, axis], weights[:, i], time, _room(radius), 0.2, 0.75)
                for axis in (0, 1)
            ]
            found += [fits[0][0], fits[1][0], fits[0][1], fits[1][1]]
        return np.array(found)


class Fall(Law):
    """Every object drifts to the side, falls with constant acceleration and bounces back from the floor."""

    counts = (1, 2)

    def sample(self, speed: float, take: Random, radius: float, count: int) -> Array:
        rows = [
            np.full(count, 1.8 * speed**2),
            take.uniform(0.42, 0.62, count),
            take.uniform(0, 1, count),
            speed * take.uniform(0.12, 0.3, count),
            take.uniform(0, 1, count),
        ]
        return np.stack(rows, -1).ravel()

    def place(self, params: Array, time: Array, radius: float) -> Array:
        g, height, py, vx, px = _split(params, 5)
        return np.stack([_zigzag(vx, px, time, _room(radius)), self._drop(g, height, py, time, radius)], -1)

    def fit(self, points: Array, weights: Array, time: Array, radius: float) -> Array:
        found: list[float] = []
        grids = [np.linspace(1.2, 2.6, 7), np.linspace(0.36, 0.68, 6), np.arange(24) / 24]
        for i in range(points.shape[1]):
            vx, px = _fit_zigzag(points[:, i, 0], weights[:, i], time, _room(radius), 0.05, 0.4)
            drop = _search(
                lambda p: self._drop(p[:, :1], p[:, 1:2], p[:, 2:], time[:, None], radius)[..., 0],
                grids,
                points[:, i, 1],
                weights[:, i],
            )
            found += [*drop, vx, px]
        return np.array(found)

    @staticmethod
    def _drop(g: Array, height: Array, phase: Array, time: Array, radius: float) -> Array:
        half = np.sqrt(2 * height / g)
        since = (_column(time) + phase[..., None, :] * 2 * half[..., None, :]) % (2 * half[..., None, :])
        above = height[..., None, :] - g[..., None, :] / 2 * (since - half[..., None, :]) ** 2
        return _room(radius) - above


class Orbit(Law):
    """One object circles the frame's centre, or two on opposite sides."""

    counts = (1, 2)

    def sample(self, speed: float, take: Random, radius: float, count: int) -> Array:
        turn = take.choice([-1.0, 1.0]) * 2 * np.pi * 0.62 * speed
        return np.array([take.uniform(0.23, 0.3), turn, take.uniform(0, 2 * np.pi), count])

    def place(self, params: Array, time: Array, radius: float) -> Array:
        size, turn, phase = (params[..., i, None] for i in range(3))
        angle = turn * time + phase
        one = np.stack([size * np.cos(angle), size * np.sin(angle)], -1)[..., None, :]
        return one if np.all(params[..., 3] == 1) else np.concatenate([one, -one], -2)

    def fit(self, points: Array, weights: Array, time: Array, radius: float) -> Array:
        count = points.shape[1]
        turn = 2 * np.pi * 0.62 * np.linspace(0.7, 1.3, 7)
        grids = [np.linspace(0.2, 0.33, 4), np.concatenate([-turn, turn]), np.arange(20) / 20 * 2 * np.pi]
        found = _search(
            lambda p: self.place(np.concatenate([p, np.full((len(p), 1), count)], 1), time, radius),
            grids,
            points,
            weights,
        )
        return np.array([*found, count])


class Swing(Law):
    """One object swings like a pendulum about a point above the frame's centre."""

    _length, _pivot = 0.6, -0.4

    def sample(self, speed: float, take: Random, radius: float, count: int) -> Array:
        side = take.uniform(-0.04, 0.04)
        turn = 2 * np.pi * 0.75 * speed
        return np.array([take.uniform(0.42, 0.52), turn, take.uniform(0, 2 * np.pi), side])

    def place(self, params: Array, time: Array, radius: float) -> Array:
        size, turn, phase, side = (params[..., i, None] for i in range(4))
        angle = size * np.sin(turn * time + phase)
        x, y = side + self._length * np.sin(angle), self._pivot + self._length * np.cos(angle)
        return np.stack([x, y], -1)[..., None, :]

    def fit(self, points: Array, weights: Array, time: Array, radius: float) -> Array:
        turn = 2 * np.pi * 0.75 * np.linspace(0.75, 1.25, 6)
        grids = [
            np.array([0.4, 0.47, 0.54]),
            turn,
            np.arange(20) / 20 * 2 * np.pi,
            np.array([-0.03, 0, 0.03]),
        ]
        return _search(lambda p: self.place(p, time, radius), grids, points, weights)


class Pass(Law):
    """Two objects run to and fro on rows that overlap; the first hides parts of the second."""

    counts = (2,)

    def sample(self, speed: float, take: Random, radius: float, count: int) -> Array:
        velocity, phase = 0.65 * speed * take.uniform(0.8, 1.2, 2), take.uniform(0, 1, 2)
        middle, apart = take.uniform(-0.2, 0.2), take.uniform(0.13, 0.17) * take.choice([-1.0, 1.0])
        return np.array([*velocity, *phase, middle + apart / 2, middle - apart / 2])

    def place(self, params: Array, time: Array, radius: float) -> Array:
        x = _zigzag(params[..., 0:2], params[..., 2:4], time, _room(radius))
        return np.stack([x, np.broadcast_to(params[..., None, 4:6], x.shape)], -1)

    def fit(self, points: Array, weights: Array, time: Array, radius: float) -> Array:
        fits = [_fit_zigzag(points[:, i, 0], weights[:, i], time, _room(radius), 0.35, 1.0) for i in (0, 1)]
        first, second = (_middle(points[:, i, 1], weights[:, i]) for i in (0, 1))
        apart = first - second
        apart = np.copysign(np.clip(abs(apart), 0.12, 0.18), apart)  # what tells it from `Collide`
        middle = (first + second) / 2
        rows = (middle + apart / 2, middle - apart / 2)
        return np.array([fits[0][0], fits[1][0], fits[0][1], fits[1][1], *rows])


class Collide(Law):
    """Two objects of equal mass on one row bounce off each other and off the frame's edges."""

    counts = (2,)
    radii = (0.11, 0.13)

    def sample(self, speed: float, take: Random, radius: float, count: int) -> Array:
        return np.array([0.5 * speed, *take.uniform(0, 1, 2), take.uniform(-0.25, 0.25), take.integers(2)])

    def place(self, params: Array, time: Array, radius: float) -> Array:
        # With the bodies shrunk to points, bouncing off each other is passing through and changing names.
        points = _zigzag(params[..., :1], params[..., 1:3], time, 0.5 - 2 * _REACH * radius)
        left, right = points.min(-1) - _REACH * radius, points.max(-1) + _REACH * radius
        swap = params[..., 4:5] > 0.5
        x = np.stack([np.where(swap, right, left), np.where(swap, left, right)], -1)
        return np.stack([x, np.broadcast_to(params[..., None, 3:4], x.shape)], -1)

    def fit(self, points: Array, weights: Array, time: Array, radius: float) -> Array:
        both = weights.min(1) > 0
        gap = points[both, 1, 0] - points[both, 0, 0]
        swap = float(len(gap) > 0 and np.median(gap) < 0)
        row = _middle(points[..., 1].ravel(), weights.ravel())

        def place(p: Array) -> Array:
            rest = np.broadcast_to(np.array([row, swap]), (len(p), 2))
            return self.place(np.concatenate([p, rest], 1), time, radius)[..., 0]

        grids = [np.linspace(0.36, 0.66, 6), np.arange(20) / 20, np.arange(20) / 20]
        return np.array([*_search(place, grids, points[..., 0], weights), row, swap])


class Hide(Law):
    """One object runs to and fro behind a pillar that stands in the middle and hides it whole."""

    radii = (0.115, 0.13)

    def sample(self, speed: float, take: Random, radius: float, count: int) -> Array:
        return np.array([0.7 * speed, take.uniform(0, 1), take.uniform(-0.3, 0.3)])

    def place(self, params: Array, time: Array, radius: float) -> Array:
        x = _zigzag(params[..., :1], params[..., 1:2], time, _room(radius))
        return np.stack([x, np.broadcast_to(params[..., None, 2:3], x.shape)], -1)

    def fit(self, points: Array, weights: Array, time: Array, radius: float) -> Array:
        speed, phase = _fit_zigzag(points[:, 0, 0], weights[:, 0], time, _room(radius), 0.5, 0.95)
        return np.array([speed, phase, _middle(points[:, 0, 1], weights[:, 0])])


class Pan(Law):
    """Three objects stand still in a world that the camera looks at while it sways along a line."""

    counts = (3,)
    radii = (0.105, 0.12)
    _turns = 2 * np.pi * 0.7 * np.linspace(0.75, 1.25, 11)

    def sample(self, speed: float, take: Random, radius: float, count: int) -> Array:
        heading, sway = take.uniform(0, 2 * np.pi), take.uniform(0.09, 0.11)
        room = _room(radius) - sway
        while True:
            spots = take.uniform(-room, room, (count, 2))
            apart = np.linalg.norm(spots[:, None] - spots[None], axis=-1) + 9 * np.eye(count)
            if apart.min() > 2 * _REACH * radius + 0.03:
                break
        phase = take.uniform(0, 2 * np.pi)
        way = sway * np.array([np.cos(heading), np.sin(heading)])
        waves = np.concatenate([way * np.cos(phase), way * np.sin(phase)])
        return np.concatenate([[2 * np.pi * 0.7 * speed], waves, spots.ravel()])

    def place(self, params: Array, time: Array, radius: float) -> Array:
        return self.camera(params, time)[..., None, :] + params[..., None, 5:].reshape(
            *params.shape[:-1], 1, -1, 2
        )

    def camera(self, params: Array, time: Array) -> Array:
        """How far the world is shifted in the frame: ``[..., T, 2]``."""
        angle = (params[..., :1] * time)[..., None]
        return np.sin(angle) * params[..., None, 1:3] + np.cos(angle) * params[..., None, 3:5]

    def fit(self, points: Array, weights: Array, time: Array, radius: float) -> Array:
        length, count = points.shape[:2]
        owner = np.broadcast_to(np.eye(count), (length, count, count)).reshape(-1, count)
        flat, base = points.reshape(-1, 2), weights.reshape(-1)
        best, least = np.zeros(5 + 2 * count), np.inf
        for turn in self._turns:
            waves = np.stack([np.sin(turn * time), np.cos(turn * time)], -1)
            design = np.concatenate([np.repeat(waves, count, 0), owner], 1)
            weight = base
            for _ in range(4):  # least squares, reweighted towards the least sum of distances
                root = np.sqrt(weight)[:, None]
                solved = np.linalg.lstsq(design * root, flat * root, rcond=None)[0]
                error = np.linalg.norm(design @ solved - flat, axis=1)
                weight = base / np.maximum(error, 0.004)
            cost = float((base * np.minimum(error, _FAR)).sum())
            if cost < least:
                best, least = np.concatenate([[turn], solved.ravel()]), cost
        return best


LAWS: dict[str, Law] = {
    "Bounce": Bounce(),
    "Fall": Fall(),
    "Orbit": Orbit(),
    "Swing": Swing(),
    "Pass": Pass(),
    "Collide": Collide(),
    "Hide": Hide(),
    "Pan": Pan(),
}


def _room(radius: float) -> float:
    """How far from the middle an object's centre may be."""
    return 0.5 - _REACH * radius


def _split(params: Array, size: int) -> tuple[Array, ...]:
    """``[..., count * size]`` to ``size`` arrays ``[..., count]``."""
    rows = params.reshape(*params.shape[:-1], -1, size)
    return tuple(rows[..., i] for i in range(size))


def _column(time: Array) -> Array:
    return time if time.ndim == 2 else time[:, None]


def _zigzag(speed: Array, phase: Array, time: Array, room: float) -> Array:
    """To and fro between -room and room: speeds and phases (in periods) ``[..., n]`` to ``[..., T, n]``."""
    way = (speed[..., None, :] * _column(time) + phase[..., None, :] * 4 * room) % (4 * room)
    return np.abs(way - 2 * room) - room


def _fit_zigzag(
    track: Array, weights: Array, time: Array, room: float, slowest: float, fastest: float
) -> tuple[float, float]:
    grids = [np.linspace(slowest, fastest, 12), np.arange(40) / 40]
    found = _search(lambda p: _zigzag(p[:, :1], p[:, 1:], time, room)[..., 0], grids, track, weights)
    return float(found[0]), float(found[1])


def _middle(values: Array, weights: Array) -> float:
    """The weighted median; 0 where nothing has weight."""
    kept = values[weights > 0]
    return float(np.median(kept)) if len(kept) else 0.0


def _search(
    model: Callable[[Array], Array], grids: Sequence[Array], observed: Array, weights: Array
) -> Array:
    """The parameters of least cost: a grid, then ever finer ones around its best point.

    Args:
        model: ``[G, P]`` to ``[G, *observed.shape]``.
        grids: a parameter's values each, evenly spaced.
        observed: ``[T, ...]``; not read where the weight is 0.
        weights: of the shape of ``observed``, or of all but its last axis.
    """
    weight = weights if weights.ndim == observed.ndim else weights[..., None]
    weight = np.broadcast_to(weight, observed.shape)
    use = weight > 0
    target, factor = observed[use], weight[use]

    def best(candidates: Array) -> Array:
        errors = np.minimum(np.abs(model(candidates)[:, use] - target), _FAR)
        return candidates[int(np.argmin(errors @ factor))]

    found = best(np.stack(np.meshgrid(*grids, indexing="ij"), -1).reshape(-1, len(grids)))
    steps = np.array([abs(grid[1] - grid[0]) for grid in grids])
    offsets = np.stack(np.meshgrid(*[np.linspace(-1, 1, 5)] * len(grids), indexing="ij"), -1)
    for _ in range(7):
        found = best(found + offsets.reshape(-1, len(grids)) * steps)
        steps = steps / 2
    return found

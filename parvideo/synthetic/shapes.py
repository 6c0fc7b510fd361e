"""The shapes set: drawn clips of coloured shapes in motion, written as video files in UCF-101's own layout.

A class is a shape, a colour and a motion (``RedSquareRight``); the background pans, so that repeating the
first frame predicts nothing well. The clips of a group share its scene: background, size and speed.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from parvideo.files import AnyPath
from parvideo.synthetic.folder import (
    SyntheticSettings,
    SyntheticVideo,
    check_ranges,
    write_folder,
)
from parvideo.synthetic.outlines import SHAPES, Array, shape_distance

__all__ = ["ShapesSettings", "SyntheticVideo", "render_shapes_clip", "write_shapes_data"]

_MOTIONS = ("Right", "Left", "Up", "Down", "Orbit", "Spin", "Pulse", "Swing")
_COLOURS = {
    "Red": (235, 40, 35),
    "Green": (40, 215, 60),
    "Blue": (50, 90, 255),
    "Yellow": (250, 225, 40),
    "Magenta": (240, 60, 225),
    "Cyan": (50, 225, 235),
    "Orange": (255, 140, 20),
    "White": (245, 245, 245),
}
MAX_CLASSES = len(SHAPES) * len(_MOTIONS) * len(_COLOURS)


@dataclass(frozen=True)
class ShapesSettings(SyntheticSettings):
    """Everything that fixes a shapes set, frame for frame; what every set has is in `SyntheticSettings`.

    The first eight classes differ in shape, motion and colour at once.

    Attributes:
        height, width: pixels, even, 16 or more.
    """

    MOST_CLASSES = MAX_CLASSES

    num_classes: int = 8
    groups: int = 8
    clips_per_group: int = 6
    frames: int = 40
    fps: float = 25.0
    seed: int = 0
    height: int = 48
    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, {"height": (16, 4096), "width": (16, 4096)})
        if self.height % 2 or self.width % 2:
            raise ValueError(f"height is {self.height} and width {self.width}; MPEG-4 needs even numbers")

    @property
    def class_names(self) -> list[str]:
        """Names in label order."""
        return [f"{c}{s}{m}" for s, m, c in map(_class_parts, range(self.num_classes))]


def write_shapes_data(out: AnyPath, settings: ShapesSettings, show_progress: bool = False) -> None:
    """Write a shapes set as MPEG-4 AVI files and lists in UCF-101's layout; what is there already is kept.

    Every file appears whole or not at all, so an interrupted call is completed by the next one.

    Args:
        out: the root: class folders, ``ucfTrainTestlist/`` and ``toy_data.json`` (the settings).
        settings: what to write.
        show_progress: show a progress bar.

    Raises:
        ValueError: if ``out`` holds a shapes set with other settings, or other files.
    """
    recorded = asdict(settings)
    write_folder(out, settings, lambda video: render_shapes_clip(settings, video), recorded, show_progress)


def render_shapes_clip(settings: ShapesSettings, video: SyntheticVideo) -> Tensor:
    """Render one clip, the same bit for bit for the same settings: uint8 ``[frames, height, width, 3]``."""
    scene = np.random.default_rng([settings.seed, video.label, video.group])
    take = np.random.default_rng([settings.seed, video.label, video.group, video.clip])
    shape, motion, colour = _class_parts(video.label)
    side = min(settings.height, settings.width)
    # Pixel centres in units of the short side, the frame's centre at 0; y points down.
    x = ((np.arange(settings.width) + 0.5 - settings.width / 2) / side).astype(np.float32)[None, None, :]
    y = ((np.arange(settings.height) + 0.5 - settings.height / 2) / side).astype(np.float32)[None, :, None]
    time = (np.arange(settings.frames) / settings.fps).astype(np.float32)[:, None, None]

    picture = _background(x, y, time + take.uniform(0, 20), scene)
    speed, radius = scene.uniform(0.85, 1.15), scene.uniform(0.2, 0.25)
    place = take.uniform(-0.15, 0.15, 2)
    centre_x, centre_y, angle, size = _move(motion, speed * time, take.uniform(0, 1), place)
    extent = radius * size
    # Wrapped at the short side: what leaves the central square on one side comes in on the other.
    dx, dy = _wrap(x - centre_x), _wrap(y - centre_y)
    along, across = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    u, v = along / extent, across / extent
    pixel = side * extent  # distances below are in radii; one pixel is softened
    cover = np.clip(0.5 - shape_distance(shape, u, v) * pixel, 0, 1)[..., None]
    spot = np.clip(0.5 - (np.hypot(u - 0.5, v) - 0.24) * pixel, 0, 1)[..., None]  # shows how it is turned
    paint = np.array(_COLOURS[colour], np.float32) * (1 - 0.8 * spot)
    picture += cover * (paint - picture)
    return torch.from_numpy(np.rint(picture).astype(np.uint8))


def _class_parts(label: int) -> tuple[str, str, str]:
    """Shape, motion, colour; all 512 are different, and eight neighbours share none."""
    row, turn = label % 8, label // 8
    colours = list(_COLOURS)
    return SHAPES[row], _MOTIONS[(row + turn + turn // 8) % 8], colours[(row + turn) % 8]


def _background(x: Array, y: Array, time: Array, scene: np.random.Generator) -> Array:
    """Four waves of dull colour that pan at a constant velocity: ``[T, H, W, 3]`` in 0..255."""
    heading, speed = scene.uniform(0, 2 * np.pi), scene.uniform(0.25, 0.45)
    x, y = x - speed * np.cos(heading) * time, y - speed * np.sin(heading) * time
    base = scene.uniform(60, 110, 3)
    picture = np.broadcast_to(base.astype(np.float32), (*np.broadcast_shapes(x.shape, y.shape), 3)).copy()
    for _ in range(4):
        direction, frequency = scene.uniform(0, 2 * np.pi), scene.uniform(0.8, 2.0)
        fx, fy = frequency * np.cos(direction), frequency * np.sin(direction)
        wave = np.sin(2 * np.pi * (fx * x + fy * y) + scene.uniform(0, 2 * np.pi))
        grey, tint = scene.uniform(10, 16), scene.uniform(-5, 5, 3)
        picture += wave[..., None] * (grey + tint).astype(np.float32)
    return np.clip(picture, 0, 255)


def _move(motion: str, time: Array, phase: float, place: Array) -> tuple[Array, Array, Array, Array]:
    """Centre x and y, angle and relative size over time (seconds at speed 1), each ``[T, 1, 1]``."""
    still = np.zeros_like(time)
    x, y = still + np.float32(place[0]), still + np.float32(place[1])
    turn = 2 * np.pi * (0.8 * time + phase)
    angle, size = still, still + 1
    if motion in ("Right", "Left"):
        x = (0.7 if motion == "Right" else -0.7) * time + phase
    elif motion in ("Up", "Down"):
        y = (0.7 if motion == "Down" else -0.7) * time + phase
    elif motion == "Orbit":
        x, y = 0.25 * np.cos(turn), 0.25 * np.sin(turn)
    elif motion == "Spin":
        angle = turn
    elif motion == "Pulse":
        size = 1.15 + 0.6 * np.sin(turn)
    else:
        assert motion == "Swing"
        x = 0.27 * np.sin(2 * turn)
    return x, y, angle, size


def _wrap(distance: Array) -> Array:
    return (distance + 0.5) % 1.0 - 0.5

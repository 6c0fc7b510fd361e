"""The objects set: drawn clips in which everything is known, harder than the demo's and made to be read back.

A class is a law of motion and the looks of one to three objects (``PassGreenSquareYellowDisc``): shape,
colour and texture. No colour occurs twice in a clip. Objects hide each other and hide behind a pillar, bounce
off the edges and off each other, fall, and the camera sways. The clips of a group share their scene: the
background, the objects' size and the speed. `parvideo.synthetic.reader` recovers all this from pixels.

No class changes under mirroring, so training may flip clips.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parvideo.files import AnyPath, read_json
from parvideo.synthetic.folder import (
    SETTINGS,
    SyntheticSettings,
    SyntheticVideo,
    check_ranges,
    write_folder,
)
from parvideo.synthetic.motion import LAWS, PILLAR_WIDTH, Law, Pan
from parvideo.synthetic.outlines import Array, shape_distance

CHROMA = 62.0  # distance from grey of every colour, in the (Cb, Cr) plane of BT.601, in levels
_TO_RGB = np.array([[1, 0, 1.402], [1, -0.344, -0.714], [1, 1.772, 0]])  # from (Y, Cb, Cr)
_STRIPE_LEVELS, _STRIPE_WIDTH = 28.0, 0.5  # amplitude in levels of Y; width of a stripe in radii
# The angle of a colour in the (Cb, Cr) plane, in degrees, and its brightness.
COLOURS = {
    "Blue": (0, 115),
    "Pink": (60, 130),
    "Red": (120, 115),
    "Yellow": (180, 165),
    "Green": (240, 120),
    "Cyan": (300, 135),
}


@dataclass(frozen=True)
class Look:
    """What an object looks like: a shape of ``SHAPES``, a colour of ``COLOURS``, striped or plain."""

    shape: str
    colour: str
    striped: bool = False

    def __str__(self) -> str:
        return f"{self.colour}{'Striped' if self.striped else ''}{self.shape}"


@dataclass(frozen=True)
class ObjectsClass:
    """A law of motion, by its name in ``LAWS``, and the looks of the objects that obey it, foremost first."""

    motion: str
    looks: tuple[Look, ...]

    @property
    def name(self) -> str:
        """Such as ``PassGreenSquareYellowDisc``."""
        return self.motion + "".join(map(str, self.looks))

    @property
    def law(self) -> Law:
        """The law of motion itself."""
        return LAWS[self.motion]


def _objects_class(motion: str, *looks: str) -> ObjectsClass:
    parts = [look.split() for look in looks]
    return ObjectsClass(motion, tuple(Look(part[-1], part[0], "Striped" in part) for part in parts))


# The first eight are one of each law. Most colours and pairs of colours occur under several laws, and some
# classes differ in shape or texture alone: none is known by its colours.
CLASSES = (
    _objects_class("Bounce", "Red Disc"),
    _objects_class("Fall", "Yellow Triangle"),
    _objects_class("Orbit", "Blue Square"),
    _objects_class("Swing", "Cyan Disc"),
    _objects_class("Pass", "Green Square", "Yellow Disc"),
    _objects_class("Collide", "Blue Disc", "Red Disc"),
    _objects_class("Hide", "Green Square"),
    _objects_class("Pan", "Red Disc", "Green Square", "Blue Triangle"),
    _objects_class("Bounce", "Red Cross"),
    _objects_class("Fall", "Red Disc"),
    _objects_class("Orbit", "Yellow Disc"),
    _objects_class("Swing", "Red Cross"),
    _objects_class("Pass", "Cyan Triangle", "Pink Square"),
    _objects_class("Collide", "Green Square", "Yellow Disc"),
    _objects_class("Hide", "Yellow Triangle"),
    _objects_class("Pan", "Yellow Cross", "Cyan Ring", "Pink Disc"),
    _objects_class("Bounce", "Blue Square"),
    _objects_class("Bounce", "Blue Striped Square"),
    _objects_class("Bounce", "Green Ring", "Pink Square"),
    _objects_class("Bounce", "Red Disc", "Green Square", "Blue Triangle"),
    _objects_class("Fall", "Cyan Square", "Pink Disc"),
    _objects_class("Orbit", "Blue Disc", "Red Disc"),
    _objects_class("Swing", "Pink Striped Disc"),
    _objects_class("Hide", "Blue Striped Square"),
)


@dataclass(frozen=True)
class ObjectsSettings(SyntheticSettings):
    """Everything that fixes an objects set, frame for frame; what every set has is in `SyntheticSettings`.

    The first eight classes have a law of motion each, which is made for clips of 17 frames at 16 a second.

    Attributes:
        size: pixels, the side of the square frame, even, 32 or more.
        contrast: of the background's blotches, 0 to 1; 0 is a plain background, which is easier to learn.
    """

    MOST_CLASSES = len(CLASSES)

    num_classes: int = len(CLASSES)
    groups: int = 16
    clips_per_group: int = 8
    frames: int = 33
    fps: float = 16.0
    seed: int = 0
    size: int = 64
    contrast: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, {"size": (32, 4096), "contrast": (0, 1)})
        if self.size % 2:
            raise ValueError(f"size is {self.size}; MPEG-4 needs an even number")

    @property
    def class_names(self) -> list[str]:
        """Names in label order."""
        return [one.name for one in CLASSES[: self.num_classes]]


@dataclass(frozen=True)
class Actor:
    """An object of a scene: its look, its places ``[T, 2]`` in sides, and the frames ``[T]`` it is there."""

    look: Look
    track: Array
    there: NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """All that is drawn in a clip.

    Attributes:
        actors: foremost first.
        radius: of every actor, in sides.
        pillar: whether the pillar stands in front of them.
        camera: how far the background is shifted, ``[T, 2]`` in sides.
        backdrop: parameters of the background.
        contrast: of its blotches.
    """

    actors: tuple[Actor, ...]
    radius: float
    pillar: bool
    camera: Array
    backdrop: Array
    contrast: float


def write_objects_data(out: AnyPath, settings: ObjectsSettings, show_progress: bool = False) -> None:
    """Write an objects set as MPEG-4 AVI files and lists in UCF-101's layout; what is there already is kept.

    Every file appears whole or not at all, so an interrupted call is completed by the next one.

    Args:
        out: the root: class folders, ``ucfTrainTestlist/`` and ``toy_data.json`` (the settings).
        settings: what to write.
        show_progress: show a progress bar.

    Raises:
        ValueError: if ``out`` holds a synthetic set with other settings, or other files.
    """
    recorded = {"preset": "bench", **asdict(settings)}
    write_folder(out, settings, lambda video: render_objects_clip(settings, video), recorded, show_progress)


def read_objects_settings(root: AnyPath) -> ObjectsSettings:
    """The settings of the objects set that was written to ``root``.

    Raises:
        FileNotFoundError: if there is no ``toy_data.json``.
        ValueError: if it is not that of an objects set.
    """
    root = Path(root)
    held = read_json(root / SETTINGS)
    known = {field.name for field in fields(ObjectsSettings)}
    if not isinstance(held, dict) or held.get("preset") != "bench" or set(held) != {"preset", *known}:
        raise ValueError(
            f"{root / SETTINGS} is not of an objects set; write one by `parvideo toy-data --preset bench`"
        )
    return ObjectsSettings(**{name: held[name] for name in known})


def render_objects_clip(settings: ObjectsSettings, video: SyntheticVideo) -> Tensor:
    """Render one clip, the same bit for bit for the same settings: uint8 ``[frames, size, size, 3]``."""
    return render(objects_scene(settings, video), settings.size)


def objects_scene(settings: ObjectsSettings, video: SyntheticVideo) -> Scene:
    """What a video shows, exactly."""
    shared = np.random.default_rng([settings.seed, video.label, video.group])
    take = np.random.default_rng([settings.seed, video.label, video.group, video.clip])
    one = CLASSES[video.label]
    law, count = one.law, len(one.looks)
    radius, speed = float(shared.uniform(*law.radii)), float(shared.uniform(0.85, 1.15))
    backdrop = np.concatenate(
        [shared.uniform(60, 105, 1), shared.uniform(-5, 5, 2), shared.uniform(0, 1, 12)]
    )
    params = law.sample(speed, take, radius, count)
    time = np.arange(settings.frames) / settings.fps
    places = law.place(params, time, radius)
    camera = law.camera(params, time) if isinstance(law, Pan) else np.zeros((len(time), 2))
    there = np.ones(len(time), bool)
    actors = tuple(Actor(look, places[:, i], there) for i, look in enumerate(one.looks))
    return Scene(actors, radius, one.motion == "Hide", camera, backdrop, settings.contrast)


def render(scene: Scene, size: int) -> Tensor:
    """Render a scene: uint8 ``[T, size, size, 3]``."""
    axis = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    x, y = axis[None, None, :], axis[None, :, None]
    picture = _backdrop(scene, x, y)
    for actor in reversed(scene.actors):
        cover = object_cover(actor.look.shape, scene.radius, actor.track, size) * actor.there[:, None, None]
        v = (y - actor.track[:, 1, None, None]) / scene.radius
        picture += cover[..., None] * (paint(actor.look, v) - picture)
    if scene.pillar:
        front = pillar_cover(size)[:, None]
        shade = 178 + 22 * np.cos(x[0, 0] / PILLAR_WIDTH * 2 * np.pi)
        picture += front * (np.stack([shade, 0 * shade, 0 * shade], -1) - picture)
    return torch.from_numpy(np.rint(np.clip(picture @ _TO_RGB.T, 0, 255)).astype(np.uint8))


def object_cover(shape: str, radius: float, track: Array, size: int) -> Array:
    """How much of each pixel an object covers, 0 to 1: ``track [T, 2]`` to ``[T, size, size]``."""
    axis = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    u = (axis[None, None, :] - track[:, 0, None, None]) / radius
    v = (axis[None, :, None] - track[:, 1, None, None]) / radius
    return np.clip(0.5 - shape_distance(shape, u, v) * radius * size, 0, 1)


def pillar_cover(size: int) -> Array:
    """How much of each column the pillar covers, 0 to 1: ``[size]``."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    return np.clip(0.5 - (np.abs(axis) - PILLAR_WIDTH / 2) * size, 0, 1)


def paint(look: Look, v: Array) -> Array:
    """(Y, Cb, Cr) of an object at ``v`` radii below its centre: ``[...]`` to ``[..., 3]``."""
    angle, bright = COLOURS[look.colour]
    level = bright + (stripes(v) * _STRIPE_LEVELS if look.striped else 0 * v)
    cb, cr = CHROMA * np.cos(np.radians(angle)), CHROMA * np.sin(np.radians(angle))
    return np.stack([level, 0 * level + cb, 0 * level + cr], -1)


def stripes(v: Array) -> Array:
    """The stripes of a striped object: -1 to 1, at ``v`` radii below its centre."""
    return np.clip(3 * np.cos(np.pi * v / _STRIPE_WIDTH), -1, 1)


def _backdrop(scene: Scene, x: Array, y: Array) -> Array:
    """Blotches of dull grey, in (Y, Cb, Cr): ``[T, H, W, 3]``."""
    (base, cb, cr), waves = scene.backdrop[:3], scene.backdrop[3:].reshape(4, 3)
    dx, dy = x - scene.camera[:, 0, None, None], y - scene.camera[:, 1, None, None]
    total = np.zeros(np.broadcast_shapes(dx.shape, dy.shape))
    for heading, frequency, phase in waves:
        fx, fy = np.cos(np.pi * heading), np.sin(np.pi * heading)
        total += np.sin(2 * np.pi * ((0.8 + 1.4 * frequency) * (fx * dx + fy * dy) + phase))
    blotch = scene.contrast * np.tanh(1.2 * total)
    return np.stack([base + 24 * blotch, cb * blotch, cr * blotch], -1)

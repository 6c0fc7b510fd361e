"""Damaged clips of the objects set: what a generator may get wrong, drawn on purpose to try the reader on.

Damages begin half way through the clip, except "regions", "shuffle" and "unhide", which are of all of it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parvideo.synthetic.folder import SyntheticVideo
from parvideo.synthetic.objects import (
    CLASSES,
    COLOURS,
    Actor,
    ObjectsSettings,
    Scene,
    object_cover,
    objects_scene,
    render,
    render_objects_clip,
)
from parvideo.synthetic.outlines import Array

Random = np.random.Generator
Flags = NDArray[np.bool_]
_Edit = Callable[[Scene, Actor, Flags, Random], tuple[Actor, ...]]

# With the kinds of violation (`parvideo.synthetic.reader.Violation`) that name each rightly.
DAMAGES: dict[str, tuple[str, ...]] = {
    "regions": ("split", "vanish", "shape", "motion"),  # each quarter of the frame from another clip
    "duplicate": ("split",),  # an object comes twice
    "remove": ("vanish",),
    "recolour": ("colour",),
    "reshape": ("shape",),
    "jump": ("motion",),  # an object moves on from another place
    "freeze": ("motion",),  # an object stands still
    "shuffle": ("motion",),  # the frames come in another order
    "backdrop": ("backdrop",),  # the background becomes another
    "unhide": ("occlusion",),  # an object passes in front of the pillar (classes `Hide...` only)
}


def damage_clip(settings: ObjectsSettings, video: SyntheticVideo, damage: str, seed: int = 0) -> Tensor:
    """Render a video's clip with one kind of damage: uint8 ``[frames, size, size, 3]``.

    Args:
        settings: of the set.
        video: whose clip.
        damage: one of ``DAMAGES``.
        seed: of the choices that the damage leaves, such as which object.

    Raises:
        ValueError: on an unknown damage, or "unhide" for a class without the pillar.
    """
    if damage not in DAMAGES:
        raise ValueError(f"damage is {damage!r}; it must be one of {', '.join(DAMAGES)}")
    random = np.random.default_rng([seed, video.label, video.group, video.clip, list(DAMAGES).index(damage)])
    if damage == "regions":
        return _regions(settings, video, random)
    if damage == "shuffle":
        order = torch.from_numpy(random.permutation(settings.frames))
        return render_objects_clip(settings, video)[order]
    scene = objects_scene(settings, video)
    late = np.arange(settings.frames) >= settings.frames // 2
    if damage == "unhide":
        if not scene.pillar:
            raise ValueError(f"damage is 'unhide' and {CLASSES[video.label].name} has no pillar")
        return _unhide(scene, settings.size)
    if damage == "backdrop":
        other = objects_scene(settings, replace(video, group=video.group + 1)).backdrop
        changed = render(replace(scene, backdrop=other), settings.size)
        return torch.where(torch.from_numpy(late)[:, None, None, None], changed, render(scene, settings.size))
    edits: dict[str, _Edit] = {
        "duplicate": _duplicate,
        "remove": _remove,
        "recolour": _recolour,
        "reshape": _reshape,
        "jump": _jump,
        "freeze": _freeze,
    }
    chosen = int(random.integers(len(scene.actors)))
    actors = (
        *scene.actors[:chosen],
        *edits[damage](scene, scene.actors[chosen], late, random),
        *scene.actors[chosen + 1 :],
    )
    return render(replace(scene, actors=actors), settings.size)


def _regions(settings: ObjectsSettings, video: SyntheticVideo, random: Random) -> Tensor:
    """Four clips of the class, a quarter of the frame from each."""
    half = settings.size // 2
    clip = render_objects_clip(settings, video)
    for top, left in ((0, half), (half, 0), (half, half)):
        other = SyntheticVideo(video.label, int(random.integers(100, 10_000)), int(random.integers(1, 100)))
        drawn = render_objects_clip(settings, other)
        clip[:, top : top + half, left : left + half] = drawn[:, top : top + half, left : left + half]
    return clip


def _unhide(scene: Scene, size: int) -> Tensor:
    actor = scene.actors[0]
    front = object_cover(actor.look.shape, scene.radius, actor.track, size) > 0.5
    bare = render(replace(scene, pillar=False), size)
    return torch.where(torch.from_numpy(front)[..., None], bare, render(scene, size))


def _duplicate(scene: Scene, actor: Actor, late: Flags, random: Random) -> tuple[Actor, ...]:
    return actor, replace(actor, track=_elsewhere(scene, actor, random), there=late)


def _remove(scene: Scene, actor: Actor, late: Flags, random: Random) -> tuple[Actor, ...]:
    return (replace(actor, there=~late),)


def _recolour(scene: Scene, actor: Actor, late: Flags, random: Random) -> tuple[Actor, ...]:
    used = {one.look.colour for one in scene.actors}
    colour = str(random.choice([one for one in COLOURS if one not in used]))
    return (
        replace(actor, there=~late),
        replace(actor, look=replace(actor.look, colour=colour), there=late),
    )


def _reshape(scene: Scene, actor: Actor, late: Flags, random: Random) -> tuple[Actor, ...]:
    shapes = ("Disc", "Square", "Triangle", "Cross", "Ring")
    shape = str(random.choice([one for one in shapes if one != actor.look.shape]))
    return replace(actor, there=~late), replace(actor, look=replace(actor.look, shape=shape), there=late)


def _jump(scene: Scene, actor: Actor, late: Flags, random: Random) -> tuple[Actor, ...]:
    return (replace(actor, track=np.where(late[:, None], _elsewhere(scene, actor, random), actor.track)),)


def _freeze(scene: Scene, actor: Actor, late: Flags, random: Random) -> tuple[Actor, ...]:
    return (replace(actor, track=np.where(late[:, None], actor.track[late.argmax()], actor.track)),)


def _elsewhere(scene: Scene, actor: Actor, random: Random) -> Array:
    """The actor's track moved to another place in the frame by a quarter of its side or more."""
    room = 0.5 - 1.1 * scene.radius
    low, high = -room - actor.track.min(0), room - actor.track.max(0)
    for _ in range(100):
        shift = random.uniform(np.minimum(low, high), np.maximum(low, high))
        if np.linalg.norm(shift) > 0.25:
            return actor.track + shift
    return np.clip(actor.track + np.copysign(0.3, -actor.track[-1]), -room, room)

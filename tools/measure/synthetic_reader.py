"""Validate the reader of clips of the objects set: on a set's own files, and on clips damaged on purpose.

    parvideo toy-data --preset bench --out bench
    python -m tools.measure.synthetic_reader bench

prints for each kind of clip how many were read as their class, how many show a violation, and which. Every
clip has been through MPEG-4 in AVI, as the set's files have.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from scipy import ndimage
from torch import Tensor

from parvideo.datasets.clips import ClipDataset
from parvideo.datasets.reading import read_frames
from parvideo.datasets.transforms import flip_horizontally
from parvideo.datasets.videos import load_videos
from parvideo.datasets.writing import write_avi
from parvideo.files import write_json
from parvideo.progress import Progress
from parvideo.synthetic.corruptions import DAMAGES, damage_clip
from parvideo.synthetic.folder import SyntheticVideo
from parvideo.synthetic.objects import CLASSES, ObjectsSettings, read_objects_settings
from parvideo.synthetic.reader import Reading, analyse_clip, violation_rate

FRAMES = 17


@dataclass(frozen=True)
class Row:
    """What was read from clips of one kind.

    Attributes:
        name: of the kind of clips.
        clips: how many.
        class_read: share read as their class.
        violations: share with a violation.
        named: share with a violation of a kind that is right for the damage; None for undamaged clips.
        motion_error: median distance of the objects from their law of motion, in 1/64 of the frame's side.
        kinds: clips by the kinds of violation they show.
    """

    name: str
    clips: int
    class_read: float
    violations: float
    named: float | None
    motion_error: float
    kinds: dict[str, int]


def main(root: Path, clips: int = 480, seed: int = 0, json: Path | None = None) -> None:
    """Read an objects set's clips, undamaged, disturbed and damaged, and print what was found.

    Args:
        root: folder written by `parvideo toy-data --preset bench`.
        clips: clips of each kind.
        seed: of the places where clips are cut and of the damages.
        json: file to write the figures to as well.
    """
    settings = read_objects_settings(root)
    rows = validate(root, settings, clips, seed)
    print(table(rows))
    if json is not None:
        write_json(json, {"settings": asdict(settings), "seed": seed, "rows": [asdict(row) for row in rows]})


def validate(root: Path, settings: ObjectsSettings, clips: int, seed: int) -> list[Row]:
    """Read ``clips`` clips of each kind; see `main`."""
    own = settings.size
    files = [
        ("files", own, _same),
        (f"files at {own // 2} pixels", own // 2, _same),
        (f"files at {own * 2} pixels", own * 2, _same),
        *((f"files, {name}", own, change) for name, change in DISTURBANCES.items()),
    ]
    plan: list[tuple[str, Iterator[tuple[Tensor, int]], tuple[str, ...]]] = [
        (name, file_clips(root, settings, size, change, clips, seed), ()) for name, size, change in files
    ]
    plan += [
        (name, damaged_clips(settings, name, clips, seed), right)
        for name, right in DAMAGES.items()
        if name != "unhide" or any(one.motion == "Hide" for one in CLASSES[: settings.num_classes])
    ]
    with Progress(title="reading", unit="clip", total=clips * len(plan)) as bar:
        return [measure(name, settings, _counted(items, bar), right) for name, items, right in plan]


def file_clips(
    root: Path,
    settings: ObjectsSettings,
    size: int,
    change: Callable[[Tensor, np.random.Generator], Tensor],
    clips: int,
    seed: int,
) -> Iterator[tuple[Tensor, int]]:
    """Clips of the set's test files, cut and resized as for training, with their labels."""
    dataset = ClipDataset(load_videos(root, "test"), FRAMES, size, fps=settings.fps, seed=seed)
    for number in range(clips):
        epoch, index = divmod(number, len(dataset))
        # Through the classes in turn, so that any number of clips is of all of them.
        per_class = len(dataset) // settings.num_classes
        label, place = index % settings.num_classes, index // settings.num_classes
        item = dataset.clip_at(epoch, min(label * per_class + place, len(dataset) - 1))
        yield change(item["clip"], np.random.default_rng([seed, number])), item["label"]


def damaged_clips(
    settings: ObjectsSettings, damage: str, clips: int, seed: int
) -> Iterator[tuple[Tensor, int]]:
    """Clips of scenes that are not in the set, with one kind of damage, and their labels."""
    labels = list(range(settings.num_classes))
    if damage == "unhide":
        labels = [label for label in labels if CLASSES[label].motion == "Hide"]
    short = replace(settings, frames=FRAMES)
    for number in range(clips):
        video = SyntheticVideo(labels[number % len(labels)], 100 + number // len(labels), 1)
        yield through_file(damage_clip(short, video, damage, seed), settings.fps), video.label


def through_file(clip: Tensor, fps: float) -> Tensor:
    """Write a clip uint8 ``[T, H, W, 3]`` as MPEG-4 and read it back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.avi"
        write_avi(path, clip, fps)
        return read_frames(path, range(len(clip)))


def measure(
    name: str, settings: ObjectsSettings, items: Iterable[tuple[Tensor, int]], right: tuple[str, ...] = ()
) -> Row:
    """Read clips and count; ``right`` are the kinds of violation that name the damage."""
    readings: list[Reading] = []
    labels: list[int] = []
    for clip, label in items:
        readings.append(analyse_clip(clip, settings.fps, settings.num_classes))
        labels.append(label)
    shown = [{violation.kind for violation in reading.violations} for reading in readings]
    kinds = Counter(kind for one in shown for kind in one)
    hits = sum(reading.label == label for reading, label in zip(readings, labels, strict=True))
    return Row(
        name,
        len(readings),
        hits / len(readings),
        violation_rate(readings),
        sum(bool(one.intersection(right)) for one in shown) / len(readings) if right else None,
        float(np.median([reading.motion_error for reading in readings])),
        dict(kinds.most_common()),
    )


def table(rows: list[Row]) -> str:
    """The rows as text."""
    head = f"{'clips':<32}{'number':>7}{'class':>9}{'violation':>11}{'named':>9}{'error':>7}  kinds"
    lines = [head]
    for row in rows:
        named = "" if row.named is None else f"{row.named:.1%}"
        kinds = ", ".join(f"{kind} {count}" for kind, count in row.kinds.items())
        lines.append(
            f"{row.name:<32}{row.clips:>7}{row.class_read:>9.1%}{row.violations:>11.1%}{named:>9}"
            f"{row.motion_error:>7.2f}  {kinds}"
        )
    return "\n".join(lines)


def _counted(items: Iterable[tuple[Tensor, int]], bar: Progress) -> Iterator[tuple[Tensor, int]]:
    for item in items:
        yield item
        bar.update()


def _same(clip: Tensor, random: np.random.Generator) -> Tensor:
    return clip


def _mirror(clip: Tensor, random: np.random.Generator) -> Tensor:
    return flip_horizontally(clip)


def _blur(clip: Tensor, random: np.random.Generator) -> Tensor:
    """Blur by 1.2 pixels and half a frame, and add blotches of 8 levels: a worse tokenizer than most."""
    blurred = ndimage.gaussian_filter(clip.numpy().astype(np.float32), (0.5, 1.2, 1.2, 0))
    blotches = ndimage.gaussian_filter(random.normal(size=clip.shape).astype(np.float32), (0, 1, 1, 0))
    return _levels(blurred + blotches * (8 / blotches.std()))


def _noise(clip: Tensor, random: np.random.Generator) -> Tensor:
    return _levels(clip.numpy() + random.normal(0, 12, clip.shape))


def _fade(clip: Tensor, random: np.random.Generator) -> Tensor:
    """Take a fifth of the colour away."""
    levels = clip.numpy().astype(np.float32)
    return _levels(0.8 * levels + 0.2 * levels.mean(-1, keepdims=True))


def _levels(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.rint(np.clip(values, 0, 255)).astype(np.uint8))


DISTURBANCES: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    "mirrored": _mirror,
    "noise of 12 levels": _noise,
    "blurred and blotched": _blur,
    "a fifth less colour": _fade,
}


if __name__ == "__main__":
    auto_cli(main, prog="python -m tools.measure.synthetic_reader")

"""`parvideo toy-data`: write a synthetic set of video files in UCF-101's layout."""

from pathlib import Path
from typing import Any, Literal


def toy_data(
    out: Path,
    preset: Literal["demo", "bench", "shapes", "objects"] = "demo",
    num_classes: int | None = None,
    groups: int | None = None,
    clips_per_group: int | None = None,
    height: int | None = None,
    width: int | None = None,
    frames: int | None = None,
    fps: float | None = None,
    contrast: float | None = None,
    seed: int = 0,
) -> None:
    """Write drawn clips of coloured shapes in motion as AVI files in UCF-101's layout; resumes by itself.

    Args:
        out: folder to write to: class folders and ucfTrainTestlist/, as in UCF-101.
        preset: "demo", or "shapes", which is the same: one shape over a panning background; "bench", or
            "objects": up to three objects that bounce, collide, fall and hide each other, where
            `python -m tools.measure.synthetic_reader` reads from pixels what went wrong.
        num_classes: number of classes; demo 1 to 512, by default 8; bench 1 to 24, by default 24.
        groups: scenes of each class, 2 to 99, by default 8 (demo) or 16 (bench); the first 28 % (at least
            one) are the test split.
        clips_per_group: clips of each scene, 1 to 99, by default 6 (demo) or 8 (bench).
        height: pixels, an even number, by default 48 (demo) or 64 (bench).
        width: pixels, an even number, by default 64; the bench's clips are square.
        frames: frames of each clip, by default 40 (demo) or 33 (bench).
        fps: frames a second, by default 25 (demo) or 16 (bench).
        contrast: of the bench's background, 0 (plain, easier to learn) to 1, by default 1.
        seed: another seed draws other scenes and clips.
    """
    from dataclasses import replace

    from parvideo.synthetic.objects import ObjectsSettings, write_objects_data
    from parvideo.synthetic.shapes import ShapesSettings, write_shapes_data

    asked = {
        "num_classes": num_classes,
        "groups": groups,
        "clips_per_group": clips_per_group,
        "height": height,
        "width": width,
        "frames": frames,
        "fps": fps,
        "contrast": contrast,
        "seed": seed,
    }
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    settings: ShapesSettings | ObjectsSettings
    if preset in ("demo", "shapes"):
        if contrast is not None:
            raise ValueError(f"contrast is {contrast}; only the objects set (--preset bench) takes one")
        settings = replace(ShapesSettings(), **given)
        write_shapes_data(out, settings, show_progress=True)
    else:
        sides = {given.pop(name) for name in ("height", "width") if name in given}
        if len(sides) > 1:
            raise ValueError(f"height is {height} and width {width}; the bench's clips are square")
        if sides:
            given["size"] = sides.pop()
        settings = replace(ObjectsSettings(), **given)
        write_objects_data(out, settings, show_progress=True)
    total = settings.num_classes * settings.groups * settings.clips_per_group
    print(f"{total} videos of {settings.num_classes} classes in {out}")

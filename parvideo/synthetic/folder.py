"""A folder of drawn videos: AVI files, lists in UCF-101's layout, and the settings that fix them all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from parvideo.datasets.folders import ANNOTATIONS
from parvideo.datasets.writing import write_avi
from parvideo.files import AnyPath, check_settings, read_json, write_json, write_text
from parvideo.progress import Progress

SETTINGS = "toy_data.json"


@dataclass(frozen=True)
class SyntheticVideo:
    """One video of a synthetic set: its label from 0, its group and clip from 1."""

    label: int
    group: int
    clip: int


def count_test_groups(groups: int) -> int:
    """Groups 1 to this one are the test split: 28 %, as in UCF-101, and at least one."""
    return max(1, round(0.28 * groups))


def name_videos(class_names: Sequence[str], groups: int, clips_per_group: int) -> dict[str, SyntheticVideo]:
    """Every video by its path under the root, such as ``RedSquareRight/v_RedSquareRight_g01_c01.avi``."""
    return {
        f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi": SyntheticVideo(label, group, clip)
        for label, name in enumerate(class_names)
        for group in range(1, groups + 1)
        for clip in range(1, clips_per_group + 1)
    }


def check_ranges(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raise ValueError unless every named field of ``settings`` lies within (least, most)."""
    for name, (least, most) in ranges.items():
        if not least <= getattr(settings, name) <= most:
            raise ValueError(f"{name} is {getattr(settings, name)}; it must be from {least} to {most}")


def write_folder(
    out: AnyPath,
    settings: Mapping[str, Any],
    videos: Mapping[str, SyntheticVideo],
    draw: Callable[[SyntheticVideo], Tensor],
    fps: float,
    test_groups: int,
    show_progress: bool = False,
) -> None:
    """Write the settings, the lists and the videos that are not there yet; every file whole or not at all.

    Args:
        out: the root: class folders, ``ucfTrainTestlist/`` and ``toy_data.json`` (the settings).
        settings: everything that fixes the set, JSON-able.
        videos: by path under the root, in label order.
        draw: a video's frames, uint8 ``[T, H, W, 3]``.
        fps: frames a second of the files.
        test_groups: groups 1 to this one are the test split.
        show_progress: show a progress bar.

    Raises:
        ValueError: if ``out`` holds a synthetic set with other settings, or other files.
    """
    out = Path(out)
    _claim(out, settings)
    _write_lists(out / ANNOTATIONS, videos, test_groups)
    missing = {name: video for name, video in videos.items() if not (out / name).exists()}
    hidden = not show_progress
    for name in Progress(missing, title="drawing videos", unit="video", hidden=hidden):
        write_avi(out / name, draw(missing[name]), fps)


def _claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Make sure that the folder is ours: new or empty, or of the same settings."""
    if (out / SETTINGS).exists():
        advice = "choose another folder or remove that one"
        check_settings(out, read_json(out / SETTINGS), settings, "a synthetic set", advice=advice)
        return
    if out.is_dir() and any(not path.name.startswith(f".{Path(SETTINGS).stem}") for path in out.iterdir()):
        raise ValueError(f"{out} holds other files and no {SETTINGS}; choose a new or an empty folder")
    write_json(out / SETTINGS, dict(settings))


def _write_lists(folder: Path, videos: Mapping[str, SyntheticVideo], test_groups: int) -> None:
    names = list(dict.fromkeys(Path(name).parent.as_posix() for name in videos))
    is_test = {name: video.group <= test_groups for name, video in videos.items()}
    contents = {
        "classInd.txt": [f"{number} {name}" for number, name in enumerate(names, 1)],
        "trainlist01.txt": [f"{name} {videos[name].label + 1}" for name in videos if not is_test[name]],
        "testlist01.txt": [name for name in videos if is_test[name]],
    }
    for name, lines in contents.items():
        write_text(folder / name, "\n".join(lines) + "\n")

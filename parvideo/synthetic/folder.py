"""A folder of drawn videos: AVI files, lists in UCF-101's layout, and the settings that fix them all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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


@dataclass(frozen=True)
class SyntheticSettings:
    """What every synthetic set has; a set's own settings add what its pictures need, and the defaults.

    Attributes:
        num_classes: 1 to `MOST_CLASSES` of the set.
        groups: scenes of a class, 2 to 99; the first 28 % (as in UCF-101), at least one, are the test split.
        clips_per_group: clips of a scene, 1 to 99.
        frames: frames of a video.
        fps: frames a second of the files.
        seed: of all scenes and clips, 0 or more.

    Raises:
        ValueError: if one lies outside its range.
    """

    MOST_CLASSES: ClassVar[int]

    num_classes: int
    groups: int
    clips_per_group: int
    frames: int
    fps: float
    seed: int

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "num_classes": (1, self.MOST_CLASSES),
                "groups": (2, 99),
                "clips_per_group": (1, 99),
                "frames": (1, 100_000),
                "fps": (1, 1000),
                "seed": (0, 2**63 - 1),
            },
        )

    @property
    def test_groups(self) -> int:
        """Groups 1 to this one are the test split."""
        return max(1, round(0.28 * self.groups))

    @property
    def class_names(self) -> list[str]:
        """Names in label order."""
        raise NotImplementedError

    def videos(self) -> dict[str, SyntheticVideo]:
        """Every video by its path under the root, such as ``RedSquareRight/v_RedSquareRight_g01_c01.avi``."""
        return {
            f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi": SyntheticVideo(label, group, clip)
            for label, name in enumerate(self.class_names)
            for group in range(1, self.groups + 1)
            for clip in range(1, self.clips_per_group + 1)
        }


def check_ranges(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raise ValueError unless every named field of ``settings`` lies within (least, most)."""
    for name, (least, most) in ranges.items():
        if not least <= getattr(settings, name) <= most:
            raise ValueError(f"{name} is {getattr(settings, name)}; it must be from {least} to {most}")


def write_folder(
    out: AnyPath,
    settings: SyntheticSettings,
    render: Callable[[SyntheticVideo], Tensor],
    recorded: Mapping[str, Any],
    show_progress: bool = False,
) -> None:
    """Write the settings, the lists and the videos that are not there yet; every file whole or not at all.

    Args:
        out: the root: class folders, ``ucfTrainTestlist/`` and ``toy_data.json`` (the settings).
        settings: everything that fixes the set.
        render: a video's frames, uint8 ``[T, H, W, 3]``.
        recorded: the settings as JSON, by which a folder is known again.
        show_progress: show a progress bar.

    Raises:
        ValueError: if ``out`` holds a synthetic set with other settings, or other files.
    """
    out = Path(out)
    _claim(out, recorded)
    videos = settings.videos()
    _write_lists(out / ANNOTATIONS, videos, settings.test_groups)
    missing = {name: video for name, video in videos.items() if not (out / name).exists()}
    hidden = not show_progress
    for name in Progress(missing, title="drawing videos", unit="video", hidden=hidden):
        write_avi(out / name, render(missing[name]), settings.fps)


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

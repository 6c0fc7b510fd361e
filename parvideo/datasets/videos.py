"""The list of videos under a folder, with labels and scene groups: UCF-101's own layout, or class folders."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from parvideo.datasets.images import is_image

Split = Literal["train", "test", "all"]
Layout = Literal["ucf101", "class folders"]

ANNOTATIONS = "ucfTrainTestlist"
VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mkv", ".mov", ".mpeg", ".mpg", ".webm"})

# The greedy name lets the group be the last `_gNN`; UCF-101 writes v_HandStandPushups in HandstandPushups.
_UCF_NAME = re.compile(r"v_.+_(g\d+)_c\d+")


@dataclass(frozen=True)
class VideoRecord:
    """One video file.

    Attributes:
        path: where it lies.
        label: its class, an index into the list's ``class_names``.
        id: its path under the root without the suffix, with ``/``; unique in a list.
        group: its scene, ``Class/gNN``; files that are not named so are a group each.
    """

    path: Path
    label: int
    id: str
    group: str


@dataclass(frozen=True)
class VideoList:
    """Videos in a fixed order, with the names of all classes and the layout in which they were found."""

    records: list[VideoRecord]
    class_names: list[str]
    layout: Layout

    def __len__(self) -> int:
        return len(self.records)


def load_videos(
    root: Path,
    split: Split = "train",
    split_index: int = 1,
    annotations: Path | None = None,
    allow_missing: bool = False,
) -> VideoList:
    """List the videos under ``root``; the layout is found by looking.

    *UCF-101*: class folders of ``v_Class_gNN_cNN.avi`` and a folder ``ucfTrainTestlist`` with
    ``classInd.txt`` (the labels, 1-based there, 0-based here), ``trainlistNN.txt`` and ``testlistNN.txt``.
    The lists are looked for in ``annotations`` if given, in ``root``, and beside ``root``; beside it they
    count only if they name every class folder there is.

    *Class folders*, otherwise: a folder for each class, labels by sorted name, either under ``train/`` and
    ``test/`` or directly under ``root``. In the second case every fourth group of a class (the first, fifth,
    ... in sorted order) is its test part, so that groups are never cut; a class of one group is all train.
    A folder without videos may hold images, as in ImageNet: they are clips of one frame, each its own group.

    Args:
        root: the folder of class folders.
        split: ``"train"``, ``"test"``, or ``"all"``.
        split_index: which of UCF-101's three splits, from 1.
        annotations: the folder with UCF-101's lists, if it lies elsewhere.
        allow_missing: take a list of which some files are not on disk; otherwise that is an error.

    Raises:
        ValueError: naming folder, or file, line and value, if there are no videos, a list does not fit the
            files or itself, or the split would be empty.
    """
    if split not in get_args(Split):
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(get_args(Split))}")
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; give the folder that holds the class folders")
    lists = annotations or find_annotations(root)
    if lists is not None:
        videos = _load_ucf101(root, split, split_index, lists, allow_missing)
    else:
        videos = _load_class_folders(root, split)
    _check_unique(videos.records)
    return videos


def read_class_index(path: Path) -> list[str]:
    """Read UCF-101's ``classInd.txt``: class names, the one numbered 1 first.

    Raises:
        ValueError: naming file, line and value, unless the numbers run 1, 2, 3, ... with distinct names.
    """
    names: list[str] = []
    for number, line in _lines(path):
        fields = line.split()
        if len(fields) != 2 or fields[0] != str(len(names) + 1):
            raise ValueError(f"{path}:{number}: {line!r} should be '{len(names) + 1} ClassName'")
        if fields[1] in names:
            raise ValueError(f"{path}:{number}: class {fields[1]!r} is listed twice")
        names.append(fields[1])
    if not names:
        raise ValueError(f"{path} lists no classes; it should hold lines such as '1 ApplyEyeMakeup'")
    return names


def read_split_list(path: Path, class_names: list[str]) -> list[str]:
    """Read ``trainlistNN.txt`` or ``testlistNN.txt``: paths ``Class/file.avi`` under the root.

    The class is the path's folder; the number behind it, which only training lists have, must agree.

    Raises:
        ValueError: naming file, line and value, on an unknown class, a number that is not the class's, a path
            of another form or one that is listed twice.
    """
    labels = {name: label for label, name in enumerate(class_names)}
    paths: dict[str, None] = {}
    for number, line in _lines(path):
        fields = line.split()
        parts = Path(fields[0]).parts
        if len(fields) > 2 or len(parts) != 2 or parts[0] == "..":
            raise ValueError(
                f"{path}:{number}: {line!r} should be 'Class/video.avi', in a training list with its number"
            )
        if parts[0] not in labels:
            raise ValueError(f"{path}:{number}: class {parts[0]!r} is not in the class index")
        if len(fields) == 2 and fields[1] != str(labels[parts[0]] + 1):
            raise ValueError(
                f"{path}:{number}: label {fields[1]!r} for class {parts[0]!r}, which the class index numbers "
                f"{labels[parts[0]] + 1}"
            )
        if fields[0] in paths:
            raise ValueError(f"{path}:{number}: {fields[0]!r} is listed twice")
        paths[fields[0]] = None
    return list(paths)


def find_annotations(root: Path) -> Path | None:
    """UCF-101's folder of lists in ``root``, or beside it if they name every class folder in ``root``."""
    if (root / ANNOTATIONS).is_dir():
        return root / ANNOTATIONS
    beside = root.absolute().parent / ANNOTATIONS
    if beside.is_dir():
        known = set(read_class_index(beside / "classInd.txt"))
        folders = _class_folders(root)
        if folders and known.issuperset(folder.name for folder in folders):
            return beside
    return None


def is_video(path: Path) -> bool:
    """Whether a path is named like a video file; hidden files are not (half-written ones are hidden)."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that are not blank; the official lists end their lines with CR LF."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _class_folders(root: Path) -> list[Path]:
    folders = (
        f for f in root.iterdir() if f.is_dir() and not f.name.startswith(".") and f.name != ANNOTATIONS
    )
    return sorted(folder for folder in folders if _media(folder))


def _media(folder: Path) -> list[Path]:
    """The videos in a folder; where there are none, its images, which are clips of one frame."""
    paths = sorted(folder.iterdir())
    return [path for path in paths if is_video(path)] or [path for path in paths if is_image(path)]


def _record(root: Path, path: Path, label: int) -> VideoRecord:
    identity = path.relative_to(root).with_suffix("").as_posix()
    match = _UCF_NAME.fullmatch(path.stem)
    group = f"{Path(identity).parent.as_posix()}/{match[1]}" if match else identity
    return VideoRecord(path, label, identity, group)


def _records(root: Path, folder: Path, label: int) -> list[VideoRecord]:
    return [_record(root, path, label) for path in _media(folder)]


def _load_ucf101(root: Path, split: Split, split_index: int, lists: Path, allow_missing: bool) -> VideoList:
    index = lists / "classInd.txt"
    class_names = read_class_index(index)
    if split == "all":
        records = []
        for folder in _class_folders(root):
            if folder.name not in class_names:
                raise ValueError(f"{folder}: class {folder.name!r} is not in {index}")
            records += _records(root, folder, class_names.index(folder.name))
        records.sort(key=lambda record: record.label)
    else:
        path = lists / f"{split}list{split_index:02d}.txt"
        if not path.is_file():
            found = ", ".join(sorted(p.name for p in lists.glob(f"{split}list*.txt"))) or "none"
            raise ValueError(f"split_index is {split_index}, but there is no {path}; lists there: {found}")
        listed = [root / name for name in read_split_list(path, class_names)]
        there = [video for video in listed if video.is_file()]
        if there and len(there) < len(listed) and not allow_missing:
            missing = next(video for video in listed if not video.is_file())
            raise ValueError(
                f"{len(listed) - len(there)} of the {len(listed)} videos in {path} are not under {root}, the "
                f"first  {missing.relative_to(root)}; complete the data, or set allow_missing to go without"
            )
        records = [_record(root, video, class_names.index(video.parent.name)) for video in there]
    if not records:
        raise ValueError(
            f"no video of the {split} split of {lists} is under {root}; it should hold the class folders"
        )
    return VideoList(records, class_names, "ucf101")


def _load_class_folders(root: Path, split: Split) -> VideoList:
    if (root / "train").is_dir() and not any(is_video(path) for path in (root / "train").iterdir()):
        parts = {name: _class_folders(root / name) for name in ("train", "test") if (root / name).is_dir()}
    else:
        parts = {"": _class_folders(root)}
    class_names = sorted({folder.name for folders in parts.values() for folder in folders})
    records = [
        record
        for part, folders in parts.items()
        if split == "all" or part in ("", split)
        for folder in folders
        for record in _records(root, folder, class_names.index(folder.name))
    ]
    if not class_names:
        raise ValueError(
            f"{root} holds no videos; it should hold a folder for each class, or train/ and test/ with such "
            f"folders in them, with files {', '.join(sorted(VIDEO_SUFFIXES))}"
        )
    if "" in parts and split != "all":
        held_out = _held_out_groups(records)
        records = [record for record in records if (record.group in held_out) == (split == "test")]
    if not records:
        raise ValueError(
            f"the {split} split of {root} would be empty: add a folder {root / split}, or videos of more "
            "scenes (a class needs two to have a test part), or take split='all' and split each video in "
            "time by `span`"
        )
    return VideoList(records, class_names, "class folders")


def _held_out_groups(records: Iterable[VideoRecord]) -> set[str]:
    groups: dict[int, set[str]] = defaultdict(set)
    for record in records:
        groups[record.label].add(record.group)
    return {group for of_class in groups.values() if len(of_class) > 1 for group in sorted(of_class)[::4]}


def _check_unique(records: Iterable[VideoRecord]) -> None:
    seen: dict[str, Path] = {}
    for record in records:
        if record.id in seen:
            raise ValueError(
                f"{seen[record.id]} and {record.path} have the same id {record.id!r}; rename one"
            )
        seen[record.id] = record.path

"""The list of videos under a folder, with labels and scene groups: UCF-101's own layout, or class folders."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from parvideo.datasets.annotations import (
    check_recorded,
    find_annotations,
    read_class_index,
    read_split_list,
)
from parvideo.datasets.folders import (
    ANNOTATIONS,
    NO_CLASS,
    NO_LABEL,
    UNREADABLE_FOLDER,
    VIDEO_SUFFIXES,
    ClassFolder,
    LeftOut,
    add,
    class_folders,
    is_media,
    media_below,
)
from parvideo.files import sha256_file

Split = Literal["train", "test", "all"]
Layout = Literal["ucf101", "class folders"]

NOT_LISTED = "videos or images that no list names"
MISSING = "videos that a list names and that are not there"

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
    """Videos in a fixed order, and how they were found.

    Attributes:
        records: the videos.
        class_names: of all classes, in label order.
        layout: UCF-101's, or class folders.
        split: which videos they are.
        split_index: which of UCF-101's splits; 1 in class folders, which have one.
        annotations: the folder of the lists that were used; None in class folders.
        lists: file name -> checksum of each list that was used.
        left_out: reason -> what under the folder is not in the list for it.
        notes: what else a reader should know of how the list was made, a sentence each.
    """

    records: list[VideoRecord]
    class_names: list[str]
    layout: Layout
    split: Split = "all"
    split_index: int = 1
    annotations: Path | None = None
    lists: dict[str, str] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def description(self) -> dict[str, Any]:
        """How the list was made, for manifests and reports; JSON."""
        return {
            "layout": self.layout,
            "split": self.split,
            "split_index": self.split_index,
            "annotations": None if self.annotations is None else str(self.annotations),
            "lists": self.lists,
            "left_out": {reason: len(names) for reason, names in self.left_out.items()},
        }


def load_videos(
    root: Path | str,
    split: Split = "train",
    split_index: int = 1,
    annotations: Path | str | None = None,
    allow_missing: bool = False,
    recorded: bool = True,
) -> VideoList:
    """List the videos under ``root``; the layout is found by looking.

    *UCF-101*: class folders of ``v_Class_gNN_cNN.avi`` and a folder ``ucfTrainTestlist`` with
    ``classInd.txt`` (the labels, 1-based there, 0-based here), ``trainlistNN.txt`` and ``testlistNN.txt``.
    The lists are those of ``annotations`` if given, else those with which ``root`` was checked (its
    ``manifest.json`` says so), else those in ``root``, beside it, or beside what it is a link to; beside it
    they count only if they name every class folder there is.

    *Class folders*, otherwise: a folder for each class, labels by sorted name, either under ``train/`` and
    ``test/`` or directly under ``root``. In the second case every fourth group of a class (the first, fifth,
    ... in sorted order) is its test part, so that groups are never cut; a class of one group is all train.
    A folder without videos may hold images, as in ImageNet: they are clips of one frame, each its own group.

    Whatever else lies there is counted in the list's ``left_out``.

    Args:
        root: the folder of class folders.
        split: ``"train"``, ``"test"``, or ``"all"``.
        split_index: which of UCF-101's three splits, from 1.
        annotations: the folder with UCF-101's lists, if it lies elsewhere.
        allow_missing: take a list of which some files are not on disk; otherwise that is an error.
        recorded: heed which lists the manifest in ``root`` says that it was checked with.

    Raises:
        ValueError: naming folder, or file, line and value, if there are no videos, a folder of a class holds
            none, a list does not fit the files or itself or differs from what ``root`` was checked with, or
            the split would be empty.
    """
    root = Path(root)
    if split not in get_args(Split):
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(get_args(Split))}")
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; give the folder that holds the class folders")
    notes: list[str] = []
    lists = Path(annotations) if annotations is not None else find_annotations(root, notes, recorded)
    if recorded:
        check_recorded(root, lists)
    if lists is not None:
        videos = _load_ucf101(root, split, split_index, lists, allow_missing)
    elif split_index != 1:
        raise ValueError(
            f"split_index is {split_index}, but {root} has no {ANNOTATIONS}/ in it or beside it, and class "
            "folders have one split; give the folder of the lists as `annotations`"
        )
    else:
        videos = _load_class_folders(root, split)
    videos.notes.extend(notes)
    _check_unique(videos.records)
    return videos


def _record(root: Path, path: Path, label: int) -> VideoRecord:
    identity = path.relative_to(root).with_suffix("").as_posix()
    match = _UCF_NAME.fullmatch(path.stem)
    group = f"{Path(identity).parent.as_posix()}/{match[1]}" if match else identity
    return VideoRecord(path, label, identity, group)


def _load_ucf101(root: Path, split: Split, split_index: int, lists: Path, allow_missing: bool) -> VideoList:
    index = lists / "classInd.txt"
    class_names = read_class_index(index)
    used = [index]
    left_out: LeftOut = {}
    folders = class_folders(root, root, left_out)
    for folder in folders:
        for reason, paths in folder.left_out.items():
            add(left_out, root, reason, paths)
    if split == "all":
        records = []
        for folder in folders:
            if folder.path.name in class_names:
                label = class_names.index(folder.path.name)
                records += [_record(root, path, label) for path in folder.media]
            elif folder.media:
                raise ValueError(f"{folder.path}: class {folder.path.name!r} is not in {index}")
        records.sort(key=lambda record: record.label)
    else:
        path = lists / f"{split}list{split_index:02d}.txt"
        if not path.is_file():
            found = ", ".join(sorted(p.name for p in lists.glob(f"{split}list*.txt"))) or "none"
            raise ValueError(f"split_index is {split_index}, but there is no {path}; lists there: {found}")
        used.append(path)
        listed = [root / name for name in read_split_list(path, class_names)]
        there = [video for video in listed if video.is_file()]
        if there and len(there) < len(listed):
            gone = [video for video in listed if not video.is_file()]
            if not allow_missing:
                raise ValueError(
                    f"{len(gone)} of the {len(listed)} videos in {path} are not under {root}, the first "
                    f"{gone[0].relative_to(root)}; complete the data, or set allow_missing to go without"
                )
            add(left_out, root, MISSING, gone)
        records = [_record(root, video, class_names.index(video.parent.name)) for video in there]
        named = set(listed)
        other = lists / f"{'test' if split == 'train' else 'train'}list{split_index:02d}.txt"
        if other.is_file():
            used.append(other)
            named.update(root / name for name in read_split_list(other, class_names))
        add(left_out, root, NOT_LISTED, (p for folder in folders for p in folder.media if p not in named))
    if not records:
        raise ValueError(
            f"no video of the {split} split of {lists} is under {root}; it should hold the class folders"
        )
    checksums = {path.name: sha256_file(path) for path in used}
    return VideoList(records, class_names, "ucf101", split, split_index, lists, checksums, left_out)


def _load_class_folders(root: Path, split: Split) -> VideoList:
    left_out: LeftOut = {}
    parts = _parts(root, left_out)
    class_names = sorted(
        {folder.path.name for folders in parts.values() for folder in folders if folder.media}
    )
    deeper = [path for folders in parts.values() for folder in folders for path in folder.deeper]
    for part, folders in parts.items():
        for folder in folders:
            known = folder.path.name in class_names
            if class_names and not known and not folder.documents:
                raise ValueError(_no_videos(root, folder))
            if not folder.media and not folder.deeper:
                add(left_out, root, NO_CLASS, [folder.path])
            elif split == "all" or part in ("", split):
                for reason, paths in folder.left_out.items():
                    add(left_out, root, reason, paths)
    if not class_names:
        hint = f". {len(deeper)} lie deeper, such as {deeper[0].relative_to(root)}" if deeper else ""
        loose = left_out.get(NO_LABEL)
        hint += f". {len(loose)} lie outside of class folders, such as {loose[0]}" if loose else ""
        raise ValueError(
            f"{root} holds no videos of classes; it should hold a folder for each class, or train/ and test/ "
            f"with such folders in them, with files {', '.join(sorted(VIDEO_SUFFIXES))}{hint}"
        )
    records = [
        _record(root, path, class_names.index(folder.path.name))
        for part, folders in parts.items()
        if split == "all" or part in ("", split)
        for folder in folders
        for path in folder.media
    ]
    if "" in parts and split != "all":
        held_out = _held_out_groups(records)
        records = [record for record in records if (record.group in held_out) == (split == "test")]
    if not records:
        other = next((reason for reason in left_out if reason.startswith(_OUTSIDE)), None)
        raise ValueError(
            f"the {split} split of {root} would be empty: add a folder {root / split}, or videos of more "
            "scenes (a class needs two to have a test part), or take split='all' and split each video in "
            "time by `span`" + (f"; left out: {other}, which may be what you mean" if other else "")
        )
    return VideoList(records, class_names, "class folders", split, left_out=left_out)


_OUTSIDE = "videos or images in "


def _parts(root: Path, left_out: LeftOut) -> dict[str, list[ClassFolder]]:
    """Part ("train", "test", or "" where there is one) -> its class folders."""
    if not (root / "train").is_dir():
        return {"": class_folders(root, root, left_out)}
    inside: LeftOut = {}
    train = class_folders(root, root / "train", inside)
    if not any(folder.media for folder in train):
        return {"": class_folders(root, root, left_out)}  # a class of trains
    beside = [path for path in sorted(root.iterdir()) if path.name not in ("train", "test")]
    others: dict[str, list[Path]] = {}
    for path in beside:
        if path.is_dir() and path.name != ANNOTATIONS and not path.name.startswith("."):
            media, closed = media_below(path)
            add(left_out, root, UNREADABLE_FOLDER, closed)
            if media:
                others[path.name] = media
        elif path.is_file() and is_media(path):
            add(left_out, root, NO_LABEL, [path])
    loose = inside.get(NO_LABEL, [])
    direct = [name for name, media in others.items() if any(path.parent.name == name for path in media)]
    if loose and direct and not (root / "test").is_dir():
        raise ValueError(
            f"{root / 'train'} holds videos ({loose[0]}) and class folders, and {root / direct[0]} lies "
            "beside it: is train a class or a part of the data? Move its videos, or its folders, elsewhere"
        )
    for name, media in others.items():
        add(left_out, root, f"{_OUTSIDE}{name}/, which is neither train/ nor test/", media)
    parts = {"train": train}
    if (root / "test").is_dir():
        parts["test"] = class_folders(root, root / "test", inside)
    for reason, names in inside.items():
        left_out.setdefault(reason, []).extend(names)
    return parts


def _no_videos(root: Path, folder: ClassFolder) -> str:
    name = folder.path.relative_to(root)
    if folder.deeper:
        return (
            f"class folder {folder.path} holds no video itself; {len(folder.deeper)} lie deeper, such as "
            f"{folder.deeper[0].relative_to(root)}: move them up into {name}"
        )
    other = next((paths[0].name for paths in folder.left_out.values()), None)
    return (
        f"class folder {folder.path} holds no video or image"
        f"{f' (but {other})' if other else ''}: a class without samples; add some, or remove the folder"
    )


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

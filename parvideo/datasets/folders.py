"""What lies in a folder of videos: which files are videos or images, and what is left out, and why."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from parvideo.datasets.images import ANIMATION_SUFFIXES, is_image

ANNOTATIONS = "ucfTrainTestlist"
"""UCF-101's folder of lists."""

VIDEO_SUFFIXES = ANIMATION_SUFFIXES | frozenset(
    """
    .3g2 .3gp .asf .avi .divx .dv .f4v .flv .m1v .m2t .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mod .mov .mp4
    .mpe .mpeg .mpg .mpv .mts .mxf .nut .ogm .ogv .qt .rm .rmvb .tod .ts .vob .webm .wmv .wtv .y4m
    """.split()  # noqa: SIM905
)
"""Of animated images and of the containers that FFmpeg, and so PyAV, reads; the one list of them."""

DOCUMENT_SUFFIXES = frozenset(
    """
    .7z .cfg .csv .doc .docx .gz .htm .html .ini .json .jsonl .log .md .pdf .py .rar .rst .rtf .sh .srt .tar
    .tsv .txt .vtt .xml .yaml .yml .zip
    """.split()  # noqa: SIM905
)
"""A folder that holds nothing else is no class: notes, lists and scripts lie beside the videos."""

_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_SYSTEM_FOLDERS = frozenset(
    {"lost+found", "$recycle.bin", "system volume information", "__macosx", "@eadir", "#recycle", "found.000"}
)

LeftOut = dict[str, list[str]]
"""Reason -> paths of what was left out for it, relative to the root."""

HIDDEN = "hidden files"
OTHER = "files whose suffix is no video's or image's"
DEEPER = "videos or images in folders inside a class folder"
BESIDE_VIDEOS = "images in a class folder that holds videos"
NO_FILE = "things named like videos that are no files"
NO_LABEL = "videos or images outside of any class folder, so without a label"
UNREADABLE_FOLDER = "folders that may not be read"
NO_CLASS = "folders without videos or images"
SYSTEM = "videos or images in folders of the system"


@dataclass
class ClassFolder:
    """What a class folder holds.

    Attributes:
        path: of the folder.
        media: its videos, sorted; where there are none, its images, which are clips of one frame.
        deeper: media in folders below, which are not taken.
        documents: whether it holds files, and all of them are documents.
        left_out: what is not taken, by reason; paths.
    """

    path: Path
    media: list[Path]
    deeper: list[Path]
    documents: bool
    left_out: dict[str, list[Path]] = field(default_factory=dict)


def is_video(path: Path) -> bool:
    """Whether a path is named like a video file; hidden files are not (half-written ones are hidden)."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def is_media(path: Path) -> bool:
    """Whether a path is named like a video or an image, and not hidden."""
    return is_video(path) or is_image(path)


def is_system_folder(path: Path) -> bool:
    """Whether the system keeps a folder of this name on its disks, such as ``lost+found``."""
    return path.name.lower() in _SYSTEM_FOLDERS


def is_named_like_media(path: Path) -> bool:
    """Whether a path has a video's or an image's suffix, hidden or not."""
    return is_media(path.with_name("x" + path.name.lstrip(".")))


def look_into(folder: Path) -> ClassFolder:
    """What a class folder holds, and what of it is left out.

    Raises:
        OSError: if it may not be read.
    """
    videos: list[Path] = []
    images: list[Path] = []
    left_out: dict[str, list[Path]] = {}
    others = documents = 0
    deeper: list[Path] = []
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = folder / entry.name
        if entry.name.startswith("."):
            if is_named_like_media(path):
                left_out.setdefault(HIDDEN, []).append(path)
        elif entry.name.lower() in _SYSTEM_FILES:
            continue
        elif path.is_dir():  # not the entry's own, which raises where links lead in a circle
            inside, closed = media_below(path)
            deeper += inside
            if closed:
                left_out.setdefault(UNREADABLE_FOLDER, []).extend(closed)
        elif is_media(path):
            if not path.is_file() and not entry.is_symlink():  # a broken link is a video that cannot be read
                left_out.setdefault(NO_FILE, []).append(path)
            else:
                (videos if is_video(path) else images).append(path)
        else:
            others += 1
            documents += path.suffix.lower() in DOCUMENT_SUFFIXES
            left_out.setdefault(OTHER, []).append(path)
    if deeper:
        left_out[DEEPER] = deeper
    if videos and images:
        left_out[BESIDE_VIDEOS] = images
    return ClassFolder(folder, videos or images, deeper, 0 < others == documents, left_out)


def media_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Videos and images in a folder and all folders below it, and the folders that may not be read."""
    closed: list[Path] = []
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [path for path in (Path(place, name) for name in sorted(files)) if is_media(path)]
    return found, closed


def class_folders(root: Path, parent: Path, left_out: LeftOut) -> list[ClassFolder]:
    """The folders in ``parent`` that may be classes, sorted; ``left_out`` is told what is no such."""
    found = []
    for path in sorted(parent.iterdir()):
        if not path.is_dir():
            if is_media(path):
                add(left_out, root, NO_LABEL, [path])
        elif is_system_folder(path):
            inside, closed = media_below(path)
            add(left_out, root, SYSTEM, inside)
            add(left_out, root, UNREADABLE_FOLDER, closed)
        elif not path.name.startswith(".") and path.name != ANNOTATIONS:
            try:
                found.append(look_into(path))
            except OSError as error:
                raise ValueError(
                    f"{path} cannot be read ({error.strerror or error}); make it readable, or move it "
                    "away if it is no class"
                ) from error
    return found


def add(left_out: LeftOut, root: Path, reason: str, paths: Iterable[Path]) -> None:
    """Add paths under ``root`` to what was left out for a reason."""
    names = [path.relative_to(root).as_posix() for path in paths]
    if names:
        left_out.setdefault(reason, []).extend(names)

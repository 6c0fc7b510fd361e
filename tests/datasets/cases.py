"""Folders of files that are no videos but look like a data set's, and what changes in them."""

import os
from pathlib import Path

import pytest

from parvideo.datasets import metadata_cache as store
from parvideo.datasets.videos import VideoList, load_videos

OFFICIAL = Path(__file__).parents[2] / "data/ucf101/ucfTrainTestlist"


def touch(root: Path, *names: str) -> None:
    """Write empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write_lists(folder: Path, **files: str) -> None:
    """Write UCF-101's lists as they are given."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)


def annotate(folder: Path, classes: list[str], train: list[str], test: list[str], number: int = 1) -> None:
    """Write UCF-101's lists of these classes and files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classInd.txt").write_text("".join(f"{k} {name}\n" for k, name in enumerate(classes, 1)))
    (folder / f"trainlist{number:02d}.txt").write_text("".join(f"{name}\n" for name in train))
    (folder / f"testlist{number:02d}.txt").write_text("".join(f"{name}\n" for name in test))


def names(videos: VideoList) -> list[str]:
    """Their ids."""
    return [record.id for record in videos.records]


def videos_of(root: Path) -> VideoList:
    """Three videos of two classes, of which only the bytes matter."""
    for name in ("a/1", "a/2", "b/1"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.mp4").write_bytes(f"content of {name}".encode())
    return load_videos(root, "all")


def replace_keeping_size_and_time(path: Path, content: bytes) -> None:
    """What `cp -p` and `rsync --times` of a repaired file leave behind."""
    old = path.stat()
    assert len(content) == old.st_size
    path.write_bytes(content)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))


def restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process would begin: with what is kept on disk alone."""
    monkeypatch.setattr(store, "_seen", {})

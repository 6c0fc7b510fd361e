"""What is kept of files: as good as asking again, with or without a store."""

import os
from pathlib import Path

import pytest

from parvideo.datasets import identity as module
from parvideo.datasets import metadata_cache as store
from parvideo.datasets.identity import content_hashes, identity
from parvideo.datasets.videos import VideoList, load_videos
from parvideo.files import sha256_file


@pytest.fixture(autouse=True)
def _kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(store, "_seen", {})
    monkeypatch.setattr(store, "_SETTLED", -1)  # the files of a test are young


def restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process would begin: with what is kept on disk alone."""
    monkeypatch.setattr(store, "_seen", {})


def videos_of(root: Path) -> VideoList:
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


def test_a_file_that_may_still_change_within_a_tick_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_SETTLED", 10**18)
    videos = videos_of(tmp_path / "x")
    identity(videos)
    restart(monkeypatch)
    read = []
    monkeypatch.setattr(module, "sha256_file", lambda path: read.append(path) or "x")
    identity(videos)
    assert len(read) == 3


@pytest.mark.parametrize("damage", ["garbage", "no folder", "empty"])
def test_without_a_store_the_answer_is_the_same(tmp_path: Path, damage: str) -> None:
    videos = videos_of(tmp_path / "x")
    if damage == "no folder":
        (tmp_path / "user").write_text("a file where the cache folder should be")
    else:
        (tmp_path / "user/parvideo").mkdir(parents=True)
        content = b"no database at all" * 100 if damage == "garbage" else b""
        (tmp_path / "user/parvideo/files.sqlite").write_bytes(content)
    paths = [record.path for record in videos.records]
    assert content_hashes(paths) == [sha256_file(path) for path in paths]

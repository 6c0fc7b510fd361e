"""Identity: content and nothing else, read once for as long as a file is not touched."""

import shutil
from pathlib import Path

import pytest

from parvideo.datasets import identity as module
from parvideo.datasets.cache import FrameCache, build_cache
from parvideo.datasets.identity import content_hash, content_hashes, identity
from parvideo.datasets.videos import load_videos
from parvideo.files import sha256_file, write_json
from parvideo.synthetic.shapes import ShapesSettings, write_shapes_data
from tests.datasets.cases import replace_keeping_size_and_time, restart, videos_of

pytestmark = pytest.mark.usefixtures("kept_apart")


def test_the_place_and_the_times_of_files_do_not_matter(tmp_path: Path) -> None:
    videos = videos_of(tmp_path / "x")
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    assert identity(load_videos(tmp_path / "y", "all")) == identity(videos)


def test_content_labels_and_classes_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = videos_of(tmp_path / "x")
    found = {identity(videos)}
    path = videos.records[1].path
    replace_keeping_size_and_time(path, path.read_bytes()[::-1])
    found.add(identity(videos))
    restart(monkeypatch)
    assert identity(videos) in found  # and it is the second of the two, whoever asks
    (tmp_path / "x/b").rename(tmp_path / "x/c")
    found.add(identity(load_videos(tmp_path / "x", "all")))
    (tmp_path / "x/c/1.mp4").rename(tmp_path / "x/a/3.mp4")
    (tmp_path / "x/c").rmdir()
    found.add(identity(load_videos(tmp_path / "x", "all")))
    assert len(found) == 4


def test_a_second_start_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = videos_of(tmp_path / "x")
    before = identity(videos)
    restart(monkeypatch)
    read = []
    original = sha256_file
    monkeypatch.setattr(module, "sha256_file", lambda path: read.append(path.name) or original(path))
    assert identity(videos) == before
    assert read == []
    videos.records[2].path.write_bytes(b"repaired")
    assert identity(videos) != before
    assert read == ["1.mp4"]


def test_a_file_that_cannot_be_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "y.mp4").touch()
    assert content_hashes([tmp_path / "x.mp4", tmp_path / "y.mp4"])[0] == module.UNREADABLE
    with pytest.raises(FileNotFoundError):
        content_hash(tmp_path / "x.mp4")


def test_the_frame_cache_sees_another_video_of_equal_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shapes_data(tmp_path / "toy", ShapesSettings(1, 2, 1, height=16, width=16, frames=4))
    videos = load_videos(tmp_path / "toy", "all")
    cache = tmp_path / "cache"
    assert build_cache(cache, videos, 16) == {}
    before = FrameCache(cache, 16).read(videos.records[0], [0])
    one, other = (record.path for record in videos.records)
    size = max(one.stat().st_size, other.stat().st_size)
    for path in (one, other):  # trailing zeros are no frames
        with path.open("ab") as file:
            file.truncate(size)
    build_cache(cache, videos, 16)
    replace_keeping_size_and_time(one, other.read_bytes())
    restart(monkeypatch)
    with pytest.raises(ValueError, match="is not in the cache"):
        FrameCache(cache, 16).read(videos.records[0], [0])
    assert build_cache(cache, videos, 16) == {}
    after = FrameCache(cache, 16).read(videos.records[0], [0])
    assert after.equal(FrameCache(cache, 16).read(videos.records[1], [0]))
    assert not after.equal(before)


def test_a_cache_that_knew_videos_by_size_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "cache/cache.json", {"format": 1, "size": [16, 16]})
    for open_it in (
        lambda: FrameCache(tmp_path / "cache", 16),
        lambda: build_cache(tmp_path / "cache", videos_of(tmp_path / "x"), 16),
    ):
        with pytest.raises(ValueError, match="earlier parvideo"):
            open_it()


def test_a_video_that_vanished_is_left_out_of_the_cache_by_name(tmp_path: Path) -> None:
    write_shapes_data(tmp_path / "toy", ShapesSettings(1, 2, 1, height=16, width=16, frames=4))
    videos = load_videos(tmp_path / "toy", "all")
    videos.records[0].path.unlink()
    lacking = build_cache(tmp_path / "cache", videos, 16)
    assert list(lacking) == [videos.records[0].id]
    assert "cannot be read" in lacking[videos.records[0].id]

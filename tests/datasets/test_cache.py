"""The cache: the same clips bit for bit, completed after an interruption, never stale."""

from pathlib import Path

import pytest
import torch

from parvideo.datasets.cache import FrameCache, build_cache, cached_path
from parvideo.datasets.clips import ClipDataset, TooManyUnreadableError
from parvideo.datasets.videos import VideoList, load_videos
from parvideo.synthetic.shapes import ShapesSettings, write_shapes_data


@pytest.fixture
def videos(tmp_path: Path) -> VideoList:
    write_shapes_data(tmp_path / "toy", ShapesSettings(2, 2, 1, frames=30))
    return load_videos(tmp_path / "toy", "all")


def test_clips_from_the_cache_are_the_same(videos: VideoList, tmp_path: Path) -> None:
    assert build_cache(tmp_path / "cache", videos, 32) == {}
    direct = ClipDataset(videos, 9, 32, fps=8, flip=True)
    cached = ClipDataset(videos, 9, 32, fps=8, flip=True, cache=tmp_path / "cache")
    for index in range(4):
        for epoch in range(4):
            assert torch.equal(direct.clip_at(epoch, index)["clip"], cached.clip_at(epoch, index)["clip"])


def test_it_is_completed_and_changed_sources_are_stored_anew(videos: VideoList, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    build_cache(folder, videos, (16, 24), workers=1)
    paths = [cached_path(folder, record) for record in videos.records]
    kept = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    build_cache(folder, videos, (16, 24))
    assert paths[0].stat().st_mtime_ns == kept
    assert paths[1].exists()
    cache = FrameCache(folder, (16, 24))
    assert cache.read(videos.records[1], [29, 0]).shape == (2, 16, 24, 3)
    videos.records[2].path.write_bytes(b"broken")
    reasons = build_cache(folder, videos, (16, 24))
    assert list(reasons) == [videos.records[2].id]
    with pytest.raises(ValueError, match="is not in the cache"):
        cache.read(videos.records[2], [0])


def test_another_size_or_no_cache_is_refused(videos: VideoList, tmp_path: Path) -> None:
    build_cache(tmp_path / "cache", videos, 32)
    with pytest.raises(ValueError, match=r"a cache made with another size \(\[32, 32\], now \[16, 16\]\)"):
        ClipDataset(videos, 9, 16, fps=8, cache=tmp_path / "cache")
    with pytest.raises(ValueError, match=r"has no cache\.json"):
        ClipDataset(videos, 9, 16, fps=8, cache=tmp_path / "toy")


def test_a_broken_cache_file_is_named(videos: VideoList, tmp_path: Path) -> None:
    build_cache(tmp_path / "cache", videos, 32)
    path = cached_path(tmp_path / "cache", videos.records[0])
    path.write_bytes(path.read_bytes()[:1000])
    clips = ClipDataset(videos, 9, 32, fps=8, cache=tmp_path / "cache")
    with pytest.raises(TooManyUnreadableError, match="RedSquareRight_g01_c01"):
        clips[0]

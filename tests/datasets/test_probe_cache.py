"""Videos are looked into once, for as long as nobody touches them."""

from pathlib import Path

import pytest

from parvideo.datasets import probe_cache as looking
from parvideo.datasets.clips import ClipDataset
from parvideo.datasets.metadata_cache import _seen
from parvideo.datasets.probing import probe
from parvideo.datasets.video_info import UnreadableVideoError, VideoInfo
from parvideo.datasets.videos import VideoRecord
from tests.video_files import MILLISECOND, grey, uneven_ticks, write


def test_a_video_is_looked_into_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another start opens no file again; one of equal size under the old name is seen."""
    ticks = uneven_ticks(2000)
    paths = [
        write(tmp_path / "a.mp4", map(grey, range(len(ticks))), ticks=ticks, time_base=MILLISECOND),
        write(tmp_path / "b.avi", map(grey, range(40)), "mpeg4"),
    ]
    monkeypatch.setattr("parvideo.datasets.metadata_cache._SETTLED", -(10**18))
    monkeypatch.setenv("PARVIDEO_CACHE", str(tmp_path / "kept"))
    found = looking.look_into(paths)
    assert found == [probe(path) for path in paths]
    _seen.clear()  # as in another process
    asked = []
    monkeypatch.setattr(looking, "probe", lambda path: (asked.append(path.name), probe(path))[1])
    assert looking.look_into(paths) == found
    records = [VideoRecord(path, 0, path.stem, path.stem) for path in paths]
    assert len(ClipDataset(records, 4, 16, fps=8.0)) == 2
    assert asked == []
    size = paths[1].stat().st_size
    write(paths[1], map(grey, range(39)), "mpeg4")
    with paths[1].open("ab") as file:
        file.write(bytes(size - paths[1].stat().st_size))
    again = looking.look_into(paths)
    assert isinstance(again[1], VideoInfo)
    assert (asked, again[1].frames) == (["b.avi"], 39)


def test_unreadable_videos_are_named_not_kept(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    found = looking.look_into([tmp_path / "a.mp4", tmp_path / "absent.mp4"])
    assert all(isinstance(failure, UnreadableVideoError) for failure in found)
    assert ["a.mp4" in str(found[0]), "absent.mp4" in str(found[1])] == [True, True]

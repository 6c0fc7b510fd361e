"""Probing: the frames that are shown, and the rate, whatever the container says."""

from pathlib import Path

import numpy as np
import pytest

from parvideo.datasets.clips import ClipDataset
from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_frames
from parvideo.datasets.videos import VideoRecord
from tests.video_files import MILLISECOND, copy_from, grey, numbers, uneven_ticks, write

QUIET = {"x265-params": "log-level=none"}


def test_a_browsers_webm_states_no_rate(tmp_path: Path) -> None:
    ticks = uneven_ticks(3000)
    path = tmp_path / "a.webm"
    options = {"lag-in-frames": "0", "deadline": "realtime"}
    write(
        path, map(grey, range(len(ticks))), "libvpx", ticks, MILLISECOND, options, file_options={"live": "1"}
    )
    data = bytearray(path.read_bytes())
    at = data.find(b"\x23\xe3\x83")  # DefaultDuration, which browsers do not write, becomes a Void
    if at >= 0:
        total = 4 + (data[at + 3] & 0x7F)
        data[at : at + total] = bytes([0xEC, 0x80 | (total - 2)]) + bytes(total - 2)
        path.write_bytes(data)
    info = probe(path)
    assert info.frames == len(ticks)
    assert abs(info.fps / ((len(ticks) - 1) / (ticks[-1] / 1000)) - 1) < 0.01


@pytest.mark.parametrize(("codec", "dropped"), [("mpeg4", range(12, 19)), ("libx264", range(30, 32))])
def test_avi_with_dropped_frames(tmp_path: Path, codec: str, dropped: range) -> None:
    """AVI counts time in chunks: an empty one says that the picture stays."""
    ticks = [tick for tick in range(60) if tick not in dropped]
    path = write(tmp_path / "a.avi", map(grey, ticks), codec, ticks, options={"bf": "0"})
    info = probe(path)
    assert info.frames == len(ticks)
    assert info.times == tuple(tick / 25 for tick in ticks)
    assert numbers(read_frames(path, range(len(ticks)))) == ticks
    assert info.highest_fps == pytest.approx(25)
    seen = numbers(clips_of(path, 7, 8.0, "all")[0]["clip"])
    assert all(abs(number - 25 * k / 8) < 1 + len(dropped) for k, number in enumerate(seen))


def test_a_coders_delay_is_no_time(tmp_path: Path) -> None:
    """Empty chunks right after the first picture, as in a sixth of the clips of six classes of UCF-101."""
    ticks = [0, *range(3, 40)]
    path = write(tmp_path / "a.avi", map(grey, ticks), "mpeg4", ticks, options={"bf": "0"})
    assert (probe(path).frames, probe(path).fps, probe(path).times) == (38, 25, None)


def test_what_an_edit_list_hides_is_no_frame(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", map(grey, range(60)), options={"g": "250", "bf": "2"})
    path = copy_from(whole, tmp_path / "cut.mp4", 1.2)
    info = probe(path)
    assert (info.frames, info.fps, info.backend) == (30, 25, "pyav")
    assert numbers(read_frames(path, range(30))) == list(range(30, 60))
    assert numbers(read_frames(path, [29, 7])) == [59, 37]


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_hevc_cut_between_key_frames(tmp_path: Path, suffix: str) -> None:
    """Pictures that lead the first key frame refer to what was cut off: they are not shown, nor counted."""
    options = {"x265-params": "log-level=none:keyint=20:min-keyint=20:open-gop=1:bframes=3:scenecut=0"}
    whole = write(tmp_path / "whole.mkv", map(grey, range(60)), "libx265", options=options)
    path = copy_from(whole, tmp_path / f"cut.{suffix}", 1.0)
    info = probe(path)
    seen = numbers(read_frames(path, range(info.frames)))
    assert len(seen) >= 20
    assert seen == list(range(seen[0], 60))
    assert numbers(read_frames(path, [info.frames - 1, 3])) == [59, seen[3]]


def test_joined_and_cut_transport_streams(tmp_path: Path) -> None:
    """Times begin anew where two were joined; the beginning of a recording is no key frame."""
    one = write(tmp_path / "a.ts", map(grey, range(50)), "mpeg2video", options={"g": "12", "bf": "2"})
    (tmp_path / "two.ts").write_bytes(one.read_bytes() * 2)
    info = probe(tmp_path / "two.ts")
    assert (info.frames, info.fps, info.times) == (100, 25, None)
    assert numbers(read_frames(tmp_path / "two.ts", [10, 49, 50, 99])) == [10, 49, 0, 49]
    (tmp_path / "late.ts").write_bytes(one.read_bytes()[len(one.read_bytes()) // 188 // 3 * 188 :])
    late = probe(tmp_path / "late.ts")
    seen = numbers(read_frames(tmp_path / "late.ts", range(late.frames)))
    assert np.abs(np.array(seen) - range(50 - len(seen), 50)).max() <= 1  # MPEG-2 rounds the grey
    assert 10 < len(seen) < 50


def test_one_frame_has_no_rate_to_state(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "ffv1"), ("a.avi", "mpeg4")):
        info = probe(write(tmp_path / name, [grey(9)], codec))
        assert info.frames == 1
        assert info.fps > 0
        assert numbers(read_frames(tmp_path / name, [0, 0])) == [9, 9]


def clips_of(path: Path, frames: int, fps: float, policy: str = "random") -> ClipDataset:
    record = VideoRecord(path, 0, path.stem, path.stem)
    return ClipDataset([record], frames, (32, 160), fps=fps, policy=policy)  # type: ignore[arg-type]

"""Time as it was recorded: which frames are shown, when, and so which frames a clip has."""

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parvideo.datasets.clips import ClipDataset
from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_chunks, read_frames
from parvideo.datasets.video_info import VideoInfo
from parvideo.datasets.videos import VideoRecord
from tests.video_files import MILLISECOND, Picture, copy_from, grey, numbers, write

QUIET = {"x265-params": "log-level=none"}
VARYING = [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.mov", "libx265"), ("a.webm", "libvpx")]


def uneven_ticks(milliseconds: int) -> list[int]:
    """As a browser or a phone takes pictures."""
    chance = random.Random(0)
    ticks = [0]
    while ticks[-1] < milliseconds:
        ticks.append(ticks[-1] + chance.choice([16, 33, 33, 34, 50, 17, 100]))
    return ticks


def bar(seconds: float, height: int = 32, width: int = 160) -> Picture:
    """A bar that moves 20 pixels a second."""
    picture = np.zeros((height, width, 3), np.uint8)
    place = 10 + int(seconds * 20)
    picture[:, place : place + 6] = 255
    return picture


def places(clip: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Where the bar is in each frame, in pixels."""
    rows = clip[:, 16, :, 0].double().numpy()
    found: np.ndarray[Any, np.dtype[np.float64]] = (rows * np.arange(160)).sum(1) / rows.sum(1)
    return found


def clips_of(path: Path, frames: int, fps: float, policy: str = "random") -> ClipDataset:
    record = VideoRecord(path, 0, path.stem, path.stem)
    return ClipDataset([record], frames, (32, 160), fps=fps, policy=policy)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "codec"), VARYING)
def test_a_steady_motion_stays_steady_at_a_varying_rate(tmp_path: Path, name: str, codec: str) -> None:
    ticks = uneven_ticks(5000)
    options = QUIET if codec == "libx265" else {"lag-in-frames": "0", "b": "1M"} if "vpx" in codec else {}
    pictures = (bar(tick / 1000) for tick in ticks)
    path = write(tmp_path / name, pictures, codec, ticks, MILLISECOND, options)
    info = probe(path)
    assert info.frames == len(ticks)
    assert abs(info.fps / ((len(ticks) - 1) / (ticks[-1] / 1000)) - 1) < 0.001
    assert info.times is not None
    assert np.allclose(info.times, np.array(ticks) / 1000, atol=0.001)
    for fps in (4.0, 8.0, 10.0):
        for epoch in range(2):
            seen = places(clips_of(path, 12, fps).draw(epoch, 0)["clip"])
            # Half of the longest gap (100 ms) early or late, and a pixel.
            assert np.abs(seen - seen[0] - 20 * np.arange(12) / fps).max() < 2.1


def test_a_video_of_two_rates_gives_clips_of_its_time(tmp_path: Path) -> None:
    """2 s at 30 frames a second, then 4 s at 5: 80 frames, and as long as any other of 6 s."""
    ticks = [*range(60), *range(60, 180, 6)]
    path = write(tmp_path / "a.mp4", (bar(t / 30) for t in ticks), ticks=ticks, time_base=Fraction(1, 30))
    info = probe(path)
    assert (info.frames, round(info.highest_fps, 3)) == (80, 30)
    assert abs(info.seconds - 6) < 0.2
    steps = np.diff(places(clips_of(path, 17, 4.0, "center")[0]["clip"]))
    assert steps.min() > 2
    assert steps.max() < 9
    assert info.part((0, 0.5)) == (0, 65)  # 3 s: all of the fast part, and a fourth of the slow one
    first, second = (info.part(span) for span in ((0.0, 0.8), (0.8, 1.0)))
    assert first[1] == second[0]
    several = clips_of(path, 5, 4.0, "all")
    starts = [start for _, start in several.places()]
    assert [info.frames_from(start, 5, 4.0, None)[-1] + 1 for start in starts[:-1]] == starts[1:]


def test_a_held_picture_is_shown_until_the_next_one_appears() -> None:
    """A recording of a screen: the picture stands for seconds, and then many follow."""
    info = VideoInfo(5, 4 / 6.2, 1, 1, "mov", "h264", "yuv420p", True, times=(0.0, 0.1, 0.2, 6.1, 6.2))
    assert info.frames_from(0, 26, 4.0, None) == [0, *[2] * 23, 3, 4]  # the 3rd a tenth early
    assert info.highest_fps == pytest.approx(10)


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


@pytest.mark.parametrize(("name", "codec"), VARYING)
def test_seeking_gives_the_frames_that_reading_through_gives(tmp_path: Path, name: str, codec: str) -> None:
    ticks = uneven_ticks(2500)
    options = {"g": "12"} | (QUIET if codec == "libx265" else {})
    path = write(tmp_path / name, map(grey, range(len(ticks))), codec, ticks, MILLISECOND, options)
    info = probe(path)
    whole = torch.cat(list(read_chunks(path, 7, info=info)))
    assert len(whole) == info.frames == len(ticks)
    for seed in range(12):
        indices = random.Random(seed).sample(range(len(ticks)), 4)
        assert torch.equal(read_frames(path, indices, info=info), whole[indices])


def test_chunks_are_read_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from parvideo.datasets import reading

    path = write(tmp_path / "a.avi", map(grey, range(50)), "mpeg4")
    info = probe(path)
    opened = []
    plain = reading.open_video
    monkeypatch.setattr(reading, "open_video", lambda path: (opened.append(path), plain(path))[1])
    chunks = list(read_chunks(path, 16, info=info))
    assert [len(chunk) for chunk in chunks] == [16, 16, 16, 2]
    assert numbers(torch.cat(chunks)) == list(range(50))
    assert len(opened) == 1
    with pytest.raises(ValueError, match="length is 0"):
        next(read_chunks(path, 0))


@given(
    fps=st.floats(1, 60),
    rate=st.sampled_from([24.0, 25.0, 30000 / 1001, 30.0, 50.0]),
    start=st.integers(0, 20),
    count=st.integers(1, 20),
)
def test_even_times_choose_what_a_constant_rate_does(fps: float, rate: float, start: int, count: int) -> None:
    """The rule of frames by their times has the rule of a constant rate as its special case."""
    fps = min(fps, rate)
    total = start + int(count * rate / fps) + 2
    even = VideoInfo(total, rate, 1, 1, "avi", "mpeg4", "yuv420p", False)
    timed = VideoInfo(
        total, rate, 1, 1, "avi", "mpeg4", "yuv420p", False, times=tuple(k / rate for k in range(total))
    )
    chosen = even.frames_from(start, count, fps, None)
    assert chosen == [start + int(k * rate / fps + 0.5) for k in range(count)]
    near = [
        abs((k * rate / fps + 0.5) % 1) < 1e-3 or (k * rate / fps + 0.5) % 1 > 0.999 for k in range(count)
    ]
    for ours, theirs, tie in zip(chosen, timed.frames_from(start, count, fps, None), near, strict=True):
        assert ours == theirs or tie
    if not any(near):
        assert even.starts(0, total, count, fps, None) == timed.starts(0, total, count, fps, None)


def test_ucf101s_clips_are_chosen_as_ever(shared_folder: Path) -> None:
    """At a constant rate by rounding k fps / rate; of 20 real clips none has another."""
    videos = sorted((shared_folder / "data/ucf101_six/UCF-101").glob("*/*_g0[13]_c01.avi"))
    assert len(videos) == 12
    for path in videos:
        info = probe(path)
        assert (info.times, info.height, info.width, info.as_stored) == (None, 128, 172, True)
        rate = {25.0: 25.0}.get(info.fps, 30000 / 1001)
        assert info.frames_from(3, 17, 8.0, None) == [3 + int(k * rate / 8 + 0.5) for k in range(17)]


def test_advice_fits_the_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", map(grey, range(40)), "mpeg4")
    record = VideoRecord(path, 0, "a", "a")
    with pytest.raises(ValueError, match=r"25 frames a second, fewer than the 50 .*ask for a lower fps$"):
        ClipDataset([record], 9, 16, fps=50)
    with pytest.raises(ValueError, match=r"40 frames to draw.*ask for fewer frames or a higher fps"):
        ClipDataset([record], 17, 16, fps=8)
    with pytest.raises(ValueError, match=r"ask for fewer frames or a smaller stride$"):
        ClipDataset([record], 17, 16, stride=4)

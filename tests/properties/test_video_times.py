"""Time as it was recorded: which frames are shown, when, and so which frames a clip has."""

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parvideo.datasets.clips import ClipDataset
from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_chunks, read_frames
from parvideo.datasets.videos import VideoRecord
from tests.video_files import MILLISECOND, Picture, grey, numbers, uneven_ticks, write

QUIET = {"x265-params": "log-level=none"}
VARYING = [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.mov", "libx265"), ("a.webm", "libvpx")]


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
            seen = places(clips_of(path, 12, fps).clip_at(epoch, 0)["clip"])
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

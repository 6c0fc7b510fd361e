"""What is known of a video: which frames a clip has, at a constant rate and by their times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parvideo.datasets.video_info import VideoInfo


def test_a_held_picture_is_shown_until_the_next_one_appears() -> None:
    """A recording of a screen: the picture stands for seconds, and then many follow."""
    info = VideoInfo(5, 4 / 6.2, 1, 1, "mov", "h264", "yuv420p", True, times=(0.0, 0.1, 0.2, 6.1, 6.2))
    assert info.frames_from(0, 26, 4.0, None) == [0, *[2] * 23, 3, 4]  # the 3rd a tenth early
    assert info.highest_fps == pytest.approx(10)


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

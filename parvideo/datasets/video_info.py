"""What is known of a video file: the pictures as they are shown, and the time at which each is."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# Only here was decord seen to return PyAV's frames bit for bit (test_reading.py). It cannot open AV1, rounds
# 10-bit video differently and returned another frame on a seek in H.265.
_EXACT_IN_DECORD = {("mov", "h264", "yuv420p"), ("mov", "mpeg4", "yuv420p")}

IMAGE = "image"
"""The container of what Pillow reads: still images and animated ones."""


class UnreadableVideoError(ValueError):
    """A video file that cannot be opened, decoded, or does not hold what its header promises."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it survives the pickling out of a worker process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class VideoInfo:
    """What is in a video file.

    Frames are counted as they are shown: those that an edit list hides, or that no decoder can show
    because what they refer to was cut off, are none.

    Attributes:
        frames: counted, not taken from the header.
        fps: frames a second; the mean where they vary.
        height: pixels, of the picture as it is shown: turned, and with square pixels.
        width: pixels, likewise.
        container: FFmpeg's name, as ``codec`` and ``pixel_format`` are; "image" for what Pillow reads.
        codec: of the pictures.
        pixel_format: of the coded pictures.
        seekable: decoding may begin at any key frame: presentation times are there, and no frame stored after
            a key frame is shown before it (no open groups of pictures); or there is one key frame alone. In
            other files, UCF-101's AVI among them, decord returns wrong frames after a seek and says nothing.
        stream: the number of the video stream in the file.
        coded_height: pixels, of the picture as it is stored.
        coded_width: pixels, likewise.
        orientation: how the stored picture is to be turned, in EXIF's numbers: 1 not at all, 2 mirrored,
            3 by 180 degrees, 4 upside down, 5 transposed, 6 by 90 degrees clockwise, 7 transposed and then by
            180, 8 by 90 degrees counterclockwise.
        first_pts: presentation time of frame 0, in the stream's ticks; None if the file has no times to tell
            frames by, so that they are counted.
        times: seconds at which each frame appears, from 0; None for a constant rate, where frame k appears
            at k / fps.
        plain: nothing is hidden and there is no other picture stream, so that any decoder counts alike.
    """

    frames: int
    fps: float
    height: int
    width: int
    container: str
    codec: str
    pixel_format: str
    seekable: bool
    stream: int = 0
    coded_height: int = 0
    coded_width: int = 0
    orientation: int = 1
    first_pts: int | None = None
    times: tuple[float, ...] | None = None
    plain: bool = True

    def __post_init__(self) -> None:
        """Take what JSON gives back: lists, and manifests of before coded sizes were kept apart."""
        object.__setattr__(self, "times", None if self.times is None else tuple(self.times))
        object.__setattr__(self, "coded_height", self.coded_height or self.height)
        object.__setattr__(self, "coded_width", self.coded_width or self.width)

    @property
    def as_stored(self) -> bool:
        """Whether the picture is shown as it is stored."""
        return self.orientation == 1 and (self.height, self.width) == (self.coded_height, self.coded_width)

    @property
    def backend(self) -> Literal["decord", "pyav"]:
        """The decoder that ``backend="auto"`` takes for this file."""
        known = (self.container, self.codec, self.pixel_format) in _EXACT_IN_DECORD
        return "decord" if known and self.decord_refusal is None else "pyav"

    @property
    def decord_refusal(self) -> str | None:
        """Why decord would return other frames, or None."""
        if not self.seekable:
            return "decord would seek wrongly in it"
        if not self.plain or self.times is not None:
            return "decord would count its frames differently (hidden frames, further streams, varying rate)"
        if not self.as_stored:
            return "decord would not show its pictures as they are meant (turned, pixels that are not square)"
        return None

    @cached_property
    def _times(self) -> NDArray[np.float64]:
        assert self.times is not None
        return np.array(self.times)

    @property
    def highest_fps(self) -> float:
        """Up to which rate clips can be cut: that at which half of the frames follow one another, or faster.

        Where the rate varies, as in a recording of a screen, the picture stands still in the long gaps.
        """
        if self.times is None:
            return self.fps
        return max(self.fps, 1 / float(np.median(np.diff(self._times))))

    @property
    def seconds(self) -> float:
        """How long the video lasts; its last frame is shown as long as the mean."""
        return self.time(self.frames - 1) + 1 / self.fps

    def time(self, frame: int) -> float:
        """Seconds at which a frame appears."""
        return frame / self.fps if self.times is None else self.times[frame]

    def frames_from(self, start: int, count: int, fps: float | None, stride: int | None) -> list[int]:
        """The frames of a clip that begins at frame ``start``: by its ``fps``, or else every ``stride``-th.

        By ``fps`` it is the frames nearest to the times 0, 1/fps, 2/fps, ... from where ``start`` appears (of
        two equally near the later), but none more than half a step before it appears. Numbers of ``frames``
        and above mean that the video ends before.
        """
        if stride is not None:
            return [start + k * stride for k in range(count)]
        assert fps is not None
        if self.times is None:
            return [start + int(k * self.fps / fps + 0.5) for k in range(count)]
        # A frame is nearest from the middle of the gap before it on, and of a long gap, in which the picture
        # stands still, from half a step of the clip before it. The last one is shown as long as the mean.
        # Times are rounded to a file's ticks, so that a middle is meant within a microsecond.
        appears = self._times
        gaps = np.append(np.diff(appears), 1 / self.fps)
        follows = np.append(appears[1:], appears[-1] + 1 / self.fps)
        middles = follows - np.minimum(gaps, 1 / fps) / 2 - 1e-6
        wanted = appears[start] + np.arange(count) / fps
        wanted[0] = appears[start]
        return [start, *np.searchsorted(middles, wanted[1:], side="right").tolist()]

    def starts(self, first: int, end: int, count: int, fps: float | None, stride: int | None) -> range:
        """All frames from which a clip (see :meth:`frames_from`) lies within ``[first, end)``."""
        places = range(first, end)
        fit = bisect_left(
            places, True, key=lambda start: self.frames_from(start, count, fps, stride)[-1] >= end
        )
        return places[:fit]

    def middle(self, starts: range) -> int:
        """The one of some frames that appears in the middle of their time, the earlier of two."""
        if self.times is None:
            return starts[(len(starts) - 1) // 2]
        half = (self.times[starts[0]] + self.times[starts[-1]]) / 2
        return min(starts, key=lambda frame: abs(self.time(frame) - half))

    def too_short(self, span: tuple[float, float], count: int, fps: float | None, stride: int | None) -> str:
        """Why a part of the video holds no clip, in words: by frames, or by seconds where the rate varies."""
        if self.times is None or fps is None:
            first, end = self.part(span)
            takes = self.frames_from(0, count, fps, stride)[-1] + 1
            return f"has {end - first} frames to draw from, a clip takes {takes}"
        there = (span[1] - span[0]) * self.seconds
        return f"has {there:.3g} s to draw from, a clip takes {(count - 1) / fps:.3g} s"

    def part(self, span: tuple[float, float]) -> tuple[int, int]:
        """The frames ``[first, end)`` that lie in a part of the video's time, by fractions of its length."""
        if self.times is None:
            first, end = (int(edge * self.frames + 0.5) for edge in span)
        else:
            first, end = (bisect_left(self.times, edge * self.seconds - 1e-6) for edge in span)
        return first, end


def constant_rate(times: Sequence[float], stated: float | None, tick: float) -> float | None:
    """The rate at which frame k appears at k / rate for all of these times, or None if there is none.

    The rate that the file states is taken if it holds, else the one from the first frame to the last.

    Args:
        times: seconds, rising, from 0.
        stated: frames a second according to the file, or None.
        tick: seconds, what times are rounded to.
    """
    if len(times) < 2:
        return stated or 1.0
    for rate in (stated, (len(times) - 1) / times[-1]):
        if rate:
            step = 1 / rate
            most = min(max(1.01 * tick, 0.02 * step), 0.25 * step)
            if np.abs(np.array(times) - np.arange(len(times)) * step).max() <= most:
                return rate
    return None

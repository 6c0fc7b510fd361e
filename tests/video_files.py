"""Small video files of every kind, for tests: frame k can be told by its grey, or a bar moves steadily."""

import random
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
MILLISECOND = Fraction(1, 1000)


def grey(number: int, height: int = 48, width: int = 64) -> Picture:
    """Frame k is grey at level 4 k, up to 63; then it begins anew."""
    return np.full((height, width, 3), 4 * (number % 64), np.uint8)


def numbers(frames: Any) -> list[int]:
    """Which frames these are, by their grey."""
    values = np.asarray(frames).astype(float).mean((1, 2, 3)) / 4
    return [round(value) for value in values]


def quarters(height: int = 48, width: int = 80) -> Picture:
    """A picture of which every turn is another one: four quarters of four colours."""
    picture = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2, width // 4
    picture[:top, :left] = (220, 30, 30)
    picture[top:, :left] = (30, 220, 30)
    picture[:top, left:] = (30, 30, 220)
    picture[top:, left:] = (200, 200, 40)
    return picture


def write(
    path: Path,
    pictures: Iterable[Picture],
    codec: str = "libx264",
    ticks: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    prepare: Callable[[Any], None] = lambda stream: None,
    file_options: dict[str, str] | None = None,
) -> Path:
    """Encode pictures, shown at ``ticks`` of ``time_base`` (one tick each by default)."""
    finest = {"qmin": "1", "qmax": "1"} if codec == "mpeg4" else {}
    with av.open(str(path), "w", options=file_options or {}) as container:
        stream: Any = None
        for number, picture in enumerate(pictures):
            if stream is None:
                stream = container.add_stream(codec, rate=1 / time_base, options=(options or {}) | finest)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pixel_format
                stream.codec_context.time_base = time_base
                prepare(stream)
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = (number if ticks is None else ticks[number]), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def copy_from(source: Path, target: Path, seconds: float) -> Path:
    """What `ffmpeg -ss SECONDS -i SOURCE -c copy TARGET` does: from the key frame before on, shifted."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        assert stream.time_base is not None
        shift = int(seconds / stream.time_base)
        old.seek(shift, stream=stream)
        for packet in old.demux(stream):
            if packet.size > 0:
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
                packet.stream = copy
                new.mux(packet)
    return target


def shown_by_ffmpeg(path: Path, filters: str = "null") -> Picture:
    """What the ffmpeg command shows: uint8 ``[T, H, W, 3]``."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("the ffmpeg command is not installed")
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-vf", filters]
    command += ["-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    frames = []
    while data:
        _, size, _, rest = data.split(b"\n", 3)
        width, height = map(int, size.split())
        count = 3 * width * height
        frames.append(np.frombuffer(rest[:count], np.uint8).reshape(height, width, 3))
        data = rest[count:]
    return np.stack(frames)


def uneven_ticks(milliseconds: int) -> list[int]:
    """As a browser or a phone takes pictures."""
    chance = random.Random(0)
    ticks = [0]
    while ticks[-1] < milliseconds:
        ticks.append(ticks[-1] + chance.choice([16, 33, 33, 34, 50, 17, 100]))
    return ticks

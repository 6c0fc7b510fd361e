"""Pictures as people see them: turned, with square pixels, whichever the container, coding and decoder."""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_frames
from parvideo.datasets.transforms import resize_and_crop
from parvideo.datasets.video_info import UnreadableVideoError
from tests.video_files import Picture, grey, numbers, quarters, shown_by_ffmpeg, write

TURNS = list(itertools.product((0, 90, 180, 270), (False, True)))
KINDS = [("mp4", "libx264"), ("mov", "libx265"), ("mp4", "mpeg4"), ("mkv", "libx264"), ("mkv", "libx265")]


def turned(picture: Picture, degrees: int, mirrored: bool) -> Picture:
    """By so many degrees counterclockwise and then, maybe, mirrored."""
    picture = np.rot90(picture, degrees // 90)
    return picture[:, ::-1] if mirrored else picture


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
def test_the_display_matrix_turns_the_picture(tmp_path: Path, suffix: str, codec: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    for degrees, mirrored in TURNS:
        path = write(
            tmp_path / f"{degrees}{mirrored}.{suffix}",
            [quarters()] * 3,
            codec,
            options=options,
            prepare=lambda stream, turn=(degrees, mirrored): stream.set_display_rotation(  # type: ignore[misc]
                turn[0], hflip=turn[1]
            ),
        )
        info = probe(path)
        shown = read_frames(path, [0, 2], info=info).numpy()
        expected = turned(quarters(), degrees, mirrored)
        assert shown.shape[1:] == expected.shape == (info.height, info.width, 3)
        assert np.abs(shown.astype(int) - expected).mean() < 8, (degrees, mirrored)
        assert torch.equal(read_frames(path, [0, 2], "pyav"), torch.from_numpy(shown))
        if degrees or mirrored:
            with pytest.raises(UnreadableVideoError, match="decord"):
                read_frames(path, [0], "decord")


def test_a_matrix_of_no_right_angle_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [grey(9)], prepare=lambda stream: stream.set_display_rotation(30))
    with pytest.raises(UnreadableVideoError, match=r"turned by -?30 degrees; right angles"):
        probe(path)


def disc(aspect: Fraction, height: int = 120, width: int = 180) -> Picture:
    """What must be stored so that a disc is seen where pixels are ``aspect`` times as wide as high."""
    rows, columns = np.mgrid[:height, :width]
    inside = np.hypot((columns - width / 2) * float(aspect), rows - height / 2) < 45
    return np.repeat(np.where(inside, 255, 0).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.mark.parametrize(
    ("name", "codec", "aspect", "turn"),
    [
        ("a.mp4", "libx264", Fraction(2), 0),
        ("b.mpg", "mpeg2video", Fraction(32, 27), 0),
        ("c.avi", "mpeg4", Fraction(16, 11), 0),
        ("d.mkv", "libx264", Fraction(8, 9), 0),
        ("e.mov", "mpeg4", Fraction(4, 3), 90),
        ("f.mkv", "libx264", Fraction(3, 4), 270),
    ],
)
def test_a_disc_stays_a_disc(tmp_path: Path, name: str, codec: str, aspect: Fraction, turn: int) -> None:
    def prepare(stream: object) -> None:
        stream.codec_context.sample_aspect_ratio = aspect  # type: ignore[attr-defined]
        if turn:
            stream.set_display_rotation(turn)  # type: ignore[attr-defined]

    path = write(tmp_path / name, [disc(aspect)] * 4, codec, options={"qscale": "2"}, prepare=prepare)
    info = probe(path)
    sides = (round(180 * aspect), 120)
    assert (info.width, info.height) == (sides[::-1] if turn else sides)
    frames = read_frames(path, [2])
    assert frames.shape[1:3] == (info.height, info.width)
    white = resize_and_crop(frames, 96)[0, :, :, 1] > 128
    high, wide = white.any(1).sum().item(), white.any(0).sum().item()
    assert abs(high / wide - 1) < 0.05


def test_what_rounding_leaves_of_square_pixels_is_not_resampled(tmp_path: Path) -> None:
    """As in the six classes of UCF-101 that were reduced to 172x128."""

    def prepare(stream: object) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(128, 129)  # type: ignore[attr-defined]

    path = write(tmp_path / "a.avi", [grey(9, 128, 172)], "mpeg4", prepare=prepare)
    assert (probe(path).height, probe(path).width, probe(path).as_stored) == (128, 172, True)


def test_a_header_of_absurd_pixels_is_refused(tmp_path: Path) -> None:
    def prepare(stream: object) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(40)  # type: ignore[attr-defined]

    path = write(tmp_path / "a.mp4", [grey(9)], prepare=prepare)
    with pytest.raises(UnreadableVideoError, match="40 times as wide as high"):
        probe(path)


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [("libx264", "yuv420p"), ("libx265", "yuv420p10le"), ("libx264", "yuv444p"), ("libx264", "yuvj420p")],
)
def test_colours_are_those_of_the_ffmpeg_command(tmp_path: Path, codec: str, pixel_format: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write(
        tmp_path / "a.mkv", [quarters(), quarters()[::-1]], codec, options=options, pixel_format=pixel_format
    )
    ours = read_frames(path, [0, 1]).numpy().astype(int)
    theirs = shown_by_ffmpeg(path)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 2


def test_cover_pictures_and_sound_are_passed_over(tmp_path: Path) -> None:
    """Sound first; a cover that is declared one; a cover that looks like a video stream, before the film."""
    import av

    def add_cover(container: av.container.OutputContainer) -> av.VideoStream:
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        return cover

    for name, declared in (("a.mkv", False), ("b.mov", True), ("c.mov", False)):
        with av.open(str(tmp_path / name), "w") as container:
            sound = container.add_stream("pcm_s16le", rate=8000)
            cover = add_cover(container)
            film = container.add_stream("libx264", rate=25)
            film.height, film.width, film.pix_fmt = 48, 64, "yuv420p"
            if declared:
                cover.disposition = av.stream.Disposition.attached_pic
            container.mux(cover.encode(av.VideoFrame.from_ndarray(quarters(32, 32))))
            container.mux(cover.encode(None))
            silence = av.AudioFrame(format="s16", layout="mono", samples=1024)
            silence.sample_rate, silence.pts = 8000, 0
            container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
            for number in range(20):
                container.mux(film.encode(av.VideoFrame.from_ndarray(grey(number))))
            container.mux(film.encode(None))
        info = probe(tmp_path / name)
        assert (info.frames, info.height, info.width) == (20, 48, 64), name
        assert numbers(read_frames(tmp_path / name, [3, 19])) == [3, 19]


@pytest.mark.parametrize("name", ["a.mov", "a.webm", "a.mkv"])
def test_sound_alone_is_no_video_and_not_cut_short(tmp_path: Path, name: str) -> None:
    import av

    with av.open(str(tmp_path / name), "w") as container:
        codec, form = ("libopus", "flt") if name.endswith("webm") else ("pcm_s16le", "s16")
        stream = container.add_stream(codec, rate=48000)
        silence = av.AudioFrame(format=form, layout="mono", samples=960)
        silence.sample_rate, silence.pts = 48000, 0
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableVideoError, match="holds no video stream, only sound"):
        probe(tmp_path / name)

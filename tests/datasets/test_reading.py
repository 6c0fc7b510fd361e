"""Reading: the right frame whichever the decoder, and every broken file named."""

import dataclasses
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_frames
from parvideo.datasets.video_info import UnreadableVideoError
from parvideo.datasets.writing import write_avi, write_mp4
from parvideo.synthetic.shapes import ShapesSettings, SyntheticVideo, render_shapes_clip

SETTINGS = ShapesSettings(height=48, width=64, frames=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos")
    clip = render_shapes_clip(SETTINGS, SyntheticVideo(0, 1, 1))
    write_avi(path / "a.avi", clip, 25)
    write_mp4(path / "a.mp4", clip, 29.97)
    return path


def real_clips(shared_folder: Path) -> list[Path]:
    return sorted((shared_folder / "data/real_clips").glob("*/*"))


def test_probe_of_ucf101s_first_test_clip(shared_folder: Path) -> None:
    info = probe(shared_folder / "data/real_clips/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi")
    assert (info.frames, info.fps, info.height, info.width) == (164, 25.0, 240, 320)
    assert (info.container, info.codec, info.backend) == ("avi", "mpeg4", "pyav")


def test_decord_and_pyav_agree_bit_for_bit_wherever_auto_takes_decord(
    shared_folder: Path, folder: Path
) -> None:
    compared = 0
    for path in [*real_clips(shared_folder), folder / "a.mp4"]:
        info = probe(path)
        # As stored: decord does not show pixels that are not square as they are meant, and is not taken.
        info = dataclasses.replace(info, height=info.coded_height, width=info.coded_width)
        if info.backend != "decord":
            continue
        whole = read_frames(path, range(info.frames), "pyav", info=info)
        for seed in range(8):
            start = random.Random(seed).randrange(info.frames - 40)
            indices = range(start, start + 40, 7)
            assert torch.equal(read_frames(path, indices, "decord", info=info), whole[indices])
            compared += 1
    assert compared == 24


def write_with(path: Path, codec: str, options: dict[str, str]) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = SETTINGS.width, SETTINGS.height, "yuv420p"
        for frame in render_shapes_clip(SETTINGS, SyntheticVideo(0, 1, 1)).numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "options", "backend"),
    [
        ("mpeg4", {"g": "12", "bf": "0"}, "decord"),
        ("libx264", {"g": "12", "bf": "3"}, "decord"),
        ("libx264", {"g": "1"}, "decord"),
        # Open groups of pictures: decord returns other frames after a seek, in silence.
        ("mpeg4", {"g": "12", "bf": "2"}, "pyav"),
        ("libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1"}, "pyav"),
    ],
)
def test_auto_takes_decord_only_where_its_seeks_are_right(
    tmp_path: Path, codec: str, options: dict[str, str], backend: str
) -> None:
    path = write_with(tmp_path / "a.mp4", codec, options)
    info = probe(path)
    assert info.backend == backend
    whole = read_frames(path, range(60), "pyav")
    for seed in range(30):
        indices = random.Random(seed).sample(range(60), 5)
        assert torch.equal(read_frames(path, indices), whole[indices])
        assert torch.equal(read_frames(path, indices, info=info), whole[indices])


def test_decord_is_refused_where_it_seeks_wrongly(folder: Path) -> None:
    """AVI without presentation times and with several key frames: decord would return other frames."""
    with pytest.raises(UnreadableVideoError, match="decord would seek wrongly"):
        read_frames(folder / "a.avi", [0, 30], "decord")


@pytest.mark.parametrize("name", ["a.avi", "a.mp4"])
def test_frames_are_those_that_were_written(folder: Path, name: str) -> None:
    """Every frame is nearest to the drawn frame of its own number, in any order and repeated."""
    drawn = render_shapes_clip(SETTINGS, SyntheticVideo(0, 1, 1)).float()
    indices = [41, 3, 3, 59, 0, 26, 13]
    frames = read_frames(folder / name, indices).float()
    distance = (frames[:, None] - drawn[None]).abs().mean((2, 3, 4))
    assert distance.argmin(1).tolist() == indices


def test_av1_and_ten_bits_go_to_pyav(folder: Path, tmp_path: Path) -> None:
    import av

    for codec, pixel_format in (("libsvtav1", "yuv420p"), ("libx265", "yuv420p10le"), ("ffv1", "yuv444p")):
        path = tmp_path / f"{codec}.mkv"
        try:
            av.codec.Codec(codec, "w")
        except (av.codec.codec.UnknownCodecError, ValueError):
            continue
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 64, pixel_format
            for level in range(0, 250, 25):
                frame = av.VideoFrame.from_ndarray(torch.full((64, 64, 3), level, dtype=torch.uint8).numpy())
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        assert probe(path).backend == "pyav"
        means = read_frames(path, [9, 2, 5]).float().mean((1, 2, 3))
        assert (means - torch.tensor([225.0, 50.0, 125.0])).abs().max() < 6


def test_broken_files_are_named_with_the_reason(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "a.avi").read_bytes()
    contents = {
        "empty.avi": (b"", "cannot be opened"),
        "text.mp4": (b"no video\n" * 100, "cannot be opened"),
        "half.avi": (whole[: len(whole) // 2], "cut short: its header promises 60 frames"),
        "half.mp4": ((folder / "a.mp4").read_bytes()[:3000], "cut short|cannot be opened|no video stream"),
    }
    for name, (content, reason) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UnreadableVideoError, match=reason) as caught:
            probe(path)
        assert str(path) in str(caught.value)
    with pytest.raises(UnreadableVideoError, match="cannot be opened"):
        probe(tmp_path / "absent.avi")


def test_a_file_without_video_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableVideoError, match="holds no video stream"):
        probe(path)
    with pytest.raises(UnreadableVideoError, match="holds no video stream"):
        read_frames(path, [0])


@pytest.mark.parametrize("backend", ["auto", "pyav", "decord"])
def test_a_frame_beyond_the_end_is_an_error(folder: Path, backend: str) -> None:
    with pytest.raises(UnreadableVideoError, match="60 frames, frame 60"):
        read_frames(folder / "a.mp4", [0, 60], backend)  # type: ignore[arg-type]


def test_importing_the_package_loads_no_decoder() -> None:
    code = "import sys, parvideo.datasets; sys.exit(bool({'av', 'decord'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bad_arguments_are_named(folder: Path) -> None:
    for arguments, word in (
        (([0], "opencv"), "backend is 'opencv'"),
        (([],), "indices"),
        (([-1],), "indices"),
        (([0], "auto", 0), "num_threads is 0"),
    ):
        with pytest.raises(ValueError, match=word):
            read_frames(folder / "a.avi", *arguments)  # type: ignore[arg-type]


def test_the_error_survives_the_way_out_of_a_worker() -> None:
    error = pickle.loads(pickle.dumps(UnreadableVideoError(Path("a.avi"), "broken")))
    assert (str(error), error.path, error.reason) == ("a.avi: broken", Path("a.avi"), "broken")

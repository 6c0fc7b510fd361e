"""Images as viewers show them: each is a clip of one frame, an animated one of several."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvideo.datasets import ClipDataset, VideoRecord, load_videos
from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_chunks, read_frames
from parvideo.datasets.video_info import UnreadableVideoError
from tests.video_files import grey, numbers, quarters


def write(path: Path, value: int, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 2 * value, 0)).convert(mode).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("n01", "n02")):
            for index in range(count):
                write(tmp_path / split / name / f"{name}_{index}.png", 10 * (label + 1) + index)
    return tmp_path


def test_class_folders_of_images_are_clips_of_one_frame(folder: Path) -> None:
    videos = load_videos(folder, "train")
    assert videos.class_names == ["n01", "n02"]
    clips = ClipDataset(videos, frames=1, size=8, stride=1, policy="center")
    assert len(clips) == 6
    item = clips[4]
    assert item["clip"].shape == (1, 8, 8, 3)
    assert item["clip"].dtype == torch.uint8
    assert item["clip"][0, 3, 3].tolist() == [21, 42, 0]
    assert (item["label"], item["id"]) == (1, "train/n02/n02_1")
    assert len(load_videos(folder, "test")) == 4


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = write(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), 60, mode=mode)
    frames = read_frames(path, [0])
    assert frames.shape == (1, 16, 20, 3)
    with Image.open(path) as image:
        assert np.array_equal(frames[0].numpy(), np.array(image.convert("RGB")))
    assert (probe(path).frames, probe(path).height, probe(path).width) == (1, 16, 20)


def test_pictures_beside_videos_are_no_clips(folder: Path) -> None:
    (folder / "train" / "n01" / "clip.avi").write_bytes(b"")
    assert [record.path.name for record in load_videos(folder, "train").records if record.label == 0] == [
        "clip.avi"
    ]


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = write(tmp_path / "a.png", 9, (200, 160))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(UnreadableVideoError, match=r"a\.png"):
        read_frames(path, [0])


def test_an_image_has_no_second_frame(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideoError, match="one frame"):
        read_frames(write(tmp_path / "a.png", 9), [0, 1])


TURN_BY_EXIF = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_photos_stand_upright(tmp_path: Path, suffix: str) -> None:
    stored = quarters()
    for orientation, turn in TURN_BY_EXIF.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
        Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif, **options)
        expected = turn(stored)
        info = probe(tmp_path / f"a.{suffix}")
        shown = read_frames(tmp_path / f"a.{suffix}", [0]).numpy()[0]
        assert shown.shape == expected.shape == (info.height, info.width, 3)
        assert np.abs(shown.astype(int) - expected).mean() < 4, orientation


@pytest.mark.parametrize("name", ["a.png", "a.tif", "big.tif"])
def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path, name: str) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (4, 1))
    if name == "big.tif":
        Image.frombytes("I;16B", (256, 4), ramp.astype(">u2").tobytes()).save(tmp_path / name)
    else:
        Image.fromarray(ramp).save(tmp_path / name)
    assert read_frames(tmp_path / name, [0])[0, 1, :, 2].tolist() == list(range(256))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_without_a_white_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (8, 8), 70000).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableVideoError, match=rf"mode is {mode}, 32 bits"):
        read_frames(tmp_path / "a.tif", [0])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.paste((40, 40, 40, 255), (0, 0, 4, 8))
    picture = picture.convert(mode)
    picture.save(tmp_path / "a.png")
    frame = read_frames(tmp_path / "a.png", [0])[0]
    assert (frame[:, 4:] == 255).all()
    assert (frame[:, :4].int() - 40).abs().max() < 12


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.apng"])
def test_animated_images_are_videos_with_times_of_their_own(tmp_path: Path, name: str) -> None:
    pictures = [Image.fromarray(grey(4 * number)) for number in range(12)]
    durations = [40] * 6 + [200] * 6
    pictures[0].save(
        tmp_path / name,
        format="PNG" if "png" in name else None,
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        lossless=True,
    )
    info = probe(tmp_path / name)
    assert info.frames == 12
    assert info.times is not None
    assert np.allclose(info.times, np.cumsum([0, *durations[:-1]]) / 1000)
    assert numbers(read_frames(tmp_path / name, [11, 0, 5])) == [44, 0, 20]
    assert numbers(torch.cat(list(read_chunks(tmp_path / name, 5)))) == list(range(0, 48, 4))
    record = VideoRecord(tmp_path / name, 0, "a", "a")
    clips = ClipDataset([record], frames=6, size=16, fps=5, policy="all")
    seen = numbers(clips[0]["clip"])
    # 0, 200, ... 1000 ms, of frames at 0, 40, ... 200 (the 6th), 240, 440, ...: the nearest
    assert seen == [0, 20, 28, 32, 36, 40]


def test_a_gif_that_states_no_time_takes_a_tenth_of_a_second(tmp_path: Path) -> None:
    pictures = [Image.fromarray(grey(4 * number)) for number in range(5)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=0)
    assert (probe(tmp_path / "a.gif").fps, probe(tmp_path / "a.gif").times) == (10, None)


def test_a_video_named_like_an_image_and_the_reverse(tmp_path: Path) -> None:
    Image.fromarray(grey(9)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    assert numbers(read_frames(tmp_path / "a.mp4", [0])) == [9]

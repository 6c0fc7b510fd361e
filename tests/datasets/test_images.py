"""Folders of images: each is a clip of one frame."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvideo.datasets import ClipDataset, load_videos
from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_frames
from parvideo.datasets.video_info import UnreadableVideoError


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

"""Writing: what is written can be read, is whole or absent, and arrays lose nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_frames
from parvideo.datasets.writing import write_avi, write_contact_sheet, write_mp4, write_video
from parvideo.synthetic.shapes import ShapesSettings, SyntheticVideo, render_shapes_clip


def toy_clip(label: int = 0) -> torch.Tensor:
    return render_shapes_clip(ShapesSettings(height=64, width=64, frames=9), SyntheticVideo(label, 1, 1))


@pytest.mark.parametrize(
    ("writer", "name", "codec"), [(write_mp4, "a.mp4", "h264"), (write_avi, "a.avi", "mpeg4")]
)
def test_videos_come_back(tmp_path: Path, writer: object, name: str, codec: str) -> None:
    clip = toy_clip()
    writer(tmp_path / name, clip, 12.5)  # type: ignore[operator]
    info = probe(tmp_path / name)
    assert (info.frames, info.fps, info.height, info.width, info.codec) == (9, 12.5, 64, 64, codec)
    frames = read_frames(tmp_path / name, range(9))
    assert (frames.float() - clip.float()).abs().mean() < 6
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_odd_sides_repeat_the_last_row_and_column(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", toy_clip()[:, :63, :61], 8)
    info = probe(tmp_path / "a.mp4")
    assert (info.height, info.width) == (64, 62)


def test_the_contact_sheet_plays_every_clip_in_its_place(tmp_path: Path) -> None:
    clips = torch.stack([toy_clip(label) for label in range(5)])
    write_contact_sheet(tmp_path / "sheet.webp", clips, 8, columns=3, labels=list("abcde"))
    with Image.open(tmp_path / "sheet.webp") as sheet:
        assert sheet.n_frames == 9  # type: ignore[attr-defined]
        sheet.seek(4)
        picture = torch.frombuffer(bytearray(sheet.convert("RGB").tobytes()), dtype=torch.uint8)
        picture = picture.reshape(sheet.height, sheet.width, 3)
    left, top = 2 + 66, 2 + 12 + 78  # the fifth clip: second row, second column
    assert torch.equal(picture[top : top + 64, left : left + 64], clips[4, 4])
    write_contact_sheet(tmp_path / "sheet.gif", clips, 8, scale=2)
    with Image.open(tmp_path / "sheet.gif") as sheet:
        assert sheet.n_frames == 9  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.webp", "a.gif"])
def test_one_function_writes_every_format_one_clip_or_several(tmp_path: Path, name: str) -> None:
    clip = toy_clip()
    for clips in (clip, clip[None]):
        write_video(tmp_path / name, clips, 12.5)
        info = probe(tmp_path / name)
        assert (info.frames, info.fps, info.height, info.width) == (9, 12.5, 64, 64)
        frames = read_frames(tmp_path / name, range(9))
        assert (frames.float() - clip.float()).abs().mean() < (0.01 if name == "a.webp" else 6)
    five = torch.stack([toy_clip(label) for label in range(5)])
    write_video(tmp_path / name, five, 12.5)
    frames = read_frames(tmp_path / name, [0, 8]).float()
    assert frames.shape == (2, 2 + 2 * 66, 2 + 3 * 66, 3)
    fifth = frames[:, 68 : 68 + 64, 68 : 68 + 64]  # second row, second column
    assert (fifth - five[4, [0, 8]].float()).abs().mean() < 6


def test_bad_arguments_are_named_and_leave_nothing(tmp_path: Path) -> None:
    clip = toy_clip()
    for call, word in (
        (lambda: write_mp4(tmp_path / "a.avi", clip, 8), "must end in .mp4"),
        (lambda: write_avi(tmp_path / "a.avi", clip, 0), "fps is 0"),
        (lambda: write_avi(tmp_path / "a.avi", clip.float(), 8), "uint8"),
        (lambda: write_mp4(tmp_path / "a.mp4", clip[None], 8), "T, H, W, 3"),
        (lambda: write_contact_sheet(tmp_path / "a.gif", clip[None], 8, labels=["a", "b"]), "labels has 2"),
        (lambda: write_contact_sheet(tmp_path / "a.png", clip[None], 8), r"\.webp or \.gif"),
        (lambda: write_contact_sheet(tmp_path / "a.gif", clip[None], 0), "fps is 0"),
        (lambda: write_video(tmp_path / "a.png", clip, 8), r"must end in \.mp4, \.avi, \.webp, \.gif"),
        (lambda: write_video(tmp_path / "a.mp4", clip, None), "fps is None: the model does not say"),
        (lambda: write_video(tmp_path / "a.gif", clip, -1), "fps is -1"),
        (
            lambda: write_video(tmp_path / "a.mp4", clip[None, None], 8),
            r"\[T, H, W, 3\] or \[B, T, H, W, 3\]",
        ),
        (lambda: write_video(tmp_path / "a.mp4", clip[None][:0], 8), "not empty"),
    ):
        with pytest.raises(ValueError, match=word):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("filling", ["42", "165"])
def test_an_mp4s_bytes_do_not_depend_on_what_the_memory_held(tmp_path: Path, filling: str) -> None:
    """glibc fills new memory with a byte given by the environment; elsewhere the test is merely easy."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from parvideo.datasets import write_mp4\n"
        "from parvideo.synthetic import ShapesSettings, render_shapes_clip\n"
        "toy = ShapesSettings(height=32, width=32, frames=9, fps=8)\n"
        "for i, video in enumerate(list(toy.videos().values())[::8]):\n"
        "    write_mp4(Path(sys.argv[1]) / f'{i}.mp4', render_shapes_clip(toy, video), 12.5)\n"
    )
    made = []
    for value in ("0", filling):
        folder = tmp_path / value
        folder.mkdir()
        environment = {**os.environ, "MALLOC_PERTURB_": value}
        subprocess.run([sys.executable, "-c", program, str(folder)], env=environment, check=True, timeout=120)
        made.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert len(made[0]) == 48
    assert made[0] == made[1]

"""First frames: the frames that the model would be trained on, tokens that depend on nothing beside them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from parvideo.datasets import ClipDataset, VideoRecord, write_avi
from parvideo.datasets.clip_format import ClipFormat
from parvideo.files import sha256_file
from parvideo.jobs.first_frames import FirstFrames
from parvideo.pixels import to_float
from parvideo.pretrained.folder import load_tokenizer
from parvideo.tokenizer import VideoTokenizer

SIZE, FPS = (16, 16), 12.5


def first(path: Path, frames: int = 1, **changes: Any) -> FirstFrames:
    rate = {"fps": FPS} | {name: changes.pop(name) for name in ("fps", "stride") if name in changes}
    settings: dict[str, Any] = {"latent_frames": (frames + 1) // 2, "size": SIZE}
    return FirstFrames(path, frames, **(settings | changes), clip_format=ClipFormat(**rate))


@pytest.fixture
def videos(toy_folder: Path, tmp_path: Path) -> Path:
    """A folder of three videos, a picture, and what is neither."""
    folder = tmp_path / "given"
    folder.mkdir()
    for number, source in enumerate(sorted(toy_folder.rglob("*.avi"))[::5]):
        (folder / f"{number}.avi").write_bytes(source.read_bytes())
    Image.new("RGB", (40, 24), (200, 30, 30)).save(folder / "red.png")
    (folder / "notes.txt").touch()
    (folder / ".hidden").touch()
    return folder


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> VideoTokenizer:
    return load_tokenizer(tokenizer_folder)


def test_files_are_taken_by_name_and_others_are_said(
    videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [path.name for path in first(videos).files] == ["0.avi", "1.avi", "2.avi", "red.png"]
    assert "left out: 1 that are no videos or images, such as notes.txt" in capsys.readouterr().err
    assert first(videos / "1.avi").files == [videos / "1.avi"]


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_frames_are_those_of_the_model(videos: Path, tokenizer: VideoTokenizer, frames: int) -> None:
    """At its rate, from the first on, as the data set cuts clips that the tokenizer is trained on."""
    (videos / "red.png").unlink()
    given = first(videos, frames)
    records = [VideoRecord(path, 0, path.stem, "") for path in given.files]
    clips = ClipDataset(records, frames, SIZE, FPS, policy="all")
    starts = {record.id: index for index, (record, start) in enumerate(clips.places()) if start == 0}
    whole = [clips[starts[path.stem]]["clip"][None] for path in given.files]
    with torch.inference_mode():
        expected = torch.cat([tokenizer.encode(to_float(clip)) for clip in whole])
    assert torch.equal(given.encode(tokenizer, [0, 1, 2]), expected)


def test_tokens_depend_on_nothing_beside_them(videos: Path, tokenizer: VideoTokenizer) -> None:
    given = first(videos, 1)
    alone = [given.encode(tokenizer, [number])[0] for number in range(4)]
    for numbers in ([0, 1, 2, 3], [3, 0], [2, 2, 1]):
        for made, number in zip(given.encode(tokenizer, numbers), numbers, strict=True):
            assert torch.equal(made, alone[number])
    assert len({one.numpy().tobytes() for one in alone}) > 1


def test_a_stride_counts_frames_of_the_source(videos: Path, tokenizer: VideoTokenizer) -> None:
    every, second = (first(videos / "0.avi", 3, fps=None, stride=stride) for stride in (1, 2))
    assert torch.equal(second._read(second.files[0])[1], every._read(every.files[0])[2])
    at_rate = first(videos / "0.avi", 3)  # half of the file's 25 frames a second
    assert torch.equal(at_rate._read(at_rate.files[0]), second._read(second.files[0]))


def test_a_record_names_every_file_by_its_content(videos: Path) -> None:
    before = first(videos, 3).description()
    assert before["frames"] == 3
    for entry in before["files"]:
        assert entry["sha256"] == sha256_file(videos / entry["name"])
    (videos / "1.avi").write_bytes((videos / "0.avi").read_bytes())
    after = first(videos, 3).description()
    assert [a == b for a, b in zip(before["files"], after["files"], strict=True)] == [True, False, True, True]


def test_what_cannot_be_given_is_refused_by_name(
    videos: Path, tmp_path: Path, tokenizer: VideoTokenizer
) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        first(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no video or image"):
        first(tmp_path / "empty")
    with pytest.raises(ValueError, match="given_frames is 3, and the model does not say at which rate"):
        first(videos, 3, fps=None)
    with pytest.raises(ValueError, match=r"0\.avi has 25 frames a second, the model is of 50"):
        first(videos / "0.avi", 3, fps=50.0).encode(tokenizer, [0])
    with pytest.raises(
        ValueError, match=r"red\.png .*1 frames, 3 are needed|red\.png has .* frames a second"
    ):
        first(videos / "red.png", 3).encode(tokenizer, [0])
    write_avi(tmp_path / "short.avi", torch.zeros(3, 16, 16, 3, dtype=torch.uint8), 25.0)
    with pytest.raises(ValueError, match=r"short\.avi: has 3 frames in .* s, 5 frames are needed"):
        first(tmp_path / "short.avi", 3).encode(tokenizer, [0])
    (tmp_path / "broken.avi").write_bytes(b"RIFF nothing")
    with pytest.raises(ValueError, match=r"broken\.avi"):
        first(tmp_path / "broken.avi").encode(tokenizer, [0])

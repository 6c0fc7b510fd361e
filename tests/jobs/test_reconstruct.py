"""Reconstructing: pictures side by side and figures that can be checked."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from parvideo.datasets import ClipDataset, VideoRecord, probe, read_frames
from parvideo.jobs.reconstruct import reconstruct
from parvideo.pixels import to_float
from parvideo.pretrained.folder import load_tokenizer, save_tokenizer
from tests.flat import call


def videos(toy_folder: Path) -> list[Path]:
    return sorted(toy_folder.glob("*/*.avi"))[:2]


def test_figures_are_those_of_the_clips(toy_folder: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    files = videos(toy_folder)
    rows = call(reconstruct, files, tokenizer_folder, tmp_path)
    assert rows == json.loads((tmp_path / "reconstruct.json").read_text())
    assert list(rows) == [f"000-{files[0].stem}", f"001-{files[1].stem}", "all"]
    tokenizer = load_tokenizer(tokenizer_folder)
    clips = ClipDataset([VideoRecord(files[0], 0, "x", "")], 5, 16, 12.5, policy="center")
    clip = to_float(clips[0]["clip"][None])
    with torch.inference_mode():
        error = (tokenizer.decode(tokenizer.encode(clip)) - clip).square().mean().item()
    copied = (clip[:, :, :1] - clip).square().mean().item()
    row = rows[f"000-{files[0].stem}"]
    assert row["psnr"] == pytest.approx(10 * np.log10(4 / error), abs=1e-4)
    assert row["psnr_copy_first"] == pytest.approx(10 * np.log10(4 / copied), abs=1e-4)


def test_original_and_reconstruction_play_side_by_side(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    files = videos(toy_folder)[:1]
    call(reconstruct, files, tokenizer_folder, tmp_path)
    video = tmp_path / f"000-{files[0].stem}.mp4"
    assert probe(video).frames == 5
    frames = read_frames(video, range(5)).float()  # [T, 16, 32, 3]
    assert frames.shape == (5, 16, 32, 3)
    clips = ClipDataset([VideoRecord(files[0], 0, "x", "")], 5, 16, 12.5, policy="center")
    assert (frames[:, :, :16] - clips[0]["clip"].float()).abs().mean() < 12  # but for H.264's losses


def test_mistakes_are_named(toy_folder: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"RIFF nothing")
    long = videos(toy_folder)[0].name
    for files, frames, message in (
        ([broken], None, "broken.avi"),
        (videos(toy_folder), 4, "frames"),
        (videos(toy_folder), 65, long),
    ):
        with pytest.raises(ValueError, match=message):
            call(reconstruct, files, tokenizer_folder, tmp_path / "out", frames=frames)
    with pytest.raises(FileNotFoundError, match=r"none\.avi"):
        call(reconstruct, [tmp_path / "none.avi"], tokenizer_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_unknown_training_asks_for_the_form(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    save_tokenizer(tmp_path / "tokenizer", load_tokenizer(tokenizer_folder))
    asked = (reconstruct, videos(toy_folder), tmp_path / "tokenizer", tmp_path / "out")
    with pytest.raises(ValueError, match="--frames"):
        call(*asked)
    assert len(call(*asked, frames=5, size=16, stride=2)) == 3

"""Reconstructing from the command line: pictures side by side and figures that can be checked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parvideo.cli import main
from parvideo.datasets import ClipDataset, VideoRecord, probe, read_frames
from parvideo.jobs.clip_format_options import AS_TRAINED, ClipFormatOptions
from parvideo.pixels import to_float
from parvideo.pretrained.folder import load_tokenizer


def videos(toy_folder: Path) -> list[Path]:
    return sorted(toy_folder.glob("*/*.avi"))[:2]


def run(files: list[Path], tokenizer: Path, out: Path, *more: str) -> int:
    return main(["reconstruct", *map(str, files), "--tokenizer", str(tokenizer), "--out", str(out), *more])


def test_figures_are_those_of_the_clips(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = videos(toy_folder)
    assert run(files, tokenizer_folder, tmp_path) == 0
    rows = json.loads((tmp_path / "reconstruct.json").read_text())
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
    assert f"{row['psnr']:.2f}" in capsys.readouterr().out


def test_original_and_reconstruction_play_side_by_side(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    files = videos(toy_folder)[:1]
    run(files, tokenizer_folder, tmp_path)
    video = tmp_path / f"000-{files[0].stem}.mp4"
    assert probe(video).frames == 5
    frames = read_frames(video, range(5)).float()  # [T, 16, 32, 3]
    assert frames.shape == (5, 16, 32, 3)
    clips = ClipDataset([VideoRecord(files[0], 0, "x", "")], 5, 16, 12.5, policy="center")
    assert (frames[:, :, :16] - clips[0]["clip"].float()).abs().mean() < 12  # but for H.264's losses


def test_mistakes_are_named(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([tmp_path / "none.avi"], tokenizer_folder, tmp_path / "out") == 2
    assert "none.avi" in capsys.readouterr().err
    assert run(videos(toy_folder), tokenizer_folder, tmp_path / "out", "--frames", "4") == 2
    assert "frames" in capsys.readouterr().err
    assert run(videos(toy_folder), tokenizer_folder, tmp_path / "out", "--frames", "65") == 2
    assert videos(toy_folder)[0].name in capsys.readouterr().err
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"RIFF nothing")
    assert run([broken], tokenizer_folder, tmp_path / "out") == 2
    assert "broken.avi" in capsys.readouterr().err


def test_a_tokenizer_of_unknown_training_asks_for_the_form(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from parvideo.pretrained.folder import save_tokenizer
    from parvideo.tokenizer import CausalVideoTokenizer

    tokenizer = load_tokenizer(tokenizer_folder)
    assert isinstance(tokenizer, CausalVideoTokenizer)
    save_tokenizer(tmp_path / "tokenizer", tokenizer)
    assert run(videos(toy_folder), tmp_path / "tokenizer", tmp_path / "out") == 2
    assert "--frames" in capsys.readouterr().err
    form = ("--frames", "5", "--size", "16", "--stride", "2")
    assert run(videos(toy_folder), tmp_path / "tokenizer", tmp_path / "out", *form) == 0


@pytest.mark.parametrize(
    "form", [{"frames": 0}, {"size": 0}, {"size": -4}, {"stride": 0}, {"fps": 0.0}, {"fps": float("nan")}]
)
def test_zero_is_not_what_the_tokenizer_was_trained_on(tokenizer_folder: Path, form: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(form))} is"):
        ClipFormatOptions(**form).build(tokenizer_folder)
    assert AS_TRAINED.build(tokenizer_folder).frames == 5

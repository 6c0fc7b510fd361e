"""Sampling from the command line: files to look at and to score, made once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvideo.cli import main
from parvideo.commands.sample import sample
from parvideo.pipeline import VideoPipeline


def arrays(folder: Path) -> list[dict[str, np.ndarray]]:
    return [dict(np.load(path)) for path in sorted(folder.glob("clips-*.npz"))]


def test_what_is_written(generator_folder: Path, tmp_path: Path) -> None:
    classes = ["--class", "surfing", "--class", "0", "--num", "3", "--batch-size", "4", "--seed", "5"]
    assert main(["sample", "--model", str(generator_folder), "--out", str(tmp_path), *classes]) == 0
    first, second = arrays(tmp_path)
    assert first["indices"].tolist() + second["indices"].tolist() == list(range(6))
    assert first["labels"].tolist() + second["labels"].tolist() == [2, 2, 2, 0, 0, 0]
    clips = np.concatenate([first["clips"], second["clips"]])
    expected = VideoPipeline.from_pretrained(generator_folder).generate(["Surfing", 0], 3, seed=5)
    assert clips.dtype == np.uint8
    assert torch.equal(torch.from_numpy(clips), expected)
    names = sorted(path.name for path in tmp_path.glob("*.mp4"))
    assert names == [f"0000{i}-{'Surfing' if i < 3 else 'Archery'}.mp4" for i in range(6)]
    with Image.open(tmp_path / "contact-sheet.webp") as sheet:
        assert sheet.n_frames >= 2


def test_finished_files_are_not_made_again_and_missing_ones_are(
    generator_folder: Path, tmp_path: Path
) -> None:
    for folder in ("whole", "part"):
        sample(generator_folder, tmp_path / folder, num=2, batch_size=2, top_k=5)
    whole, part = tmp_path / "whole", tmp_path / "part"
    (part / "clips-00001.npz").unlink()
    kept = (part / "clips-00000.npz").stat().st_mtime_ns
    sample(generator_folder, part, num=2, batch_size=2, top_k=5)
    assert (part / "clips-00000.npz").stat().st_mtime_ns == kept
    for one, other in zip(arrays(whole), arrays(part), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"num": 3}, {"guidance_scale": 2.0}, {"class_": ["Bowling"]}]
)
def test_other_settings_need_another_folder(
    generator_folder: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    settings: dict[str, object] = {"class_": ["Archery"], "num": 2}
    sample(generator_folder, tmp_path, **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="made with another"):
        sample(generator_folder, tmp_path, **{**settings, **change})  # type: ignore[arg-type]


def test_near_names_are_suggested(
    generator_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sample", "--model", str(generator_folder), "--out", str(tmp_path / "none"), "--class"]
    assert main([*arguments, "Surfign"]) == 2
    assert capsys.readouterr().err == "parvideo: error: there is no class 'Surfign'; did you mean Surfing?\n"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("settings", [{"num": 0}, {"batch_size": 0}, {"temperature": -1.0}, {"top_p": 2.0}])
def test_wrong_settings_are_named(generator_folder: Path, tmp_path: Path, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        sample(generator_folder, tmp_path, **settings)  # type: ignore[arg-type]

"""`parvideo sample`: classes by name and by index, files to look at and to score."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvideo.cli import main
from parvideo.files import read_json
from parvideo.order import OrderSpec
from parvideo.pipeline import VideoPipeline
from parvideo.pretrained.folder import save_generator
from parvideo.transformer import VideoTransformer
from tests.jobs.cases import arrays


def test_what_is_written(generator_folder: Path, tmp_path: Path) -> None:
    classes = ["--class", "surfing", "--class-index", "0", "--num", "3", "--batch-size", "2", "--seed", "5"]
    classes += ["--clips-per-file", "4"]
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


def test_near_names_are_suggested(
    generator_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sample", "--model", str(generator_folder), "--out", str(tmp_path / "none"), "--class"]
    assert main([*arguments, "Surfign"]) == 2
    assert capsys.readouterr().err == "parvideo: error: there is no class 'Surfign'; did you mean Surfing?\n"
    assert not (tmp_path / "none").exists()


def test_class_folders_of_any_name_are_sampled_by_label(tokenizer_folder: Path, tmp_path: Path) -> None:
    names = ["1", "10", "2", "null", "a/b", "é" * 200]
    order = OrderSpec().build((3, 4, 4))
    transformer = VideoTransformer(order.grid, 9, 6, dim=16, num_layers=1, num_heads=2)
    save_generator(tmp_path / "model", transformer, names, tokenizer_folder, [order])
    model = ["sample", "--model", str(tmp_path / "model"), "--top-k", "1", "--out"]
    assert main([*model, str(tmp_path / "all")]) == 0
    assert arrays(tmp_path / "all")[0]["labels"].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(list((tmp_path / "all").glob("*.mp4"))) == 6
    for word, label in (("10", 1), ("null", 3), ("2", 2)):
        assert main([*model, str(tmp_path / word), f"--class={word}"]) == 0
        assert arrays(tmp_path / word)[0]["labels"].tolist() == [label]
    assert main([*model, str(tmp_path / "none"), "--class", "0"]) == 2
    assert main([*model, str(tmp_path / "index"), "--class-index", "0"]) == 0
    assert read_json(tmp_path / "index/sample.json")["classes"] == ["1"]

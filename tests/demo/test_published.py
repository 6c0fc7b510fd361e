"""Models that come with the clone: sampled in seconds, shown beside their figures, or said to be absent."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from parvideo.demo.page import render_page
from parvideo.demo.page_data import PageData, Showcase
from parvideo.demo.published import NO_MODELS, find_models, make_showcase, published_sampling, read_showcase
from tests.demo.cases import demo_page
from tests.world import write_generator

REPORT = {
    "kind": "parvideo-fvd-report",
    "metric": "FVD",
    "fvd": 612.34,
    "repeats": [
        {
            "standard_error": 10.51,
            "floor": {"value": 300.0, "count": 64, "scaled": 155.06},
            "real_count": 529,
            "fake_count": 512,
        }
    ],
    "protocol": {"name": "ucf101-six-64"},
    "protocol_hash": "0" * 64,
    "extractor": {"fingerprint": "f"},
    "real": {"hash": "r"},
    "comparability": "Comparable within ucf101-six-64 only.",
    "held_out": {"fvd": 720.0},
    "class_accuracy": {
        "kind": "ridge regression",
        "chance": 1 / 6,
        "held_out": {"accuracy": 0.97},
        "generated": {"accuracy": 0.61},
    },
    "generated": {"sampling": {"temperature": 0.9, "top_k": 5, "guidance_scale": 1.5, "seed": 3}},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_generator(folder / "ucf101-six-4x", tokenizer_folder, ["Archery", "Bowling", "Surfing"])
    write_generator(folder / "ucf101-six-any", tokenizer_folder, ["Surfing", "Archery"])
    (folder / "ucf101-six-4x" / "report.json").write_text(json.dumps(REPORT))
    (folder / "notes").mkdir()
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (2, 5, 16, 16, 3), dtype=np.uint8)
    np.savez(folder / "ucf101-six-4x" / "preview.npz", clips=real, labels=np.array([2, 0]))
    return folder


def test_real_reconstructed_and_generated_stand_side_by_side(models: Path, tmp_path: Path) -> None:
    found = find_models(models)
    assert [folder.name for folder in found] == ["ucf101-six-4x", "ucf101-six-any"]
    shown = json.loads(json.dumps(make_showcase(found, tmp_path, seed=0)))  # as the stage keeps it
    showcase = read_showcase(shown, tmp_path)
    assert showcase.clips is not None
    names = [column.name for column in showcase.clips.columns]
    assert names == ["Real", "Reconstructed", "ucf101-six-4x", "ucf101-six-any"]
    clips = {entry.name: entry.clips for entry in showcase.clips.classes}
    assert set(clips) == {"Archery", "Bowling", "Surfing"}
    assert set(clips["Bowling"]) == {"ucf101-six-4x"}  # no preview of it, and the other model has it not
    held = np.load(models / "ucf101-six-4x" / "preview.npz")["clips"]
    np.testing.assert_array_equal(clips["Surfing"]["Real"][0], held[0])
    np.testing.assert_array_equal(clips["Archery"]["Real"][0], held[1])
    made = np.load(tmp_path / "ucf101-six-any.npz")["generated"]
    np.testing.assert_array_equal(clips["Surfing"]["ucf101-six-any"][0], made[0])  # its own order of classes
    assert clips["Surfing"]["Reconstructed"].shape == (1, 5, 16, 16, 3)
    page = PageData("t", "s", demo_page().clips, showcase=showcase)
    text = re.sub(r"<script.*?</script>", "", render_page(page), flags=re.DOTALL)
    for figure in (
        "612.3 ± 10.5",
        "155.1, real against real",
        "720.0",
        "61%",
        "97% of held-out",
        "ucf101-six-64",
    ):
        assert figure in text
    assert published_sampling(REPORT).guidance_scale == 1.5
    assert published_sampling(REPORT).top_k == 5
    assert published_sampling(None).guidance_scale == 1.0


def test_without_models_a_sentence_says_so(tmp_path: Path) -> None:
    assert find_models(tmp_path / "absent") == []
    assert read_showcase(None, tmp_path) == Showcase(NO_MODELS, None, [])


def test_a_wrong_preview_is_named(tokenizer_folder: Path, tmp_path: Path) -> None:
    write_generator(tmp_path / "model", tokenizer_folder, ["Archery", "Surfing"])
    clips = np.zeros((1, 5, 16, 16, 3), np.uint8)
    for held in (
        {"clips": clips},
        {"clips": clips, "labels": np.array([2])},
        {"clips": clips[0], "labels": np.array([0])},
    ):
        np.savez(tmp_path / "model" / "preview.npz", **held)
        with pytest.raises(ValueError, match=r"preview\.npz must hold clips, uint8 .* from 0 to 1"):
            make_showcase([tmp_path / "model"], tmp_path / "out", seed=0)

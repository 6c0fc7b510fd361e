"""The demo's page at any time: it shows what there is, and says what is still running."""

import re
from pathlib import Path

import numpy as np
import pytest

from parvideo.demo.report import make_page, processor
from parvideo.demo.scoring import HELD_OUT
from parvideo.demo.steps import PRESETS, Demo, make_toy_data

STAGES = [
    ("data", "videos to train on"),
    ("tokenizer", "training the tokenizer"),
    ("reconstruct", "looking at it"),
]
QUALITY = {"psnr": 27.5, "psnr_copy_first": 20.0, "ssim": 0.9, "motion_kept": 0.84, "motion_ratio": 1.02}


def visible(page: Path) -> str:
    return re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def demo(tmp_path: Path, toy_folder: Path) -> Demo:
    form = {"frames": 9, "size": 16, "fps": 12.5}
    begun = Demo(tmp_path / "demo", toy_folder, None, PRESETS["smoke"], 0, form=form)
    make_toy_data(begun)
    return begun


def test_real_clips_are_shown_before_anything_is_trained(demo: Demo) -> None:
    page = make_page(demo, {"data": None}, STAGES, {"data": 3.2})
    text = visible(page)
    assert page == demo.out / "index.html"
    assert text.count('<canvas class="clip"') == 2 * 2  # two classes, two clips each
    assert "videos to train on <span>done, 3 s" in text
    assert "training the tokenizer <span>running" in text
    assert "looking at it <span>to come" in text
    assert 'http-equiv="refresh"' in text
    for word in ("Reconstructed", "Generated", "Orders compared", "Further measurements"):
        assert word not in text
    assert "No trained models came" in text or "sampled just now" not in text


def test_reconstructions_join_with_their_figures(demo: Demo) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (4, 9, 16, 16, 3), dtype=np.uint8)
    logs = demo.out / "tokenizer" / "logs" / "version_0"
    logs.mkdir(parents=True)
    (logs / "metrics.csv").write_text("step,train/loss,val/psnr\n9,0.5,\n19,0.2,\n19,,21.5\n")
    np.savez(demo.out / HELD_OUT, real=clips, reconstructed=255 - clips, labels=np.array([0, 1, 0, 0]))
    found = {"data": None, "tokenizer": None, "reconstruct": QUALITY}
    seconds = {"data": 3.2, "tokenizer": 100.0, "reconstruct": 2.0}
    text = visible(make_page(demo, found, STAGES, seconds))
    assert (
        text.count('<canvas class="clip"') == 2 * 2 + 2 * 1
    )  # two of the first class, the one of the second
    assert "27.50 dB" in text
    assert "84%" in text
    assert "102%" in text
    assert "refresh" not in text
    assert processor() in text
    still = make_page(
        demo, {**found, "reconstruct": {**QUALITY, "motion_kept": float("nan")}}, STAGES, seconds
    )
    assert "nan" not in visible(still)

"""The demo: its stages are done once, go on after an interruption, and refuse to mix settings."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parvideo.datasets.clip_format import ClipFormat
from parvideo.demo.steps import ORDERS, PRESETS, Demo
from parvideo.files import config_folder
from parvideo.synthetic import ShapesSettings, write_shapes_data
from parvideo.training.cli import fit


def test_one_scene_a_class_is_held_out_in_time(tmp_path: Path) -> None:
    write_shapes_data(tmp_path / "toy", ShapesSettings(num_classes=2, groups=2, clips_per_group=1, frames=40))
    toy = Demo(tmp_path, tmp_path / "toy", None, PRESETS["smoke"], 0)
    assert toy.held_out_time is None
    for number, name in enumerate(("A", "B")):
        (tmp_path / "own" / name).mkdir(parents=True)
        source = sorted((tmp_path / "toy").glob("*/*.avi"))[number]
        (tmp_path / "own" / name / "clip.avi").write_bytes(source.read_bytes())
    own = Demo(tmp_path, tmp_path / "own", None, PRESETS["smoke"], 0)
    assert own.held_out_time == 0.25


@pytest.fixture(scope="module")
def demo_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_shapes_data(folder, ShapesSettings(num_classes=2, groups=2, clips_per_group=2))
    return folder


def test_the_tokenizers_configuration_runs(demo_toy: Path, tmp_path: Path) -> None:
    config = config_folder() / "demo" / "tokenizer.yaml"
    fit(
        [
            "--config",
            str(config),
            f"--data.root={demo_toy}",
            "--trainer.fast_dev_run=1",
            "--out",
            str(tmp_path),
        ]
    )
    assert list(tmp_path.iterdir()) == []  # a dry run leaves nothing behind


def test_the_generators_configuration_runs(tmp_path: Path, demo_tokens: Path) -> None:
    config = config_folder() / "demo" / "generator.yaml"
    fit(
        [
            "--config",
            str(config),
            f"--data.tokens={demo_tokens}",
            "--trainer.fast_dev_run=1",
            "--out",
            str(tmp_path),
        ]
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def demo_tokens(demo_toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from parvideo.jobs.options import TokenizeOptions
    from parvideo.jobs.tokenize import tokenize
    from parvideo.pretrained.folder import save_tokenizer
    from parvideo.tokenizer import CausalVideoTokenizer

    folder = tmp_path_factory.mktemp("tokens")
    clip_format = ClipFormat(frames=9, size=32, fps=12.5)
    save_tokenizer(folder / "tokenizer", CausalVideoTokenizer.from_preset("tiny"), clip_format=clip_format)
    tokenize(TokenizeOptions(folder / "tokenizer", demo_toy, folder))
    return folder


def run_demo(out: Path, seconds: float | None = None) -> int:
    """Run the smoke demo in a process of its own; kill it after so many seconds."""
    command = [sys.executable, "-m", "parvideo.cli", "demo", "--preset", "smoke", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        return process.wait()


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_the_same_results(tmp_path: Path) -> None:
    started = time.monotonic()
    assert run_demo(tmp_path / "whole") == 0
    whole_seconds = time.monotonic() - started
    chance = random.Random(0)
    for _ in range(10):
        run_demo(tmp_path / "killed", chance.uniform(2, 8 + 0.3 * whole_seconds))
    assert run_demo(tmp_path / "killed") == 0
    whole, killed = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "killed")
    )
    for name in ("reconstruction", "classifier", "classes"):
        assert whole[name] == killed[name]
    for shown in ORDERS:
        one, other = whole["generators"][shown], killed["generators"][shown]
        for figure in ("steps", "class_accuracy", "whole", "fvd"):
            assert one[figure] == other[figure], (shown, figure)
    assert (tmp_path / "killed" / "index.html").is_file()

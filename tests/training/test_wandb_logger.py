"""Weights & Biases: rows, clips and settings of a run reach it offline; a refused run claims nothing."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS
from parvideo.training.cli import fit
from parvideo.training.loggers import read_metrics
from parvideo.training.media import add_level_histograms, add_side_by_side
from parvideo.training.wandb_logger import RunWandb
from tests.training.runs import arguments

needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed: pip install 'parvideo[wandb]'"
)


def only(run: Path) -> Path:
    """The folder of a run's one start."""
    (folder,) = (run / "wandb").glob("offline-run-*")
    return folder


@needs_wandb
def test_a_runs_clips_reach_it_without_tensorboard(tokens_folder: Path, tmp_path: Path) -> None:
    asked = ("--wandb=offline", "--tensorboard=false", "--sample_every=2")
    fit(arguments(tokens_folder, tmp_path / "run", *asked))
    folder = only(tmp_path / "run")
    (clips,) = (folder / "files/media/videos/val").glob("generated_*.gif")
    with Image.open(clips) as shown:
        assert shown.size == (4, 2 * 4)  # two classes, one below the other
        assert shown.n_frames == 3
    written = next(folder.glob("*.wandb")).read_bytes()
    for name in (*read_metrics(tmp_path / "run"), "model.lr", "val_steps/0000-0000"):
        assert name.encode() in written, name
    assert not (tmp_path / "run/tensorboard").exists()


@needs_wandb
def test_side_by_side_clips_and_histograms(tmp_path: Path) -> None:
    logger = RunWandb(tmp_path, "offline", {"lr": 0.5})
    logger.log_hyperparams({"a": 1})
    assert logger.experiment is None
    assert list(tmp_path.iterdir()) == []  # nothing before the run begins
    logger.begin()
    clips = torch.randint(0, 256, (2, 3, 8, 8, 3), dtype=torch.uint8)
    add_side_by_side([logger], "val/pairs", clips, 255 - clips, 7)
    quantizer = CausalVideoTokenizer(**PRESETS["tiny"]).quantizer
    add_level_histograms([logger], quantizer, torch.ones(1000), 7)  # type: ignore[arg-type]
    logger.log_metrics({"val/psnr": 20.0}, 7)
    summary = {key: value for key, value in dict(logger.experiment.summary).items() if key[0] != "_"}
    assert (summary["val/psnr"], summary["trainer/global_step"]) == (20.0, 7)
    levels = summary["val/levels_0"]
    assert list(levels["values"]) == [125.0] * 8  # of 8 x 5 x 5 x 5 ids
    logger.finalize("success")
    (pair,) = (only(tmp_path) / "files/media/videos/val").glob("pairs_*.gif")
    with Image.open(pair) as shown:
        assert shown.size == (16, 16)


def test_where_it_is_not_installed_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'parvideo\[wandb\]'"):
        RunWandb(tmp_path / "run", "online", {})
    assert not (tmp_path / "run").exists()


def test_clips_that_nobody_would_show_are_refused(tokens_folder: Path, tmp_path: Path) -> None:
    asked = ("--tensorboard=false", "--sample_every=2")
    with pytest.raises(
        ValueError, match=r"sample_every is 2, and no logger of this run shows clips \(RunLog\)"
    ):
        fit(arguments(tokens_folder, tmp_path / "run", *asked))
    assert not (tmp_path / "run").exists()


def test_two_ways_to_choose_a_logger_exclude_each_other(tokens_folder: Path, tmp_path: Path) -> None:
    asked = ("--wandb=offline", "--trainer.logger=true")
    with pytest.raises(ValueError, match="wandb is 'offline' and trainer.logger is given"):
        fit(arguments(tokens_folder, tmp_path / "run", *asked))
    assert not (tmp_path / "run").exists()

"""What a generator's run shows: losses by step, and generated clips."""

import csv
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from parvideo.training.callbacks.samples import SampleClips
from parvideo.training.checkpoints import FOLDER
from parvideo.training.cli import fit
from parvideo.training.loggers import read_metrics
from tests.training.runs import arguments


def events(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_every_steps_loss_is_written(run: Path) -> None:
    files = sorted((run / "step_losses").iterdir())
    assert [file.name for file in files] == ["00000002.csv", "00000004.csv"]
    with files[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(5))
    assert [int(row["tokens"]) for row in rows] == [1, 1, 1, 1, 4]
    logged = dict(read_metrics(run)["val/loss"])[4]
    mean = sum(int(row["tokens"]) * float(row["loss"]) for row in rows) / 8
    assert logged == pytest.approx(mean, rel=1e-5)
    single = sum(float(row["loss"]) for row in rows[:4]) / 4
    assert dict(read_metrics(run)["val/loss_single"])[4] == pytest.approx(single, rel=1e-5)


def test_curves_of_the_order_are_in_tensorboard(run: Path) -> None:
    tags = [tag for tag in events(run).Tags()["scalars"] if tag.startswith("val_steps/")]
    assert sorted(tags) == [f"val_steps/{step:04d}-{step:04d}" for step in range(5)]


def test_clips_are_shown_at_the_interval(run: Path) -> None:
    shown = events(run).Images("val/generated")
    assert [event.step for event in shown] == [4]
    assert (shown[0].width, shown[0].height) == (4, 2 * 4)  # two classes, one below the other
    assert shown[0].encoded_image_string.startswith(b"GIF8")


def test_showing_clips_changes_nothing(run: Path, tokens_folder: Path, tmp_path: Path) -> None:
    fit(arguments(tokens_folder, tmp_path, "--ema_decay=0.5"))
    assert "val/generated" not in events(tmp_path).Tags()["images"]
    states = [
        torch.load(folder / FOLDER / "step-00000004.ckpt", weights_only=True)["state_dict"]
        for folder in (run, tmp_path)
    ]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("settings", [{"every": 0}, {"count": 0}])
def test_wrong_settings_are_named(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SampleClips(**settings)

"""What a generator's run shows: losses by step, generated clips, rates; and the costs printed before it."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from parvideo.cli import main
from parvideo.files import config_folder
from parvideo.training.callbacks.misc import Throughput
from parvideo.training.callbacks.samples import SampleClips
from parvideo.training.checkpoints import FOLDER
from parvideo.training.cli import FitCLI, fit
from parvideo.training.costs import TransformerCosts
from parvideo.training.generator import GeneratorModule
from parvideo.training.loggers import read_metrics


def arguments(tokens: Path, out: Path, *more: str) -> list[str]:
    return [
        *("--model", "parvideo.training.generator.GeneratorModule"),
        *("--data", "parvideo.training.data.TokenDataModule"),
        *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1", "--model.num_heads=2"),
        *(f"--data.tokens={tokens}", "--data.batch_size=2", "--model.lr=0.01"),
        *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.max_steps=4"),
        *("--trainer.val_check_interval=2", "--trainer.log_every_n_steps=1", f"--out={out}", *more),
    ]


@pytest.fixture(scope="module")
def run(tokens_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    fit(arguments(tokens_folder, out, "--sample_every=2", "--peak_tflops=0.001", "--ema_decay=0.5"))
    return out


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


def test_mfu_is_the_models_operations_over_the_peak(run: Path, tokens_folder: Path, tmp_path: Path) -> None:
    metrics = read_metrics(run)
    checkpoint = FitCLI(arguments(tokens_folder, tmp_path))
    assert isinstance(checkpoint.model, GeneratorModule)
    checkpoint.datamodule.setup("fit")
    checkpoint.model.build(checkpoint.datamodule.spec)
    module = checkpoint.model
    flops = TransformerCosts.of(module.transformer.config, module.orders[0]).training_flops
    for (_, mfu), (_, rate) in zip(metrics["train/mfu"], metrics["train/samples_per_s"], strict=True):
        assert mfu == pytest.approx(rate * flops / 1e9, rel=1e-4)


def test_rates_leave_validation_out(
    tokens_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which a step takes a second and validation an hour."""
    now = 0.0

    def later(seconds: float, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(self: GeneratorModule, *given: Any) -> Any:
            nonlocal now
            now += seconds
            return original(self, *given)

        return step

    monkeypatch.setattr(GeneratorModule, "training_step", later(1.0, GeneratorModule.training_step))
    monkeypatch.setattr(GeneratorModule, "validation_step", later(3600.0, GeneratorModule.validation_step))
    monkeypatch.setattr(Throughput.__init__, "__defaults__", (None, lambda: now))
    fit(arguments(tokens_folder, tmp_path))
    assert [rate for _, rate in read_metrics(tmp_path)["train/samples_per_s"]] == [2.0] * 4


def test_an_unknown_peak_logs_no_mfu(tokens_folder: Path, tmp_path: Path) -> None:
    fit(arguments(tokens_folder, tmp_path, "--trainer.max_steps=1"))
    assert "train/samples_per_s" in read_metrics(tmp_path)
    assert "train/mfu" not in read_metrics(tmp_path)


def test_a_global_batch_is_reached_by_accumulation(tokens_folder: Path, tmp_path: Path) -> None:
    run = FitCLI(arguments(tokens_folder, tmp_path, "--global_batch=6"))
    assert run.trainer.accumulate_grad_batches == 3
    assert run.trainer.val_check_interval == 6
    run.train()
    steps = sorted(path.name for path in (tmp_path / "step_losses").iterdir())
    assert steps == ["00000002.csv", "00000004.csv"]


@pytest.mark.parametrize("more", [["--global_batch=5"], ["--trainer.accumulate_grad_batches=2"]])
def test_a_batch_that_cannot_be_shared_is_named(tokens_folder: Path, tmp_path: Path, more: list[str]) -> None:
    with pytest.raises(ValueError, match="global_batch"):
        FitCLI(arguments(tokens_folder, tmp_path, "--global_batch=4", *more))


@pytest.mark.parametrize("settings", [{"every": 0}, {"count": 0}])
def test_wrong_settings_are_named(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SampleClips(**settings)


def test_costs_are_printed_for_the_tokens_there(
    tokens_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *arguments(tokens_folder, tmp_path, "--global_batch=8", "--print-costs")]) == 0
    printed = capsys.readouterr().out
    assert "2x2x2 = 8 a clip, 9 codes, 2 classes: found" in printed
    assert "4 steps of 8 clips" in printed
    assert "8 x 80 GB" in printed
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("generator/ucf101_1x4x4", ["95 of at most 16 tokens", "3,000 epochs", "512x125"]),
        ("tokenizer/ucf101_128", ["17x128x128 pixels to 5x16x16 tokens", "300,000 steps of 8 clips"]),
    ],
)
def test_costs_need_neither_data_nor_devices(
    config: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = config_folder() / f"{config}.yaml"
    gpus = config_folder() / "trainer" / "gpus.yaml"
    assert main(["fit", "--config", str(path), "--config", str(gpus), "--print-costs"]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in expected)

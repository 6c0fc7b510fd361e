"""Rates: what they count, and what they leave out."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from parvideo.training.callbacks.throughput import Throughput
from parvideo.training.cli import FitCLI, fit
from parvideo.training.costs import TransformerCosts
from parvideo.training.generator import GeneratorModule
from parvideo.training.loggers import read_metrics
from tests.training.modules import trainer_at
from tests.training.runs import arguments


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


def test_rates_are_of_training_alone(tokens_folder: Path) -> None:
    """Ten steps of 8 samples in 5 seconds, with a validation of 100 seconds between."""
    now = 0.0
    rates = Throughput(clock=lambda: now)
    logged: dict[str, float] = {}
    module: Any = SimpleNamespace(log=lambda name, value: logged.update({name: value}))
    trainer: Any = trainer_at(0)
    trainer.log_every_n_steps, trainer.world_size, trainer.accumulate_grad_batches = 10, 2, 1
    trainer.optimizers = [SimpleNamespace(param_groups=[{"lr": 0.25}])]
    rates.on_train_start(trainer, module)
    now = 2.0
    rates.on_validation_start(trainer, module)
    now = 102.0
    rates.on_validation_end(trainer, module)
    now, trainer.global_step = 105.0, 10
    batch = {"label": torch.zeros(4), "tokens": torch.zeros(4, 2, 3, 3)}
    rates.on_train_batch_end(trainer, module, None, batch, 0)
    assert logged == {
        "train/lr": 0.25,
        "train/samples_per_s": pytest.approx(10 * 8 / 5),
        "train/tokens_per_s": pytest.approx(10 * 8 * 18 / 5),
    }
    with pytest.raises(ValueError, match="peak_flops is 0"):
        Throughput(0)

"""When a run is saved, and how many of its checkpoints stay."""

import signal
from pathlib import Path

import pytest
import torch

from parvideo.training.callbacks.checkpoint import RunCheckpoints
from parvideo.training.callbacks.misc import StepSeed
from parvideo.training.checkpoints import FOLDER
from parvideo.training.cli import FitCLI, fit
from parvideo.training.loggers import read_metrics
from tests.training.runs import arguments


@pytest.mark.parametrize(("every", "keep"), [(0, 1), (1, 0)])
def test_wrong_settings_are_named(tmp_path: Path, every: int, keep: int) -> None:
    with pytest.raises(ValueError, match="every"):
        RunCheckpoints(tmp_path, every, keep)


def test_the_newest_two_stay_and_the_last_step_is_one_of_them(tokens_folder: Path, tmp_path: Path) -> None:
    fit(arguments(tokens_folder, tmp_path, "--checkpoint_every=1"))
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == [
        "step-00000003.ckpt",
        "step-00000004.ckpt",
    ]


def test_a_signal_saves_the_step_it_came_in_and_stops_before_the_next(
    tokens_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StepSeed.on_train_batch_start

    def send(self, trainer, pl_module, batch, batch_idx):  # type: ignore[no-untyped-def]
        original(self, trainer, pl_module, batch, batch_idx)
        if trainer.global_step == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(StepSeed, "on_train_batch_start", send)
    run = FitCLI(arguments(tokens_folder, tmp_path))
    with pytest.raises(SystemExit) as stopped:
        run.train()
    assert stopped.value.code == 128 + signal.SIGTERM
    assert run.checkpoints is not None
    assert run.checkpoints.stopped_by == signal.SIGTERM
    (path,) = (tmp_path / FOLDER).iterdir()
    assert path.name == "step-00000003.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 3
    assert [step for step, _ in read_metrics(tmp_path)["train/loss"]] == [1, 2, 3]

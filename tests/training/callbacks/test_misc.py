"""Steps are seeded by their number alone; compiling changes no number."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from parvideo.training.callbacks.misc import Compile, StepSeed
from parvideo.training.cli import fit
from tests.training.modules import make_module, trainer_at
from tests.training.runs import arguments


def test_a_steps_draws_depend_on_seed_batch_and_rank_alone() -> None:
    def draw(seed: int, batch: int, rank: int) -> float:
        progress = SimpleNamespace(total=SimpleNamespace(ready=batch))
        loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
        torch.rand(int(torch.randint(1, 9, ())))  # whatever was drawn before
        trainer: Any = SimpleNamespace(fit_loop=loop, global_rank=rank)
        module: Any = None
        StepSeed(seed).on_train_batch_start(trainer, module, None, 0)
        return float(torch.rand(()))

    places = [(seed, batch, rank) for seed in (0, 1) for batch in (0, 1, 2) for rank in (0, 1)]
    drawn = [draw(*place) for place in places]
    assert drawn == [draw(*place) for place in places]
    assert len(set(drawn)) == len(places)


def test_compiling_changes_no_name_and_no_number(tokens_folder: Path) -> None:
    module = make_module(tokens_folder).eval()
    tokens, labels = torch.randint(0, 9, (2, 2, 2, 2)), torch.tensor([0, 1])
    names = list(module.state_dict())
    before = module.losses(tokens, labels, module.orders[0])
    Compile("eager").on_fit_start(trainer_at(0), module)
    assert list(module.state_dict()) == names
    torch.testing.assert_close(module.losses(tokens, labels, module.orders[0]), before)
    with pytest.raises(ValueError, match="compile is 'fast'; torch.compile has the backends .*inductor"):
        Compile("fast")


def test_a_log_says_how_far_training_is(
    tokens_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each step, where there is no time between lines; with the loss, and whole."""
    monkeypatch.setattr("parvideo.progress.LINE_SECONDS", 0.0)
    fit(arguments(tokens_folder, tmp_path / "run"))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("training run: ")]
    for step in range(1, 5):
        assert any(
            re.match(rf"training run: {step} of 4 steps \({25 * step} %\), .* left, ", line) for line in lines
        )
    assert re.search(r"step.*, loss=\d", lines[-1])
    assert any("validating=1/" in line for line in lines)

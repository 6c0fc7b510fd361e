"""The adversary: when it enters the tokenizer's loss, and how strongly."""

from typing import Any

import pytest
import torch

from parvideo.tokenizer.discriminator import ClipDiscriminator
from parvideo.training.adversary import Adversary


def test_weight_schedule_of_the_adversary() -> None:
    rises = adversary(start=10, warmup_steps=5, ramp_steps=4, weight=0.1)
    assert [rises.weight_at(step) for step in (0, 10, 14)] == [0, 0, 0]
    assert rises.weight_at(15) == pytest.approx(0.02)
    assert rises.weight_at(19) == rises.weight_at(1000) == 0.1
    with pytest.raises(ValueError, match="ramp_steps must be 0 or more, got -1"):
        adversary(ramp_steps=-1)


def adversary(**settings: Any) -> Adversary:
    torch.manual_seed(1)
    discriminator = ClipDiscriminator(channels=8, num_layers=2, norm_groups=4, frames=2)
    return Adversary(discriminator, **{"start": 2, "warmup_steps": 2, "ramp_steps": 2} | settings)

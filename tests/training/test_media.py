"""Pictures and levels in logs: nothing of the counts is lost."""

from typing import Any

import torch

from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS
from parvideo.training.media import level_counts
from parvideo.training.tokenizer import TokenizerModule


def module(**settings: Any) -> TokenizerModule:
    torch.manual_seed(0)
    tokenizer = CausalVideoTokenizer(**PRESETS["tiny"] | {"channels": 16, "norm_groups": 4})
    return TokenizerModule(tokenizer, **{"lr": 3e-3, "warmup_steps": 2} | settings)


def test_level_counts_add_up() -> None:
    quantizer = module().tokenizer.quantizer
    counts = torch.zeros(1000, dtype=torch.int64)
    counts[7] = 2  # levels (7, 0, 0, 0)
    counts[8 * 5 * 4] = 3  # levels (0, 0, 4, 0)
    levels = level_counts(quantizer, counts)  # type: ignore[arg-type]
    assert [len(channel) for channel in levels] == [8, 5, 5, 5]
    assert levels[0].tolist() == [3, 0, 0, 0, 0, 0, 0, 2]
    assert levels[2].tolist() == [2, 0, 0, 0, 3]

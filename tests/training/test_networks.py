"""What a Lightning module trains."""

from pathlib import Path
from typing import Any

import pytest
import torch

from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.training.networks import trained_network
from parvideo.training.tokenizer import TokenizerModule
from tests.training.modules import make_module


def test_what_is_trained_is_known_or_refused(tokens_folder: Path) -> None:
    module = make_module(tokens_folder)
    assert trained_network(module) is module.transformer
    tokenizer = CausalVideoTokenizer.from_preset("tiny")
    assert trained_network(TokenizerModule(tokenizer)) is tokenizer
    other: Any = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="Linear is neither"):
        trained_network(other)

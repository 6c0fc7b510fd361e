"""Other projects' code is timed without touching it."""

from pathlib import Path

import pytest
import torch

from parvideo.benchmark.peers import Peer, supports
from parvideo.order import regions
from parvideo.transformer import VideoTransformer

PEER = """
from dataclasses import dataclass
import torch
from torch import nn


@dataclass
class ModelArgs:
    dim: int
    n_layer: int
    n_head: int
    vocab_size: int
    num_classes: int
    block_size: int


class Cache(nn.Module):
    def __init__(self):
        super().__init__()
        self.k_cache, self.v_cache = torch.zeros(1), torch.zeros(1)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.Module()


class Transformer(nn.Module):
    def __init__(self, arguments):
        super().__init__()
        self.arguments, self.positions = arguments, []
        self.layers = nn.ModuleList([Layer()])
        self.output = nn.Linear(arguments.dim, arguments.vocab_size)

    def setup_caches(self, max_batch_size, max_seq_length, dtype):
        self.layers[0].attention.kv_cache = Cache()


def prefill(model, labels, position, scale, **drawing):
    model.positions.append(0)


def decode_n_tokens(model, tokens, position, count, scale, interval, **drawing):
    model.positions.append(int(position))
"""


def test_a_checkout_of_other_code_is_timed_without_touching_it(tmp_path: Path) -> None:
    """A stand-in with the official code's names, which itself is not contained here."""
    models = tmp_path / "official" / "autoregressive" / "models"
    models.mkdir(parents=True)
    (models / "gpt.py").write_text(PEER)
    (models / "generate.py").write_text("from autoregressive.models.gpt import decode_n_tokens, prefill\n")
    one, four = regions((2, 4, 4), (1, 1, 1)), regions((2, 4, 4), (1, 2, 2))
    model = VideoTransformer(one.grid, 64, 2, dim=16, num_layers=1, num_heads=2)
    folder = tmp_path / "official"
    assert supports(folder, one)
    assert not supports(folder, four)
    with pytest.raises(ValueError, match="one token a step, not 4"):
        Peer(folder, model, four, 1, 2.0, torch.float32)
    peer = Peer(folder, model, one, 1, 2.0, torch.float32)
    peer.step(5)
    assert peer.model.positions == [0, 5]
    assert peer.model.arguments.block_size == 36  # the smallest square that holds 32 tokens
    assert peer.name == "official"

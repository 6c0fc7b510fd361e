"""A toy set so small that every command can be tried on it, and models that fit it."""

from pathlib import Path

import pytest
import torch

from parvideo.datasets import ToySettings, write_toy_data
from parvideo.order import regions
from parvideo.pretrained import save_generator, save_tokenizer
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.transformer import VideoTransformer


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve videos of two classes in UCF-101's layout: eight to train on, four to test."""
    folder = tmp_path_factory.mktemp("toy")
    settings = ToySettings(num_classes=2, groups=3, clips_per_group=2, height=16, width=20, frames=30)
    write_toy_data(folder, settings)
    return folder


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tokenizer of clips 5 x 16 x 16 at 12.5 fps to tokens 3 x 4 x 4 of 9 codes."""
    folder = tmp_path_factory.mktemp("tokenizer")
    torch.manual_seed(0)
    tokenizer = CausalVideoTokenizer(
        channels=4,
        channel_multipliers=(1, 1, 1),
        num_res_blocks=1,
        time_strides=(2, 1),
        space_strides=(2, 2),
        norm_groups=2,
        levels=(3, 3),
    )
    save_tokenizer(folder, tokenizer, extra={"frames": 5, "size": 16, "fps": 12.5, "stride": None})
    return folder


@pytest.fixture(scope="session")
def generator_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """An untrained generator of those tokens in the order of four spatial regions, for three classes."""
    folder = tmp_path_factory.mktemp("generator")
    torch.manual_seed(0)
    order = regions((3, 4, 4), (1, 2, 2))
    transformer = VideoTransformer(order.grid, 9, 3, dim=16, num_layers=1, num_heads=2, num_transitions=3)
    names = ["Archery", "Bowling", "Surfing"]
    save_generator(folder / "model", transformer, names, tokenizer_folder, [order], extra={"fps": 12.5})
    return folder

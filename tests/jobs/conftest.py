"""What can be scored, and against what."""

from pathlib import Path

import numpy as np
import pytest
import torch

from parvideo.datasets import load_videos
from parvideo.metrics.extractors.small_i3d import SmallI3D, SmallI3DExtractor
from parvideo.order import regions
from parvideo.pretrained.folder import save_generator, save_tokenizer
from parvideo.synthetic.shapes import ShapesSettings, write_shapes_data
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS
from parvideo.transformer import VideoTransformer


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shapes set of two classes, a feature network, saved clips, a tokenizer and a generator."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("evaluate")
    write_shapes_data(folder / "toy", ShapesSettings(2, 3, 2, frames=40))
    SmallI3DExtractor(SmallI3D(2, width=1), frames=9, size=32).save(folder / "net")
    (folder / "clips").mkdir()
    clips = np.random.default_rng(0).integers(0, 256, (6, 9, 32, 32, 3), dtype=np.uint8)
    for k in range(2):
        rows = slice(3 * k, 3 * k + 3)
        np.savez(
            folder / f"clips/clips-{k:05d}.npz",
            clips=clips[rows],
            labels=np.arange(6)[rows] % 2,
            indices=np.arange(6)[rows],
        )
    tokenizer = CausalVideoTokenizer(**PRESETS["tiny"])
    save_tokenizer(folder / "tokenizer", tokenizer)
    order = regions(tokenizer.latent_grid((9, 32, 32)), (1, 2, 2))
    shape = {"dim": 16, "num_layers": 1, "num_heads": 2, "num_transitions": order.num_transitions}
    transformer = VideoTransformer(order.grid, tokenizer.codebook_size, 2, **shape)
    names = load_videos(folder / "toy").class_names
    save_generator(folder / "model", transformer, names, folder / "tokenizer", [order])
    return folder

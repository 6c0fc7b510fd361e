"""Small pipelines to test with."""

from pathlib import Path

import torch

from parvideo.order import OrderSpec, regions
from parvideo.pipeline.video_pipeline import VideoPipeline
from parvideo.pretrained.folder import (
    save_generator,
    save_tokenizer,
)
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.transformer import VideoTransformer

NAMES = ["Archery", "ApplyEyeMakeup", "Basketball", "BasketballDunk"]


def make(classes: int = 4, codebook: int = 9) -> VideoPipeline:
    tokenizer = CausalVideoTokenizer(
        channels=4,
        channel_multipliers=(1, 1),
        num_res_blocks=1,
        time_strides=(2,),
        space_strides=(2,),
        norm_groups=2,
        levels=(3, 3),
    )
    shape = {"dim": 16, "num_layers": 1, "num_heads": 2, "num_transitions": 3}
    transformer = VideoTransformer((2, 2, 2), codebook, classes, **shape)
    return VideoPipeline(tokenizer, transformer, NAMES, [regions((2, 2, 2), (1, 2, 2))])


CUTS = ((1, 2, 2), (1, 1, 1), (2, 2, 2))


LABELS = torch.tensor([0, 1, 2])


def several_orders(folder: Path, *specs: OrderSpec) -> Path:
    """A folder of a transformer for several orders on the grid (2, 2, 2), those of `CUTS` if none given."""
    orders = [spec.build((2, 2, 2)) for spec in specs or map(OrderSpec, CUTS)]
    shape = {
        "dim": 16,
        "num_layers": 1,
        "num_heads": 2,
        "target_position_embedding": True,
        "num_transitions": 7,
    }
    transformer = VideoTransformer((2, 2, 2), 9, 4, **shape)
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    save_tokenizer(folder / "tokenizer", make().tokenizer)
    save_generator(folder / "model", transformer, NAMES, folder / "tokenizer", orders)
    return folder / "model"

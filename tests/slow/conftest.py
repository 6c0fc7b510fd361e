"""What the commands need to run on: synthetic videos and models so tiny that only their plumbing is tried."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from parvideo.metrics.extractors.small_i3d import SmallI3D, SmallI3DExtractor
from parvideo.order import regions
from parvideo.pretrained.folder import save_generator, save_tokenizer
from parvideo.synthetic import ShapesSettings, write_shapes_data
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.transformer import VideoTransformer


@pytest.fixture(scope="session")
def write_world() -> Callable[[Path, int, int], None]:
    """Writes toy/, tokenizer/, model/ and net/ into a folder, given groups and clips of a group per class."""

    def write(folder: Path, groups: int, clips_per_group: int) -> None:
        settings = ShapesSettings(
            num_classes=2, groups=groups, clips_per_group=clips_per_group, height=16, width=20, frames=30
        )
        write_shapes_data(folder / "toy", settings)
        torch.manual_seed(0)
        tokenizer = CausalVideoTokenizer(
            channels=4,
            channel_multipliers=(1, 1, 1),
            num_res_blocks=1,
            time_strides=(2, 2),
            space_strides=(2, 2),
            norm_groups=2,
            levels=(3, 3),
        )
        form = {"frames": 9, "size": 16, "fps": 12.5, "stride": None}
        save_tokenizer(folder / "tokenizer", tokenizer, extra=form)
        order = regions((3, 4, 4), (1, 2, 2))
        shape = {"dim": 16, "num_layers": 1, "num_heads": 2, "num_transitions": order.num_transitions}
        transformer = VideoTransformer(order.grid, 9, 2, **shape)
        tokens_of, extra = folder / "tokenizer", {"fps": 12.5}
        save_generator(folder / "model", transformer, ["a", "b"], tokens_of, [order], extra=extra)
        SmallI3DExtractor(SmallI3D(2, width=1), frames=9, size=16).save(folder / "net")

    return write

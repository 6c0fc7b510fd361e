"""Tokens of a made-up set, in which the class decides the tokens."""

from pathlib import Path

import pytest
import torch

from parvideo.datasets import TokenPlan, TokenWriter
from parvideo.pretrained import TOKENIZER, fingerprint, save_tokenizer
from parvideo.tokenizer import CausalVideoTokenizer


@pytest.fixture(scope="session")
def tokens_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `parvideo tokenize` leaves: train/ (22 clips), test/ (5), tokenizer/; grid (2, 2, 2), 9 codes."""
    folder = tmp_path_factory.mktemp("tokens")
    torch.manual_seed(0)
    tokenizer = CausalVideoTokenizer(
        channels=4,
        channel_multipliers=(1, 1),
        num_res_blocks=1,
        time_strides=(2,),
        space_strides=(2,),
        norm_groups=2,
        levels=(3, 3),
    )
    form = {"frames": 3, "size": 4, "fps": 8.0, "stride": None}
    save_tokenizer(folder / TOKENIZER, tokenizer, extra=form)
    for split, count in (("train", 22), ("test", 5)):
        labels = [index % 2 for index in range(count)]
        plan = TokenPlan(
            tokenizer=fingerprint(folder / TOKENIZER),
            data="none",
            grid=(2, 2, 2),
            codebook_size=9,
            class_names=["Left", "Right"],
            frames=3,
            fps=8.0,
            stride=None,
            views=["center"],
            ids=[f"{split}{index} center" for index in range(count)],
            labels=labels,
            shard_size=8,
        )
        writer = TokenWriter(folder / split, plan)
        for shard in writer.missing_shards():
            chosen = torch.tensor([labels[item] for item in plan.items(shard)])
            noise = torch.randint(0, 2, (len(chosen), 2, 2, 2))
            writer.write_shard(shard, 4 * chosen[:, None, None, None] + noise)
        writer.finish()
    return folder

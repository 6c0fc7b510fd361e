"""`parvideo sample` of many clips takes the memory of few: peaks of whole processes, printed and compared."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from parvideo.order import regions
from parvideo.pretrained.folder import save_generator, save_tokenizer
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.transformer import VideoTransformer

logger = logging.getLogger(__name__)
pytestmark = pytest.mark.slow

CHILD = """
import resource, sys
from parvideo.cli import main

assert main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
CLIP = 5 * 128 * 128 * 3


def peak(model: Path, out: Path, num: int) -> int:
    """Peak memory in bytes of a process that samples ``num`` clips."""
    words = ["sample", "--model", model, "--out", out, "--num", num, "--accelerator=cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return int(done.stdout.split()[-1])


def test_two_thousand_clips_take_the_memory_of_two_hundred(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = CausalVideoTokenizer(
        channels=4,
        channel_multipliers=(1,),
        num_res_blocks=1,
        time_strides=(),
        space_strides=(),
        patch_size=32,
        patch_frames=4,
        norm_groups=2,
        levels=(3, 3),
    )
    save_tokenizer(tmp_path / "tokenizer", tokenizer)
    order = regions((2, 4, 4), (1, 4, 4))
    shape = {"dim": 16, "num_layers": 1, "num_heads": 2, "num_transitions": order.num_transitions}
    transformer = VideoTransformer(order.grid, 9, 1, **shape)
    save_generator(tmp_path / "model", transformer, ["a"], tmp_path / "tokenizer", [order])
    peaks = {num: peak(tmp_path / "model", tmp_path / str(num), num) for num in (200, 2000)}
    logger.info(
        "peaks of %s clips: %s MB; the clips alone: %s MB",
        list(peaks),
        [round(size / 1e6) for size in peaks.values()],
        [round(num * CLIP / 1e6) for num in peaks],
    )
    assert peaks[2000] - peaks[200] < 0.1 * 1800 * CLIP
    files = sorted((tmp_path / "2000").glob("*.npz"))
    assert len(files) == 125
    for number, file in enumerate(files):
        with np.load(file) as arrays:
            assert arrays["indices"].tolist() == list(range(16 * number, 16 * number + 16))
            assert arrays["clips"].shape == (16, 5, 128, 128, 3)

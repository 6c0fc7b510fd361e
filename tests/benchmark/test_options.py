"""The benchmark's options reach the report's settings, and what contradicts itself is refused at once."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from parvideo.benchmark.options import BenchOptions

RENAMED = {
    "num_layers": "layers",
    "num_heads": "heads",
    "codebook_size": "vocabulary",
    "num_classes": "classes",
    "batch_size": "batch",
    "guidance_scale": "guidance",
    "peer": "peers",
}
ELSEWHERE = {"device", "decoders", "cells", "out"}
"""What the command looks at by itself."""


def test_every_option_reaches_the_settings() -> None:
    given: dict[str, Any] = {
        "size": "L",
        "dim": 64,
        "num_layers": 2,
        "num_heads": 4,
        "codebook_size": 99,
        "num_classes": 3,
        "grid": "2,4,4",
        "regions": ["1,2,2"],
        "batch_size": 5,
        "guidance_scale": 1.0,
        "dtype": "bfloat16",
        "threads": 2,
        "steps_limit": 0,
        "repeats": 7,
        "clock": "wall",
        "plain": False,
        "peer": [Path("official")],
        "tokenizer": "none",
        "training": True,
        "kernels": True,
    }
    names = {field.name for field in dataclasses.fields(BenchOptions)}
    assert names == set(given) | ELSEWHERE
    settings = BenchOptions(**given).settings()
    expected = given | {"grid": (2, 4, 4), "regions": [(1, 2, 2)], "peer": ["official"]}
    for name, value in expected.items():
        assert getattr(settings, RENAMED.get(name, name)) == value, name


def test_what_is_not_given_is_the_paper_s_grid_in_three_orders() -> None:
    settings = BenchOptions().settings()
    assert (settings.batch, settings.dtype, settings.grid) == (1, "float32", (5, 16, 16))
    assert settings.regions == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": "5,16"}, "grid is '5,16'"),
        ({"clock": "cpu", "threads": 2}, "clock cpu counts one thread's time"),
        ({"batch_size": 0}, "batch_size is 0; it must be 1 or more"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"dim": -1}, "dim is -1"),
        ({"regions": ["1,2"]}, "regions is '1,2'"),
        ({"tokenizer": "huge"}, "tokenizer must be none or one of"),
        ({"device": "cuda", "kernels": True}, "kernels is timed on a CPU only"),
        ({"device": "cuda", "peer": [Path("x")]}, "peer is timed on a CPU only"),
        ({"steps_limit": -1}, "steps_limit is -1; it must be 0 or more"),
    ],
)
def test_bad_requests_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BenchOptions(**changes).settings()

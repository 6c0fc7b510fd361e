"""The one way between files' pixels and networks' numbers."""

import math

import pytest
import torch

from parvideo.pixels import to_float, to_uint8


def test_every_level_survives_the_round_trip() -> None:
    clips = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16, 1).expand(2, 3, -1, -1, 3)
    assert torch.equal(to_uint8(to_float(clips)), clips)


def test_black_is_minus_one_and_white_is_one() -> None:
    clips = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2, 1).expand(-1, -1, -1, -1, 3)
    assert to_float(clips)[0, :, 0, 0].T.tolist() == [[-1.0] * 3, [1.0] * 3]


def test_pixels_are_rounded_to_the_nearest_level_and_clamped() -> None:
    levels = torch.tensor([99.6, 100.4, -30.0, 300.0])
    clips = (levels / 127.5 - 1).reshape(1, 1, 1, 4).expand(3, -1, -1, -1)
    assert to_uint8(clips)[0, 0, :, 0].tolist() == [100, 100, 0, 255]


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (torch.zeros(1, 2, 2, 3), "uint8 .* got torch.float32"),
        (torch.zeros(1, 2, 2, 4, dtype=torch.uint8), r"got torch.uint8 \[1, 2, 2, 4\]"),
    ],
)
def test_wrong_pixels_are_refused(clips: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_float(clips)


def test_broken_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(torch.full((3, 1, 2, 2), math.nan))
    with pytest.raises(ValueError, match=r"float \[..., 3, T, H, W\], got torch.uint8"):
        to_uint8(torch.zeros(3, 1, 2, 2, dtype=torch.uint8))

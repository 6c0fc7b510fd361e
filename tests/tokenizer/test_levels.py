"""Levels: what they say of themselves is what a network of them does, and what cannot be is refused."""

from typing import Any

import pytest
import torch

from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.levels import Levels

ENCODER: dict[str, Any] = {
    "channels": 4,
    "channel_multipliers": (1, 2, 3),
    "num_res_blocks": 1,
    "time_strides": (1, 2),
    "space_strides": (2, 2),
    "patch_size": 2,
    "patch_frames": 2,
}


def test_factors_and_widths() -> None:
    levels = Levels(**ENCODER)
    assert (levels.time_factor, levels.space_factor) == (4, 8)
    assert levels.widths == [4, 8, 12]
    assert levels.strides == [(1, 2), (2, 2)]
    assert levels.pixel_channels == 3 * 2 * 2 * 2
    assert Levels(**{**ENCODER, "channel_multipliers": [1, 2, 3]}) == levels  # as JSON gives it back


@pytest.mark.parametrize(
    "decoder",
    [
        {"channel_multipliers": [1], "time_strides": [], "space_strides": [], "patch_size": 8}
        | {"patch_frames": 4},
        {"channel_multipliers": [2, 1], "time_strides": [2], "space_strides": [2], "patch_size": 4},
        {"channel_multipliers": [1, 1, 1, 1], "time_strides": [1, 2, 2], "space_strides": [2, 2, 2]}
        | {"patch_size": 1, "patch_frames": 1},
    ],
)
def test_any_decoder_of_the_same_factors_serves_the_same_tokens(decoder: dict[str, Any]) -> None:
    torch.manual_seed(0)
    plain = CausalVideoTokenizer(**ENCODER, norm_groups=4)
    other = CausalVideoTokenizer(
        **ENCODER, norm_groups=4, decoder_levels=Levels(**{**ENCODER, "channels": 8, **decoder})
    )
    other.encoder.load_state_dict(plain.encoder.state_dict())
    clips = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    with torch.no_grad():
        tokens = other.encode(clips)
        assert torch.equal(tokens, plain.encode(clips))
        assert other.decode(tokens).shape == clips.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_strides": [1]}, r"time_strides must be 2 values.*got \[1\]"),
        ({"space_strides": [2, 4]}, r"space_strides must be 2 values of 1 or 2.*got \[2, 4\]"),
        ({"patch_frames": 0}, "patch_size and patch_frames must be at least 1, got 2, 0"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Levels(**ENCODER | change)


def test_groups_must_divide_every_width() -> None:
    levels = Levels(**ENCODER)
    levels.check_norm(4)
    with pytest.raises(ValueError, match=r"every level's width \[4, 8, 12\], got 8"):
        levels.check_norm(8)


def test_of_takes_what_a_configuration_holds() -> None:
    levels = Levels(**ENCODER)
    assert Levels.of(levels) is levels
    assert Levels.of(ENCODER) == levels
    for wrong in (3, {**ENCODER, "depth": 1}, {"channels": 4}):
        with pytest.raises(ValueError, match="decoder_levels must have the fields of Levels"):
            Levels.of(wrong)

"""The named sizes have the parameter counts that the field knows them by."""

import pytest
import torch

from parvideo.transformer import VideoTransformer, transformer_size


@pytest.mark.parametrize(
    ("name", "codebook_size", "num_classes", "millions"),
    [
        ("B", 16384, 1000, 111),
        ("L", 16384, 1000, 343),
        ("XL", 16384, 1000, 775),
        ("XXL", 16384, 1000, 1411),
        ("3B", 16384, 1000, 3097),
        ("video-792M", 64000, 101, 794),
    ],
)
def test_parameter_counts(name: str, codebook_size: int, num_classes: int, millions: int) -> None:
    size = transformer_size(name)
    with torch.device("meta"):
        model = VideoTransformer(
            (1, 24, 24),
            codebook_size,
            num_classes,
            size.dim,
            size.num_layers,
            size.num_heads,
            num_transitions=3,
        )
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(ValueError, match="must be one of B, L, XL, .* got 'M'"):
        transformer_size("M")

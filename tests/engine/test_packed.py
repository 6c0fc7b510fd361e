"""Packed linear layers compute what plain ones do."""

import pytest
import torch

from parvideo.engine.packed import DecodeLinear, packing_obstacle


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 7, 40])
def test_packed_and_plain_linear_layers_agree(dtype: torch.dtype, rows: int) -> None:
    weight, x = torch.randn(96, 48, dtype=dtype), torch.randn(rows, 48, dtype=dtype)
    obstacle = packing_obstacle(weight)
    if obstacle is not None:
        pytest.skip(obstacle)
    packed, plain = DecodeLinear(weight, True)(x), DecodeLinear(weight, False)(x)
    torch.testing.assert_close(packed, plain)

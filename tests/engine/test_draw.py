"""Blockwise drawing equals the plain sampler's."""

import math
from typing import Any

import pytest
import torch

from parvideo.engine.draw import block_size, draw_tokens
from parvideo.sampling import SamplingConfig, sample_tokens
from parvideo.sampling.noise import draw_uniforms


@pytest.mark.parametrize("vocabulary", [64, 1000, 16384])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_draws_equal_sample_tokens(vocabulary: int, temperature: float) -> None:
    rows = 100
    logits = torch.randn(rows, vocabulary) * 3
    logits[:, ::5] = -math.inf
    uniforms = draw_uniforms(1, [0], rows)[0]
    uniforms[:3] = torch.tensor([0.0, 0.5, 1 - 2**-53])
    for config in (
        SamplingConfig(temperature=temperature),
        SamplingConfig(temperature=temperature, top_k=50),
        SamplingConfig(temperature=temperature, top_p=0.7),
        SamplingConfig(temperature=0),
    ):
        buffer = torch.empty_like(logits)
        drawn = draw_tokens(logits.clone(), uniforms, config, block_size(vocabulary), buffer)
        assert torch.equal(drawn, sample_tokens(logits, uniforms, config))
        assert torch.isfinite(logits.gather(1, drawn[:, None])).all()


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-30, 1e39])
@pytest.mark.parametrize("top", [{}, {"top_k": 5}, {"top_p": 1e-46}])
def test_draws_equal_sample_tokens_at_the_edge(temperature: float, top: dict[str, Any]) -> None:
    logits = torch.randn(100, 64) * 1e9
    logits[:, ::5] = -math.inf
    uniforms = draw_uniforms(1, [0], 100)[0]
    config = SamplingConfig(temperature=temperature, **top)
    drawn = draw_tokens(logits.clone(), uniforms, config, 32, torch.empty_like(logits))
    assert torch.equal(drawn, sample_tokens(logits, uniforms, config))
    if temperature < 1:
        assert torch.equal(drawn, logits.argmax(dim=1))


@pytest.mark.parametrize("vocabulary", [64, 1000, 16384, 64000, 65536])
def test_blocks_divide_the_vocabulary(vocabulary: int) -> None:
    assert 32 <= block_size(vocabulary) <= 512
    assert vocabulary % block_size(vocabulary) == 0
    assert block_size(61) == 0


@pytest.mark.parametrize("temperature", [0.0, 1e-40, 0.5, 1.0])
@pytest.mark.parametrize(
    ("value", "message"), [(math.nan, "NaN"), (-math.inf, "masked out"), (math.inf, "infinity")]
)
def test_broken_logits_are_named(temperature: float, value: float, message: str) -> None:
    logits, config = torch.zeros(2, 64), SamplingConfig(temperature=temperature)
    logits[1] = value
    for same in (value, 0.0):  # in all of a row, or in one place
        if same == 0.0 and value == -math.inf:
            continue
        logits[1, :-1] = same
        with pytest.raises(ValueError, match=message):
            draw_tokens(logits.clone(), torch.zeros(2).double(), config, 32, torch.empty(2, 64))
        with pytest.raises(ValueError, match=message):
            sample_tokens(logits, torch.zeros(2).double(), config)

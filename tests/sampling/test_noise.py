"""Gumbel noise: the softmax's distribution, and a key of its own for every number."""

import dataclasses
import math

import pytest
import torch

from parvideo.engine.cpu import CpuEngine
from parvideo.order import OrderSpec
from parvideo.sampling.config import SamplingConfig
from parvideo.sampling.loop import generate, sample_tokens
from parvideo.sampling.noise import draw_gumbels, draw_uniforms
from tests.engine.cases import GRID, LABELS, ORDER, make

GUMBEL = SamplingConfig(noise="gumbel")


def test_tokens_drawn_by_gumbel_noise_follow_the_filtered_softmax() -> None:
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0, -math.inf, 1.0])
    noise = draw_gumbels(0, [0], [range(20_000)], 6)[0]
    for changes in ({}, {"temperature": 2.0}, {"top_k": 2}, {"top_p": 0.7}):
        config = dataclasses.replace(GUMBEL, **changes)  # type: ignore[arg-type]
        drawn = sample_tokens(logits.expand(20_000, 6), noise, config)
        expected = (logits / config.temperature).softmax(0)
        if changes.keys() & {"top_k", "top_p"}:
            kept = expected >= expected.sort(descending=True).values[1]
            expected = torch.where(kept, expected, 0.0) / expected[kept].sum()
        share = torch.bincount(drawn, minlength=6) / 20_000
        assert (share - expected).abs().max() < 0.012  # three standard errors
        assert share[4] == 0
    greedy = sample_tokens(logits[None], noise[:1], dataclasses.replace(GUMBEL, temperature=0))
    assert greedy.tolist() == [2]


def test_digits_are_drawn_each_by_its_own_numbers() -> None:
    logits = torch.randn(5000, 3).repeat(1, 2)  # two digits alike
    noise = draw_gumbels(3, [0], [range(5000)], 6)[0]
    drawn = sample_tokens(logits, noise, GUMBEL, codebook_factors=(3, 3))
    assert torch.equal(drawn % 3, (logits + noise)[:, :3].argmax(1))
    assert torch.equal(drawn // 3, (logits + noise)[:, 3:].argmax(1))
    assert (drawn % 3 != drawn // 3).any()


def test_every_number_has_a_key_of_its_own() -> None:
    first = draw_gumbels(0, [0, 1], [[5, 6], [5, 6]], 50)
    others = [
        draw_gumbels(1, [0, 1], [[5, 6], [5, 6]], 50),
        draw_gumbels(0, [0, 1], [[5, 6], [5, 6]], 50, rng_stream=1),
    ]
    numbers = torch.cat([first, *others]).flatten()
    assert len(numbers.unique()) == len(numbers)
    again = draw_gumbels(0, [1], [[6, 4, 5]], 70)[0]
    assert torch.equal(again[[2, 0], :50], first[1])
    beside = (-(-draw_gumbels(0, [0], [[0]], 50)).exp()).exp()[0, 0]  # the uniforms they are made of
    assert (beside - draw_uniforms(0, [0], 50)[0]).abs().min() > 1e-6


def test_a_clip_depends_on_its_seed_and_index_alone() -> None:
    model = make()
    together = generate(model, ORDER, LABELS, GUMBEL, [4, 5, 6])
    for row in range(3):
        alone = generate(model, ORDER, LABELS[row : row + 1], GUMBEL, [4 + row])
        assert torch.equal(alone[0], together[row])
    assert not torch.equal(together, generate(model, ORDER, LABELS, SamplingConfig(), [4, 5, 6]))


def test_a_places_noise_is_the_same_in_every_order() -> None:
    """With logits that hang on nothing before them, orders give the same clip."""
    clips = []
    for spec in (OrderSpec(), OrderSpec((1, 2, 2)), OrderSpec(grouping="dyadic", most=8)):
        order = spec.build(GRID)
        model = make(order)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.1)
        clips.append(generate(model, order, LABELS, GUMBEL))
    assert torch.equal(clips[0], clips[1])
    assert torch.equal(clips[0], clips[2])


def test_engines_refuse_what_they_do_not_draw_by() -> None:
    with pytest.raises(ValueError, match="engines draw by uniform numbers alone, noise is 'gumbel'"):
        CpuEngine(make()).generate(ORDER, LABELS, GUMBEL)
    with pytest.raises(ValueError, match="noise must be one of uniform, gumbel; got 'normal'"):
        SamplingConfig(noise="normal")  # type: ignore[arg-type]


def test_settings_written_before_noise_was_one_are_those_of_uniform_noise() -> None:
    assert "noise" not in SamplingConfig().to_dict()
    assert SamplingConfig(**SamplingConfig(seed=3, top_k=2).to_dict()) == SamplingConfig(seed=3, top_k=2)
    assert SamplingConfig(**GUMBEL.to_dict()) == GUMBEL

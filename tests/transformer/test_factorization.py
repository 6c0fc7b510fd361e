"""Tokens as digits: the inverse pair, the likelihood, and samples that follow it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parvideo.order import OrderSpec
from parvideo.sampling import SamplingConfig, generate, sample_tokens
from parvideo.sampling.noise import draw_uniforms
from parvideo.transformer import VideoTransformer, next_token_loss
from parvideo.transformer.factorization import join_tokens, split_tokens


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_join_undoes_split_over_the_whole_codebook(codebook_factors: list[int]) -> None:
    tokens = torch.arange(torch.tensor(codebook_factors).prod().item())
    digits = split_tokens(tokens, codebook_factors)
    assert torch.equal(join_tokens(digits, codebook_factors), tokens)
    assert all(d.min() >= 0 and d.max() < factor for d, factor in zip(digits, codebook_factors, strict=True))
    assert len(set(zip(*(d.tolist() for d in digits), strict=True))) == len(tokens)


def full_log_probabilities(logits: torch.Tensor, codebook_factors: list[int]) -> torch.Tensor:
    """What the digits' logits say of every token, by enumeration."""
    tokens = torch.arange(torch.tensor(codebook_factors).prod().item())
    parts = [part.log_softmax(-1) for part in logits.split(codebook_factors, dim=-1)]
    return sum(p[..., d] for p, d in zip(parts, split_tokens(tokens, codebook_factors), strict=True))  # type: ignore[return-value]


def test_the_loss_is_the_tokens_negative_log_likelihood() -> None:
    codebook_factors = [4, 3, 5]
    logits, tokens = torch.randn(2, 7, 12), torch.randint(0, 60, (2, 7))
    expected = -full_log_probabilities(logits, codebook_factors).gather(-1, tokens[..., None])[..., 0]
    torch.testing.assert_close(next_token_loss(logits, tokens, codebook_factors), expected)
    # And it is normalised: the probabilities of all tokens sum to one.
    torch.testing.assert_close(
        full_log_probabilities(logits, codebook_factors).exp().sum(-1), torch.ones(2, 7)
    )


def test_samples_follow_the_joint_distribution_of_the_digits() -> None:
    codebook_factors, count = [3, 4], 60000
    logits = torch.randn(7)
    uniforms = draw_uniforms(0, [0], count)[0]
    tokens = sample_tokens(logits.expand(count, -1), uniforms, SamplingConfig(), codebook_factors)
    shares = torch.bincount(tokens, minlength=12) / count
    torch.testing.assert_close(
        shares, full_log_probabilities(logits, codebook_factors).exp(), atol=0.008, rtol=0
    )


def test_a_factorised_model_generates_its_most_likely_tokens() -> None:
    order = OrderSpec(regions=(1, 2, 2)).build((2, 4, 4))
    shape = {"dim": 32, "num_layers": 2, "num_heads": 2, "ffn_hidden": 48, "num_transitions": 3}
    model = VideoTransformer(order.grid, 60, 3, codebook_factors=[12, 5], **shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    labels = torch.tensor([0, 2])
    tokens = order.flatten(generate(model, order, labels, SamplingConfig(temperature=0)))
    best = full_log_probabilities(model(tokens, labels, model.layout(order)), [12, 5]).argmax(-1)
    assert torch.equal(best, tokens)
    assert model.head.weight.shape[0] == 17


def test_factors_that_do_not_multiply_to_the_codebook_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiply to codebook_size 60, got \[12, 4\] with product 48"):
        VideoTransformer((1, 2, 2), 60, 3, dim=32, num_layers=1, num_heads=2, codebook_factors=[12, 4])

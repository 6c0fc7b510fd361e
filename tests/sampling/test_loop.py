"""Sampling: the right distribution, the same clip whatever the batch, and given frames left alone."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from parvideo.checks import place_seed
from parvideo.order import GenerationOrder, OrderSpec, regions
from parvideo.sampling.config import SamplingConfig
from parvideo.sampling.loop import (
    extend,
    filter_logits,
    generate,
    sample_tokens,
)
from parvideo.sampling.noise import draw_uniforms
from parvideo.transformer import VideoTransformer
from parvideo.transformer.factorization import join_tokens

VOCABULARY, CLASSES = 20, 4


ORDER = regions((3, 4, 4), (1, 2, 2))


def make(order: GenerationOrder = ORDER) -> VideoTransformer:
    shape = {"dim": 32, "num_layers": 2, "num_heads": 2, "ffn_hidden": 48}
    shape["num_transitions"] = order.num_transitions
    model = VideoTransformer(order.grid, VOCABULARY, CLASSES, **shape)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


LABELS = torch.tensor([0, 3, 1])


class CountingTransformer(VideoTransformer):
    """Counts its forward calls."""

    calls = 0

    def hidden(self, *args: object, **kwargs: object) -> Tensor:
        self.calls += 1
        return super().hidden(*args, **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "calls"), [((1, 1, 1), 1280), ((1, 2, 2), 323), ((1, 4, 4), 95), ((5, 2, 2), 83)]
)
def test_forward_calls_for_the_papers_grid(counts: tuple[int, int, int], calls: int) -> None:
    order = regions((5, 16, 16), counts)
    shape = {"dim": 8, "num_layers": 1, "num_heads": 1, "ffn_hidden": 8}
    shape["num_transitions"] = order.num_transitions
    model = CountingTransformer(order.grid, VOCABULARY, CLASSES, **shape)
    generate(model.eval(), order, LABELS[:1], SamplingConfig(guidance_scale=2.0))
    assert model.calls == calls


@pytest.mark.parametrize(
    "spec",
    [
        OrderSpec(),
        OrderSpec(regions=(1, 2, 2)),
        OrderSpec(regions=(3, 2, 2)),
        OrderSpec(regions=(1, 2, 2), grouping="adjacent"),
        OrderSpec(regions=(1, 2, 2), initial="parallel"),
        OrderSpec(regions=(1, 2, 2), attention="causal"),
        OrderSpec(regions=(1, 2, 2), transition="repeat"),
    ],
    ids=str,
)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_greedy_tokens_are_the_most_likely_by_the_uncached_forward(spec: OrderSpec, scale: float) -> None:
    order = spec.build(ORDER.grid)
    model = make(order)
    tokens = generate(model, order, LABELS, SamplingConfig(temperature=0, guidance_scale=scale))
    ordered, layout = order.flatten(tokens), model.layout(order)
    guided, free = (model(ordered, labels, layout) for labels in (LABELS, torch.full_like(LABELS, CLASSES)))
    assert torch.equal((free + scale * (guided - free)).argmax(-1), ordered)


def test_a_clip_depends_on_its_seed_and_index_alone() -> None:
    model = make()
    config = SamplingConfig(guidance_scale=1.5, seed=7)
    together = generate(model, ORDER, LABELS, config, indices=[10, 11, 12])
    for batch in ([0, 1], [2, 0], [1], [2, 1, 0]):
        alone = generate(model, ORDER, LABELS[batch], config, indices=[10 + i for i in batch])
        assert torch.equal(alone, together[batch])
    assert not torch.equal(generate(model, ORDER, LABELS, config), together)
    other = SamplingConfig(guidance_scale=1.5, seed=8)
    assert not torch.equal(generate(model, ORDER, LABELS, other), together)


def test_one_model_generates_in_several_orders_and_each_as_if_it_were_alone() -> None:
    """Generation in one order while another is under way, between any two of its steps."""
    other = OrderSpec(grouping="dyadic", most=8).build(ORDER.grid)
    model = make(max(ORDER, other, key=lambda order: order.num_transitions))
    config = SamplingConfig(guidance_scale=2.0, seed=2)
    alone = {order: generate(model, order, LABELS, config) for order in (ORDER, other)}
    within: list[Tensor] = []
    outer = generate(
        model,
        ORDER,
        LABELS,
        config,
        on_step=lambda *_: within.append(generate(model, other, LABELS, config)),
    )
    assert torch.equal(outer, alone[ORDER])
    assert len(within) == ORDER.steps
    assert all(torch.equal(tokens, alone[other]) for tokens in within)


def test_samples_follow_the_softmax() -> None:
    logits = torch.tensor([2.0, 0.0, 1.0, -1.0, -math.inf])
    uniforms = torch.from_numpy(draw_uniforms(0, [0], 40000).numpy())[0]
    config = SamplingConfig(temperature=0.7)
    tokens = sample_tokens(logits.expand(40000, -1), uniforms, config)
    shares = torch.bincount(tokens, minlength=5) / 40000
    torch.testing.assert_close(shares, (logits / 0.7).softmax(-1), atol=0.01, rtol=0)
    assert shares[4] == 0


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_a_token_of_probability_zero_is_never_drawn(uniform: float) -> None:
    logits = torch.randn(50, 1000)
    logits[:, ::3] = -math.inf
    logits[:, -10:] = -math.inf
    logits[:, :5] = -math.inf
    tokens = sample_tokens(logits, torch.full((50,), uniform, dtype=torch.float64), SamplingConfig())
    assert torch.isfinite(logits.gather(1, tokens[:, None])).all()


def test_top_k_and_top_p_keep_what_they_say() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()

    def kept(top_k: int = 0, top_p: float = 1.0) -> list[int]:
        return torch.isfinite(filter_logits(logits, top_k, top_p))[0].nonzero().flatten().tolist()

    assert kept(top_k=2) == [2, 3]
    assert kept(top_k=9) == [0, 1, 2, 3]
    assert kept(top_p=0.39) == [3]
    assert kept(top_p=0.41) == [2, 3]
    assert kept(top_p=0.71) == [1, 2, 3]
    assert kept(top_p=1e-9) == [3]
    assert kept(top_p=1e-46) == kept(top_p=5e-324) == [3]  # zero in float32
    # Top-p counts what top-k leaves: of the two kept, token 3 has 4/7 of the mass.
    assert kept(top_k=2, top_p=0.57) == [3]
    assert kept(top_k=2, top_p=0.58) == [2, 3]


def test_one_step_agrees_with_exact_enumeration() -> None:
    """The joint distribution of a two-token clip, by sampling many, is the product of conditionals."""
    order = OrderSpec().build((1, 1, 2))
    model = VideoTransformer(order.grid, 3, 2, dim=16, num_layers=1, num_heads=2, ffn_hidden=16).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    count = 20000
    labels = torch.zeros(count, dtype=torch.int64)
    drawn = generate(model, order, labels, SamplingConfig(seed=3)).flatten(1)
    shares = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / count
    expected = torch.empty(9)
    for a, b in itertools.product(range(3), repeat=2):
        p = model(torch.tensor([[a, b]]), labels[:1], model.layout(order)).softmax(-1)[0]
        expected[a * 3 + b] = p[0, a] * p[1, b]
    torch.testing.assert_close(shares, expected.detach(), atol=0.015, rtol=0)


@pytest.mark.parametrize("counts", [(1, 1, 1), (1, 2, 2), (3, 2, 2)])
def test_given_frames_come_back_and_condition_the_rest(counts: tuple[int, int, int]) -> None:
    order = regions(ORDER.grid, counts)
    model = make(order)
    config = SamplingConfig(temperature=0)
    free = generate(model, order, LABELS, config)
    for frames in (1, 2):
        # What the model would have made anyway, given, changes nothing ...
        assert torch.equal(generate(model, order, LABELS, config, prefix=free[:, :frames]), free)
        # ... and something else does, and is kept.
        other = (free[:, :frames] + 1) % VOCABULARY
        clip = generate(model, order, LABELS, config, prefix=other)
        assert torch.equal(clip[:, :frames], other)
        ordered = order.flatten(clip)
        open_slots = order.target_coords[:, 0] >= frames
        likely = model(ordered, LABELS, model.layout(order)).argmax(-1)
        assert torch.equal(likely[:, open_slots], ordered[:, open_slots])


def test_extension_continues_each_window_from_the_last() -> None:
    model = make()
    config = SamplingConfig(seed=5)
    start = generate(model, ORDER, LABELS, config)
    longer = extend(model, ORDER, start, LABELS, frames=3, overlap=1, config=config)
    assert longer.shape == (3, 6, 4, 4)
    assert torch.equal(longer[:, :3], start)
    # A longer request begins with the shorter one, and windows do not repeat each other's draws.
    assert torch.equal(extend(model, ORDER, start, LABELS, 5, 1, config)[:, :6], longer)
    again = generate(model, ORDER, LABELS, config, prefix=start[:, -1:])
    assert not torch.equal(longer[:, 3:5], again[:, 1:])


def test_streams_and_samples_share_no_random_numbers() -> None:
    rows = torch.cat([draw_uniforms(0, [0, 1], 500, stream) for stream in range(3)])
    assert len(rows.unique()) == rows.numel()
    assert torch.equal(draw_uniforms(0, [0, 1], 10)[1], draw_uniforms(0, [1], 500)[0, :10])


def test_seeds_and_indices_of_64_bits_are_all_distinct() -> None:
    large = [2**32, 2**32 + 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1]
    by_seed = torch.cat([draw_uniforms(seed, [0, 3], 4) for seed in [0, *large]])
    by_index = draw_uniforms(7, [0, *large], 4)
    for rows in (by_seed, by_index):
        assert len(rows.unique()) == rows.numel()
    # As it always was for the seeds that were in use.
    key = np.random.Philox(key=2**32 + 1 + (5 << 64))
    assert draw_uniforms(2**32 + 1, [5], 9)[0].tolist() == np.random.Generator(key).random(9).tolist()
    assert draw_uniforms(0, [0], 1).item() == pytest.approx(0.011546754286331562, abs=0)


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-46, 1e-40, 1e-38, 1e-30, 1e-12])
def test_a_tiny_temperature_takes_the_most_likely_token(temperature: float) -> None:
    logits = torch.randn(200, 50) * 10.0 ** torch.arange(-3, 17).repeat_interleave(10)[:, None]
    logits[:, ::7] = -math.inf
    uniforms = draw_uniforms(0, [0], 200)[0]
    config = SamplingConfig(temperature=temperature)
    assert torch.equal(sample_tokens(logits, uniforms, config), logits.argmax(dim=1))
    digits = [part.argmax(dim=1) for part in logits.split([20, 30], dim=1)]
    assert torch.equal(sample_tokens(logits, uniforms, config, (20, 30)), join_tokens(digits, (20, 30)))
    equal = torch.tensor([1.0, 3.0, -math.inf, 3.0]).expand(200, -1)  # of equals each
    assert sample_tokens(equal, uniforms, config).unique().tolist() == [1, 3]


@pytest.mark.parametrize("temperature", [1e30, 1e39, 1e300])
def test_a_huge_temperature_takes_any_token_that_may_be_drawn(temperature: float) -> None:
    logits = torch.tensor([100.0, -math.inf, 0.0, -100.0]).expand(400, -1)
    drawn = sample_tokens(logits, draw_uniforms(0, [0], 400)[0], SamplingConfig(temperature=temperature))
    assert drawn.unique().tolist() == [0, 2, 3]
    assert drawn.bincount().max() < 200


def test_progress_counts_every_step() -> None:
    model = make()
    seen: list[tuple[int, int]] = []
    generate(model, ORDER, LABELS, on_step=lambda done, total: seen.append((done, total)))
    assert seen == [(step + 1, ORDER.steps) for step in range(ORDER.steps)]


def test_bad_requests_are_refused() -> None:
    model = make()
    with pytest.raises(ValueError, match=r"labels must lie in 0..3 .* got \[5, -1\]"):
        generate(model, ORDER, torch.tensor([0, 5, -1]))
    with pytest.raises(ValueError, match="2 sample indices for 3 labels"):
        generate(model, ORDER, LABELS, indices=[0, 1])
    for labels in (torch.tensor([0.0]), torch.tensor([math.nan]), torch.tensor([True]), torch.tensor([[0]])):
        with pytest.raises(ValueError, match="labels must be a non-empty vector of int64"):
            generate(model, ORDER, labels)
    for index, message in ((-1, "sample index is -1"), (2**64, "sample index"), (0.5, "0.5; .* whole")):
        with pytest.raises(ValueError, match=message):
            generate(model, ORDER, LABELS[:1], indices=[index])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="prefix must be int64, got torch.float32"):
        generate(model, ORDER, LABELS, prefix=torch.zeros(3, 1, 4, 4))
    with pytest.raises(ValueError, match="training mode"):
        generate(make().train(), ORDER, LABELS)
    with pytest.raises(ValueError, match="1 <= k < 3 latent frames"):
        generate(model, ORDER, LABELS, prefix=torch.zeros(3, 3, 4, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"prefix must lie in 0..19, got 0..99"):
        generate(model, ORDER, LABELS, prefix=torch.arange(48).reshape(3, 1, 4, 4).clamp(max=99) // 47 * 99)
    with pytest.raises(ValueError, match="overlap must lie in 1..2"):
        extend(model, ORDER, generate(model, ORDER, LABELS), LABELS, frames=2, overlap=3)
    with pytest.raises(ValueError, match=r"this model is for grid \(3, 4, 4\), the order for \(2, 4, 4\)"):
        generate(model, regions((2, 4, 4), (1, 2, 2)), LABELS)


def test_broken_logits_are_named() -> None:
    model = make()
    torch.nn.init.constant_(model.head.weight, math.nan)
    with pytest.raises(ValueError, match="NaN"):
        generate(model, ORDER, LABELS)
    with pytest.raises(ValueError, match="every token is masked out"):
        sample_tokens(torch.full((1, 4), -math.inf), torch.zeros(1), SamplingConfig())
    for temperature in (0.0, 1e-40, 0.5, 1.0):
        config = SamplingConfig(temperature=temperature)
        with pytest.raises(ValueError, match="infinity"):
            sample_tokens(torch.tensor([[0.0, math.inf], [0.0, 1.0]]), torch.zeros(2), config)
        with pytest.raises(ValueError, match="every token is masked out"):
            sample_tokens(torch.tensor([[-math.inf] * 2, [0.0, 1.0]]), torch.zeros(2), config)


def test_every_place_of_every_seed_keys_a_generator_of_its_own() -> None:
    seeds = [0, 1, 2**32, 2**50, 2**50 + 1, 2**63, 2**64 - 1]
    keys = {place_seed(seed, place) for seed in seeds for place in range(20)}
    assert len(keys) == 20 * len(seeds)
    assert place_seed(3, 4) == 3 * 1_000_003 + 4  # as it always was where that fits
    torch.Generator().manual_seed(max(keys))


def test_guidance_outside_its_interval_is_off() -> None:
    model = make()
    first = SamplingConfig(seed=1, guidance_scale=4.0, guidance_interval=(0.0, 0.5))
    whole = SamplingConfig(seed=1, guidance_scale=4.0)
    half = ORDER.step_slots[ORDER.steps // 2 - 1].stop
    a, b = (ORDER.flatten(generate(model, ORDER, LABELS, config)) for config in (first, whole))
    assert torch.equal(a[:, :half], b[:, :half])
    assert not torch.equal(a, b)

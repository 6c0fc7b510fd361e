"""Timing: which steps are measured and what is made of them; no test asserts a time."""

import pytest

from parvideo.benchmark.timing import (
    Ceilings,
    roofline_seconds,
    sampled_steps,
    time_interleaved,
    total_seconds,
)
from parvideo.order import GenerationOrder, regions
from parvideo.transformer import VideoTransformer


def test_sampled_steps_hold_both_ends_of_each_phase() -> None:
    order = regions((5, 16, 16), (1, 2, 2))
    steps = sampled_steps(order, 6)
    assert {0, 3, 4, 322} <= set(steps)
    assert len(steps) <= 6 + 4
    assert sampled_steps(order, 0) == list(range(323))


def test_the_estimate_is_exact_for_times_linear_in_the_position() -> None:
    order = regions((5, 16, 16), (1, 2, 2))
    exact = {step: (1 if step < 4 else 7) + 0.01 * step for step in range(order.steps)}
    sampled = {step: exact[step] for step in sampled_steps(order, 5)}
    assert total_seconds(order, sampled) == pytest.approx(sum(exact.values()))


def test_contenders_take_turns() -> None:
    calls: list[tuple[str, int]] = []

    class Fake:
        order = regions((1, 2, 2), (1, 1, 1))

        def __init__(self, name: str) -> None:
            self.name = name

        def step(self, step: int) -> None:
            calls.append((self.name, step))

    time_interleaved([Fake("a"), Fake("b")], 0, 1, "wall", lambda: None)
    assert calls[::2] == [(name, step) for step in range(4) for name in "ab"]
    assert calls[1::2] == calls[::2]  # each step once to warm up and once timed


def test_the_roofline_is_the_larger_of_reading_and_computing() -> None:
    order = regions((1, 2, 2), (1, 1, 1))
    model = VideoTransformer(order.grid, 64, 2, dim=16, num_layers=1, num_heads=2, ffn_hidden=32)
    blocks = sum(p.numel() for p in model.blocks.parameters())
    reading = Ceilings(bandwidth=1.0, gemm=1e9)
    assert roofline_seconds(model, order, 1, True, 4, reading, False) == pytest.approx(
        4 * (blocks + 64 * 16) * 4 / 1e9
    )
    computing = Ceilings(bandwidth=1e9, gemm=1.0)
    assert roofline_seconds(model, order, 3, True, 4, computing, False) == pytest.approx(
        4 * 2 * (6 * blocks + 3 * 64 * 16) / 1e9
    )
    assert roofline_seconds(model, order, 3, True, 4, reading, True) > roofline_seconds(
        model, order, 3, True, 4, reading, False
    )


def test_orders_are_named_by_their_group() -> None:
    from parvideo.benchmark.timing import order_name

    names = [order_name(order) for order in map(_cut, [(1, 1, 1), (1, 2, 2), (1, 4, 4)])]
    assert names == ["1x", "4x", "16x"]


def _cut(counts: tuple[int, int, int]) -> GenerationOrder:
    return regions((2, 4, 4), counts)

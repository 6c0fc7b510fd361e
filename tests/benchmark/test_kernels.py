"""The engine's choices are timed against ways that compute the same; no test asserts a time."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from parvideo.benchmark import kernels
from parvideo.benchmark.timing import CLOCKS
from parvideo.engine.packed import packing_obstacle
from parvideo.transformer import VideoTransformer


@pytest.fixture(autouse=True)
def _few_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not 150 MB of weights."""
    monkeypatch.setattr(kernels, "MOST_COPIES", 3)


@pytest.fixture(scope="module")
def transformer() -> VideoTransformer:
    return VideoTransformer((2, 4, 4), 64, 2, dim=16, num_layers=2, num_heads=2, ffn_hidden=32).eval()


@pytest.fixture
def _clock_of_one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock finds it a second later."""
    ticks = itertools.count()
    monkeypatch.setitem(CLOCKS, "wall", lambda: float(next(ticks)))


@pytest.mark.usefixtures("_clock_of_one_second")
def test_every_choice_is_reported_for_every_number_of_rows(transformer: VideoTransformer) -> None:
    """With times a call: the second that a call of each took, over the products that it made."""
    shown: list[str] = []
    found = kernels.time_kernels(transformer, [2, 8], torch.float32, "wall", 1, shown.append)
    names = ["gate and up", "down", "norm", "attention", "draw"]
    assert [(entry["what"], entry["rows"]) for entry in found] == [(n, r) for r in (2, 8) for n in names]
    calls = {"gate and up": 3, "down": 3, "norm": 25, "attention": 2, "draw": 1}
    for entry, line in zip(found, shown, strict=True):
        assert set(entry["microseconds"].values()) == {1e6 / calls[entry["what"]]}
        assert f"{entry['what']}, {entry['rows']} rows: " in line
        for way, time in entry["microseconds"].items():
            assert f"{way} {time:.1f}" in line


def test_ways_take_turns_and_the_best_round_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, called, now = iter([5.0, 1.0, 2.0, 4.0, 3.0, 9.0]), [], 0.0

    def way(name: str) -> Callable[[], None]:
        def call() -> None:
            nonlocal now
            called.append(name)
            now += next(seconds)

        return call

    monkeypatch.setitem(CLOCKS, "cpu", lambda: now)
    assert kernels._time({"a": way("a"), "b": way("b")}, "cpu", 2) == {"a": 2.0, "b": 1.0}
    assert "".join(called) == "ababab"  # one round more than asked for: the first warms up


@pytest.mark.parametrize("rows", [1, 2, 8])
@torch.inference_mode()
def test_what_is_compared_computes_the_same(transformer: VideoTransformer, rows: int) -> None:
    groups: dict[str, tuple[int, dict[str, Callable[[], Any]]]] = {
        "gate": kernels._gate(16, 32, rows, torch.float32),
        "down": kernels._linear(16, 32, rows, torch.float32),
        "attention": kernels._attention(transformer, rows, torch.float32),
        "draw": kernels._draw(64, rows),
    }
    _, norms = kernels._norm(16, rows, torch.float32)
    for name, (_, ways) in groups.items():
        made = [function() for way, function in ways.items() if way != "multinomial"]
        assert len(made) > 1 or packing_obstacle(torch.zeros(1, 1)) is not None
        for other in made[1:]:
            torch.testing.assert_close(other, made[0], msg=lambda text, name=name: f"{name}: {text}")
    with_gain, folded = norms["rms_norm"](), norms["gain folded"]()
    torch.testing.assert_close(folded * 16**0.5, with_gain, rtol=1e-2, atol=1e-2)  # the gain is elsewhere


def test_weights_are_as_many_as_a_cache_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """But two at least, so that they are used in turn, and not more than a limit."""
    for budget, count in ((10, 2), (5 * 64, 5), (10**6, 3 + 4)):
        monkeypatch.setattr(kernels, "COPIES_BYTES", budget)
        monkeypatch.setattr(kernels, "MOST_COPIES", 7)
        made = kernels._weights(4, 8, torch.bfloat16)
        assert len(made) == count
        assert {(part.shape, part.dtype) for part in made} == {((4, 8), torch.bfloat16)}

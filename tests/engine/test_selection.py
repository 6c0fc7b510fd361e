"""Choosing by timing: the least time over the whole run counts; PyTorch's own is always a candidate."""

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from parvideo.engine import selection
from parvideo.engine.attention import Attention
from parvideo.engine.cpu import CpuEngine
from parvideo.engine.products import DOWN, LARGE, PACKED, PLAIN, STORAGES, Setting
from parvideo.engine.selection import Selection, Shapes, fastest, most_common, prefix_bucket, time_ways
from parvideo.order import raster
from parvideo.sampling import SamplingConfig, generate
from tests.engine.cases import GRID, LABELS, ORDER, make


def make_selection(kernels: selection.Kernels = "timed") -> Selection:
    setting = Setting(torch.float32, 1e-5, None)
    return Selection(setting, Attention(4, 4, 8, torch.float32, None), kernels, "none", 64, 0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Callable[[], Any]]]:
    """What is timed; the plain way is always found the slowest."""
    seen: list[dict[str, Callable[[], Any]]] = []

    def record(ways: dict[str, Callable[[], Any]], cold: Any, seconds: float) -> dict[str, float]:
        seen.append(ways)
        return {way: 2.0 if way in ("plain", "SDPA") else 1.0 + 0.01 * i for i, way in enumerate(ways)}

    monkeypatch.setattr(selection, "time_ways", record)
    monkeypatch.setattr(selection, "look_up", lambda asked: {})
    monkeypatch.setattr(selection, "keep", lambda found, asked: found)
    return seen


def test_everything_timed_has_pytorchs_own_way_and_all_ways_compute_the_same(asked: list[Any]) -> None:
    model = make(dim=128)
    engine = CpuEngine(model)
    engine.start(ORDER, LABELS, SamplingConfig(guidance_scale=2.0))
    assert len(asked) > 10
    with torch.inference_mode():
        for ways in asked:
            assert {"plain", "SDPA", "cumulative sum"} & set(ways)
            made = [way() for way in ways.values()]
            for other in made[1:]:
                torch.testing.assert_close(other, made[0], rtol=1e-3, atol=1e-3)
    asked.clear()
    engine.start(ORDER, LABELS, SamplingConfig(guidance_scale=2.0))
    assert asked == []  # these shapes were met before
    engine.start(ORDER, LABELS[:1], SamplingConfig(guidance_scale=2.0))
    assert asked


def test_the_storage_is_the_best_for_the_whole_run() -> None:
    """One step in a hundred has many rows; what is best for it does not count for much."""
    chooser = make_selection()
    if PACKED not in chooser.storages:
        pytest.skip("this PyTorch packs no weights")
    times = {2: {PLAIN: 1.0, PACKED: 1.5, LARGE: 1.6}, 64: {PLAIN: 9.0, PACKED: 3.0, LARGE: 2.0}}
    assert chooser._storage(DOWN, Counter({2: 99, 64: 1}), times, {}) == PLAIN
    assert chooser._storage(DOWN, Counter({2: 1, 64: 99}), times, {}) == LARGE
    padded: dict[tuple[str, str], dict[int, int]] = {}
    times[2][f"{PACKED}, 4 rows"] = 0.5
    times[2][f"{LARGE}, 4 rows"] = 1.7
    assert chooser._storage(DOWN, Counter({2: 99, 64: 1}), times, padded) == PACKED
    assert padded == {
        ("down", PLAIN): {2: 0, 64: 0},
        ("down", PACKED): {2: 4, 64: 0},
        ("down", LARGE): {2: 0, 64: 0},
    }
    assert chooser._storage(DOWN, Counter({2: 1}), {2: {}}, {}) is None


def test_what_there_was_no_time_for_goes_by_what_was_timed(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "SECONDS", 0.0)
    model = make()
    engine = CpuEngine(model)
    run = engine.start(ORDER, LABELS)
    assert asked == []
    assert set(run.choice.storages.values()) <= {LARGE, PLAIN}
    assert torch.equal(engine.generate(ORDER, LABELS), generate(model, ORDER, LABELS))
    assert most_common([None, "a", "b", "b"]) == "b"
    assert most_common([None]) is None


@pytest.mark.parametrize("kernels", ["plain", "packed", "native"])
def test_a_fixed_choice_times_nothing(kernels: selection.Kernels, asked: list[Any]) -> None:
    chooser = make_selection(kernels)
    empty = torch.empty(0)
    choice = chooser.choose(Shapes(), {}, empty, Any, empty, {})  # type: ignore[arg-type]
    assert len(set(choice.storages.values())) == 1
    assert set(choice.storages.values()) <= set(STORAGES)
    assert asked == []
    assert (chooser.drawing_way(choice, 4) == "cumulative sum") == (kernels == "plain")
    ways = {chooser.attention_way(choice, 2, count, 40) for count in (1, 16)}
    assert ways == {"plain": {"SDPA"}, "packed": {"keys left", "queries left"}, "native": {"native"}}[kernels]


def test_a_key_says_what_times_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another processor, PyTorch, number of threads, compiler or set of ways asks for other times."""
    item = selection.Item("down, 2 rows", {"rows": 2}, ["plain"], dict)
    keys = {make_selection()._key(item)}
    for name, value in (("processor_identity", lambda: "another"), ("_VERSION", -1)):
        with monkeypatch.context() as patch:
            patch.setattr(selection, name, value)
            keys.add(make_selection()._key(item))
    monkeypatch.setattr(selection.torch, "get_num_threads", lambda: 77)
    keys.add(make_selection()._key(item))
    item.ways.append("packed")
    keys.add(make_selection()._key(item))
    assert len(keys) == 5


def test_ways_take_turns_until_time_is_over_and_the_best_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now, called = 0.0, []
    takes = {"a": itertools.cycle([5.0, 1.0]), "b": itertools.repeat(2.0), "c": itertools.repeat(50.0)}

    def way(name: str) -> Callable[[], None]:
        def call() -> None:
            nonlocal now
            called.append(name)
            now += next(takes[name])

        return call

    for clock in ("thread_time", "perf_counter", "process_time"):
        monkeypatch.setattr(selection.time, clock, lambda: now)
    found = time_ways({name: way(name) for name in "abc"}, torch.ones(8), 125.0 / torch.get_num_threads())
    assert found == {"a": 1.0, "b": 2.0, "c": 50.0}
    assert "".join(called).startswith("abcabcab")  # the hopeless one is left out from the third round on
    assert called.count("c") == 2
    assert fastest(found) == "a"
    assert fastest({}) is None


def test_prefixes_are_timed_by_powers_of_two() -> None:
    assert [prefix_bucket(stop) for stop in (1, 256, 257, 1280)] == [256, 256, 512, 2048]
    shapes = Shapes()
    for slots in raster(GRID).step_slots:
        shapes.add(6, 3, slots)
    assert shapes.layers == Counter({8: 48})
    assert shapes.head == Counter({4: 48})
    assert shapes.attention == {(6, 1, 256)}

"""The benchmark's report is complete and consistent; no test asserts a time."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from parvideo.benchmark.report import run
from tests.benchmark.cases import TINY


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark sets the process's threads, and sums 400 MB to know the memory's bandwidth."""
    monkeypatch.setattr("parvideo.benchmark.timing.SUMMED", 100_000)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def measured(**changes: Any) -> tuple[dict[str, Any], str]:
    shown: list[str] = []
    return run(dataclasses.replace(TINY, **changes), shown.append), "\n".join(shown)


def test_it_reports_every_order_and_contender() -> None:
    report, shown = measured(tokenizer="tiny", training=True, kernels=True)
    names = [(row["order"], row["contender"], row["steps"]) for row in report["results"]]
    assert names == [
        ("1x", "engine", 32),
        ("1x", "plain loop", 32),
        ("4x", "engine", 11),
        ("4x", "plain loop", 11),
    ]
    for row in report["results"]:
        assert row["seconds"] > 0
        assert row["tokens_per_second"] == pytest.approx(32 / row["seconds"])
        assert row["ms_per_step"] == pytest.approx(1e3 * row["seconds"] / row["steps"])
        assert row["extrapolated"] == (len(row["sampled"]) < row["steps"])
        assert 0 < row["roofline"] <= row["roofline_with_cache"]
        assert (row["draw_share"] is None) == (row["contender"] != "engine")
    engine, loop = report["results"][:2]
    assert loop["engine_speedup"] == pytest.approx(loop["seconds"] / engine["seconds"])
    assert engine["engine_speedup"] == engine["share_of_slowest_order"] == 1
    fast = report["results"][2]
    assert fast["share_of_slowest_order"] == pytest.approx(fast["seconds"] / engine["seconds"])
    assert report["machine"]["threads"] == torch.get_num_threads()
    assert report["ceilings"]["bandwidth"] > 0
    assert report["training"]["ratio"]["causal"] == 1
    kernels = {(entry["what"], entry["rows"]) for entry in report["kernels"]}
    assert {("down", 2), ("down", 8), ("attention", 8), ("draw", 2)} <= kernels
    ends = report["tokenizer"]["end_to_end_seconds"]
    decoding = report["tokenizer"]["decode_seconds"]
    assert ends == {row["order"]: row["seconds"] + decoding for row in (engine, fast)}
    assert "interpolated" in shown
    assert "roofline" in shown


def test_all_steps_are_measured_when_asked_for() -> None:
    report, shown = measured(regions=[(1, 2, 2)], steps_limit=0, plain=False)
    (row,) = report["results"]
    assert not row["extrapolated"]
    assert row["seconds"] == pytest.approx(sum(row["sampled"].values()))
    assert "interpolated" not in shown


def test_the_model_serves_every_order_and_is_of_the_size_asked_for() -> None:
    settings = dataclasses.replace(TINY, regions=[(1, 1, 1), (1, 4, 4)], layers=2)
    model = settings.transformer()
    for order in settings.orders():
        model.layout(order)
    assert (model.config["dim"], model.num_layers, model.grid) == (16, 2, (2, 4, 4))
    whole = dataclasses.replace(TINY, size="L", dim=None, layers=None, heads=None)
    with torch.device("meta"):
        config = whole.transformer().config
    assert (config["dim"], config["num_layers"], config["num_heads"]) == (1024, 24, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": "huge"}, "tokenizer must be none or one of .*; got 'huge'"),
        ({"steps_limit": -1}, "steps_limit must be 0 .* got -1"),
        ({"size": "Q"}, "transformer size must be one of"),
        ({"regions": [(1, 3, 2)]}, "regions"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measured(**changes)


def test_a_folder_without_the_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no autoregressive/models"):
        measured(peers=[str(tmp_path)], regions=[(1, 1, 1)])

"""The demo's run: stages once and in turn, a page after each, and nothing begun on a wrong request."""

from pathlib import Path
from typing import Any

import pytest

from parvideo.demo import run as module
from parvideo.demo.run import plan, run_demo
from parvideo.demo.steps import ORDERS, PRESETS, Demo
from parvideo.files import read_json, sha256_file

WORK = ("make_toy_data", "train_feature_network", "train_tokenizer", "measure_tokenizer", "make_tokens")
WORK += ("train_generator", "make_samples", "time_orders", "score")


class Trace:
    """What was done, and what the page was told after it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.pages: list[set[str]] = []
        self.fails_at: str | None = None

    def work(self, name: str, *more: Any) -> str:
        named = " ".join([name, *more])
        if named == self.fails_at:
            raise KeyboardInterrupt
        self.done.append(named)
        return f"result of {named}"


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Trace:
    """The demo's stages, which do nothing but say so; no models come with the clone."""
    seen = Trace()
    for name in WORK:
        monkeypatch.setattr(module, name, lambda demo, *more, name=name: seen.work(name, *more))
    monkeypatch.setattr(module, "make_page", lambda demo, found, *more: seen.pages.append(set(found)))
    monkeypatch.setattr(module, "find_models", lambda folder: [])
    monkeypatch.setattr(module, "collect_results", lambda demo, found, seconds: dict(found))
    monkeypatch.setattr(module, "print_summary", lambda *given: None)
    monkeypatch.setattr(module, "next_commands", lambda demo: [])
    return seen


def run(out: Path, **changes: Any) -> None:
    settings: dict[str, Any] = {"data": None, "i3d": None, "preset": "smoke", "seed": 0, "split_index": 1}
    run_demo(out, **{**settings, "annotations": None, **changes})


def test_every_stage_is_done_once_and_the_page_fills_as_they_end(tmp_path: Path, trace: Trace) -> None:
    run(tmp_path)
    orders = len(ORDERS)
    assert trace.done[0] == "make_toy_data"
    assert sorted(trace.done) == sorted(
        [
            *WORK[:6],
            "time_orders",
            *(f"{what} {shown}" for what in ("make_samples", "score") for shown in ORDERS),
        ]
    )
    for earlier, later in (
        ("train_tokenizer", "measure_tokenizer"),
        ("train_tokenizer", "make_tokens"),
        ("make_tokens", "train_generator"),
        ("train_feature_network", "score 4x"),
        ("train_generator", "make_samples 4x"),
        ("make_samples 1x", "score 1x"),
    ):
        assert trace.done.index(earlier) < trace.done.index(later)
    assert [len(told) for told in trace.pages] == list(range(1, len(trace.done) + 1))
    results = read_json(tmp_path / "results.json")
    assert len(results) == 7 + 2 * orders
    assert results["tokenizer"] == "result of train_tokenizer"
    done = list(trace.done)
    run(tmp_path)
    assert trace.done == done
    assert read_json(tmp_path / "results.json") == results


def test_interrupted_anywhere_it_goes_on_there(tmp_path: Path, trace: Trace) -> None:
    run(tmp_path / "whole")
    whole, trace.done = trace.done, []
    for name in (whole[0], whole[3], whole[-1]):
        trace.fails_at = name
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped")
        assert trace.done == whole[: whole.index(name)]
        assert not (tmp_path / "stopped" / "results.json").exists()
    trace.fails_at = None
    run(tmp_path / "stopped")
    assert trace.done == whole
    assert read_json(tmp_path / "stopped/results.json") == read_json(tmp_path / "whole/results.json")


def test_other_settings_are_refused_before_anything_is_done(tmp_path: Path, trace: Trace) -> None:
    run(tmp_path)
    count = len(trace.done)
    with pytest.raises(ValueError, match="another seed"):
        run(tmp_path, seed=1)
    assert len(trace.done) == count


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": 2**32}, ValueError, "seed is 4294967296"),
        ({"data": Path("nowhere")}, FileNotFoundError, "nowhere"),
        ({"i3d": Path("weights.pt")}, FileNotFoundError, r"weights\.pt"),
        ({"split_index": 2}, ValueError, "split_index is 2 .* there is no data"),
        ({"annotations": Path("lists")}, ValueError, "annotations is lists, but there is no data"),
    ],
)
def test_a_wrong_request_begins_nothing(
    tmp_path: Path, trace: Trace, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(tmp_path / "out", **changes)
    assert trace.done == []
    assert not (tmp_path / "out").exists()


def test_a_changed_config_or_network_does_what_depends_on_it_anew(
    tmp_path: Path, trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stages() -> dict[str, dict[str, Any]]:
        demo = Demo(tmp_path, None, None, PRESETS["smoke"], 0)
        return {step.name: step.settings for step in plan(demo, {"seed": 0})}

    (tmp_path / "configs/demo").mkdir(parents=True)
    for name in ("tokenizer", "generator"):
        (tmp_path / f"configs/demo/{name}.yaml").write_text("lr: 1\n")
    monkeypatch.setattr(module, "config_folder", lambda: tmp_path / "configs")
    before = stages()
    (tmp_path / "configs/demo/generator.yaml").write_text("lr: 2\n")
    after = stages()
    assert [name for name in before if before[name] != after[name]] == ["generator"]
    assert after["generator"]["config"] == sha256_file(tmp_path / "configs/demo/generator.yaml")
    (tmp_path / "i3d.pt").write_bytes(b"weights")
    demo = Demo(tmp_path, None, tmp_path / "i3d.pt", PRESETS["smoke"], 0)
    other = {step.name: step.settings for step in plan(demo, {"seed": 0})}
    changed = [name for name in after if after[name] != other[name]]
    assert changed == [f"score {shown}" for shown in ORDERS]

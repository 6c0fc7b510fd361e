"""`parvideo bench`: what it reports is complete and consistent; no test asserts a time."""

import json
from pathlib import Path

import pytest
import torch

from parvideo.cli.bench import bench

TINY = {
    "dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "codebook_size": 64,
    "grid": "2,4,4",
    "repeats": 1,
    "tokenizer": "none",
}


def test_it_reports_every_order_and_contender(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    bench(**{**TINY, "tokenizer": "tiny"}, regions=["1,1,1", "1,2,2"], training=True, kernels=True, out=out)  # type: ignore[arg-type]
    report = json.loads(out.read_text())
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
    assert report["machine"]["threads"] == torch.get_num_threads()
    assert report["ceilings"]["bandwidth"] > 0
    assert report["training"]["ratio"]["causal"] == 1
    kernels = {(entry["what"], entry["rows"]) for entry in report["kernels"]}
    assert {("down", 2), ("down", 8), ("attention", 8), ("draw", 2)} <= kernels
    assert set(report["tokenizer"]["end_to_end_seconds"]) == {"1x", "4x"}
    printed = capsys.readouterr().out
    assert "interpolated" in printed
    assert "roofline" in printed


def test_all_steps_are_measured_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    bench(**TINY, regions=["1,2,2"], steps_limit=0, plain=False, out=out)  # type: ignore[arg-type]
    (row,) = json.loads(out.read_text())["results"]
    assert not row["extrapolated"]
    assert row["seconds"] == pytest.approx(sum(row["sampled"].values()))
    assert "interpolated" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": "5,16"}, "grid is '5,16'"),
        ({"clock": "cpu", "threads": 2}, "clock cpu counts one thread's time"),
        ({"batch_size": 0}, "batch_size is 0; it must be 1 or more"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"dim": -1}, "dim is -1"),
        ({"size": "Q"}, "transformer size must be one of"),
        ({"tokenizer": "huge"}, "tokenizer must be none or one of"),
        ({"steps_limit": -1}, "steps_limit is -1; it must be 0 or more"),
    ],
)
def test_bad_requests_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench(**{**TINY, "regions": ["1,1,1"], **changes})  # type: ignore[arg-type]


def test_a_folder_without_the_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no autoregressive/models"):
        bench(**TINY, regions=["1,1,1"], peer=[tmp_path])  # type: ignore[arg-type]

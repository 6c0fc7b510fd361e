"""The GPU's benchmark, on a CPU: its table is whole, and what it compares are the same tokens."""

import json
from pathlib import Path

import pytest
import torch

from parvideo.benchmark.cuda import bench_generation, check_device, equal_share, measure_ceilings, peak_bytes
from parvideo.benchmark.cuda_report import run_on_gpu
from parvideo.benchmark.report import Settings
from parvideo.cli.bench import bench
from parvideo.order import regions
from tests.engine.cases import GRID, make

CPU = torch.device("cpu")


def test_a_row_for_each_dtype_batch_and_order() -> None:
    orders = [regions(GRID, (1, 2, 2)), regions(GRID, (1, 1, 1))]
    model = make(orders[0])
    shown: list[str] = []
    noted: list[dict[str, object]] = []
    rows = bench_generation(
        model, orders, [1, 2], ["float32", "bfloat16"], CPU, shown.append, repeats=1, each=noted.append
    )
    cells = [(row["dtype"], row["batch"], row["order"], row["steps"]) for row in rows]
    assert cells == [
        (dtype, batch, *order)
        for dtype in ("float32", "bfloat16")
        for batch in (1, 2)
        for order in (("1x", 48), ("4x", 15))
    ]
    assert noted == rows
    assert len(shown) == 1 + len(rows)
    assert len(set(map(len, shown))) == 1  # columns stand under each other
    for row in rows:
        assert row["tokens_per_second"] == pytest.approx(row["batch"] * 48 / row["seconds"])
        assert row["engine_speedup"] == pytest.approx(row["plain_seconds"] / row["seconds"])
        assert row["roofline_with_cache"] >= row["roofline"] > 0
        if row["dtype"] == "float32":
            assert row["equal_clips"] == 1
        if row["order"] == "1x":
            assert row["speedup_over_longest"] == 1
    assert next(model.parameters()).dtype == torch.float32
    json.dumps(rows)


def test_ceilings_and_shares() -> None:
    found = measure_ceilings(CPU, torch.float32, small=True)
    assert min(found.bandwidth, found.gemm) > 0
    tokens = torch.zeros(4, 1, 2, 2)
    other = tokens.clone()
    other[1, 0, 0, 1] = 1
    assert equal_share(tokens, other) == 0.75
    done: list[int] = []
    assert peak_bytes(CPU, lambda: done.append(1)) is None
    assert done == [1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_without_cuda_the_command_says_so_in_a_line(tmp_path: Path) -> None:
    for refused in (lambda: check_device("cuda"), lambda: bench(device="cuda", out=tmp_path / "a.json")):
        with pytest.raises(
            ValueError, match="device is cuda, but this PyTorch is built without CUDA"
        ) as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert check_device("cpu") == CPU


def test_the_report_of_the_command_is_whole() -> None:
    settings = Settings(
        size="B",
        dim=16,
        layers=1,
        heads=2,
        vocabulary=64,
        classes=4,
        grid=(2, 4, 4),
        regions=[(1, 1, 1), (1, 2, 2)],
        batch=1,
        guidance=2.0,
        dtype="float32",
        threads=1,
        steps_limit=0,
        repeats=1,
        clock="wall",
        plain=False,
        peers=[],
        tokenizer="tiny",
        training=False,
        kernels=False,
    )
    shown: list[str] = []
    report = run_on_gpu(settings, [2], ["float32"], shown.append, device="cpu")
    assert [row["order"] for row in report["results"]] == ["1x", "4x"]
    assert report["results"][0]["plain_seconds"] is None
    ends = report["tokenizer"]["end_to_end"]
    for row, end in zip(report["results"], ends, strict=True):
        assert end["seconds"] == pytest.approx(row["seconds"] + report["tokenizer"]["decode_seconds"]["2"])
        assert 0 < end["decoding"] < 1
    assert any("ceilings" in text for text in shown)
    json.dumps(report)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_memory_is_counted() -> None:
    (row,) = bench_generation(
        make(), [regions(GRID, (1, 2, 2))], [1], ["float32"], torch.device("cuda"), print, repeats=1
    )
    assert row["peak_bytes"] > 0
    assert row["equal_clips"] == 1

"""The GPU's benchmark, on a CPU: its table is whole, and what it compares are the same tokens."""

import json
from pathlib import Path

import pytest
import torch

from parvideo.benchmark.cuda import bench_generation, check_device, equal_share, measure_ceilings, peak_bytes
from parvideo.benchmark.options import BenchOptions
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
    for refused in (
        lambda: check_device("cuda"),
        lambda: bench(BenchOptions(device="cuda", out=tmp_path / "a.json")),
    ):
        with pytest.raises(
            ValueError, match="device is cuda, but this PyTorch is built without CUDA"
        ) as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert check_device("cpu") == CPU


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_memory_is_counted() -> None:
    (row,) = bench_generation(
        make(), [regions(GRID, (1, 2, 2))], [1], ["float32"], torch.device("cuda"), print, repeats=1
    )
    assert row["peak_bytes"] > 0
    assert row["equal_clips"] == 1

"""`parvideo bench`: what it reports is complete and consistent; no test asserts a time."""

import json
from pathlib import Path

import pytest
import torch

from parvideo.benchmark.peers import Peer, supports
from parvideo.benchmark.timing import (
    Ceilings,
    roofline_seconds,
    sampled_steps,
    time_interleaved,
    total_seconds,
)
from parvideo.cli.bench import bench
from parvideo.order import GenerationOrder, regions
from parvideo.transformer import VideoTransformer

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


PEER = """
from dataclasses import dataclass
import torch
from torch import nn


@dataclass
class ModelArgs:
    dim: int
    n_layer: int
    n_head: int
    vocab_size: int
    num_classes: int
    block_size: int


class Cache(nn.Module):
    def __init__(self):
        super().__init__()
        self.k_cache, self.v_cache = torch.zeros(1), torch.zeros(1)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.Module()


class Transformer(nn.Module):
    def __init__(self, arguments):
        super().__init__()
        self.arguments, self.positions = arguments, []
        self.layers = nn.ModuleList([Layer()])
        self.output = nn.Linear(arguments.dim, arguments.vocab_size)

    def setup_caches(self, max_batch_size, max_seq_length, dtype):
        self.layers[0].attention.kv_cache = Cache()


def prefill(model, labels, position, scale, **drawing):
    model.positions.append(0)


def decode_n_tokens(model, tokens, position, count, scale, interval, **drawing):
    model.positions.append(int(position))
"""


def test_a_checkout_of_other_code_is_timed_without_touching_it(tmp_path: Path) -> None:
    """A stand-in with the official code's names, which itself is not contained here."""
    models = tmp_path / "official" / "autoregressive" / "models"
    models.mkdir(parents=True)
    (models / "gpt.py").write_text(PEER)
    (models / "generate.py").write_text("from autoregressive.models.gpt import decode_n_tokens, prefill\n")
    one, four = regions((2, 4, 4), (1, 1, 1)), regions((2, 4, 4), (1, 2, 2))
    model = VideoTransformer(one.grid, 64, 2, dim=16, num_layers=1, num_heads=2)
    folder = tmp_path / "official"
    assert supports(folder, one)
    assert not supports(folder, four)
    with pytest.raises(ValueError, match="one token a step, not 4"):
        Peer(folder, model, four, 1, 2.0, torch.float32)
    peer = Peer(folder, model, one, 1, 2.0, torch.float32)
    peer.step(5)
    assert peer.model.positions == [0, 5]
    assert peer.model.arguments.block_size == 36  # the smallest square that holds 32 tokens
    assert peer.name == "official"


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


def test_orders_are_named_by_their_group() -> None:
    from parvideo.benchmark.timing import order_name

    names = [order_name(order) for order in map(_cut, [(1, 1, 1), (1, 2, 2), (1, 4, 4)])]
    assert names == ["1x", "4x", "16x"]


def _cut(counts: tuple[int, int, int]) -> GenerationOrder:
    return regions((2, 4, 4), counts)

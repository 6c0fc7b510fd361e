"""The graph engine's self-test passes a sound engine, and names what an unsound one gets wrong."""

from typing import Any

import pytest
import torch

from parvideo.engine.cuda_graphs import CudaGraphEngine, StaticRun, StepKey
from parvideo.engine.self_test import graph_engine_obstacle
from tests.engine.cases import make

KINDS: list[dict[str, Any]] = [
    {},
    {"num_kv_heads": 2, "qk_norm": True, "codebook_factors": (16, 4)},
    {"codebook_size": 61, "target_position_embedding": True},
]


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_a_sound_engine_passes_and_nothing_is_changed(changes: dict[str, Any]) -> None:
    model = make(**changes)
    before, state = torch.get_rng_state(), {name: x.clone() for name, x in model.state_dict().items()}
    assert graph_engine_obstacle(model, torch.float32) is None
    torch.set_float32_matmul_precision("high")
    assert graph_engine_obstacle(model, torch.bfloat16) is None
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision("highest")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(x, state[name]) for name, x in model.state_dict().items())


def test_wrong_tokens_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention that forgets a key, as a wrong mask would make it, is found in float32."""
    sound = CudaGraphEngine._attend

    def forgetful(self: Any, queries: Any, cache: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        return sound(self, queries, cache[:, :, :, 1:], seen[:, 1:]) if cache.shape[3] > 1 else queries

    monkeypatch.setattr(CudaGraphEngine, "_attend", forgetful)
    found = graph_engine_obstacle(make(), torch.float32)
    assert found is not None
    assert "tokens differ, first" in found
    assert "float32, order 1x2x2" in found
    assert "against the plain loop" in found


def test_graphs_that_change_tokens_in_bfloat16_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = CudaGraphEngine._step

    def off_by_one(self: Any, run: StaticRun, key: StepKey) -> None:
        sound(self, run, key)
        if self.dtype == torch.bfloat16 and self.graphs is None:
            run.tokens[:, 5] += 1

    def made(self: Any, *given: Any, **named: Any) -> None:
        initialise(self, *given, **named)
        if "graphs" not in named:
            self.graphs = None  # false as well: which of the two engines it is

    initialise = CudaGraphEngine.__init__
    monkeypatch.setattr(CudaGraphEngine, "__init__", made)
    monkeypatch.setattr(CudaGraphEngine, "_step", off_by_one)
    found = graph_engine_obstacle(make(), torch.bfloat16)
    assert found is not None
    assert "against the same steps without graphs" in found
    assert graph_engine_obstacle(make(), torch.float32) is None


def test_an_error_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, run: StaticRun, key: StepKey) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(CudaGraphEngine, "_step", broken)
    found = graph_engine_obstacle(make(), torch.float32)
    assert found == "RuntimeError: CUDA error: operation not permitted when stream is capturing"

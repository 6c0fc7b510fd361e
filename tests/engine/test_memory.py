"""How much memory there is, and that what is stated is what is taken."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from parvideo.engine import memory as engine_memory
from parvideo.engine.cpu import CpuEngine
from parvideo.engine.memory import available_memory, batch_size_for, decode_bytes
from parvideo.order import GenerationOrder, regions
from parvideo.sampling import SamplingConfig, fixed_point, generate
from parvideo.transformer import VideoTransformer
from tests.engine import cases
from tests.engine.cases import ORDER

CPU = torch.device("cpu")


class LiveBytes(TorchDispatchMode):
    """The most bytes of tensors, made inside, that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.prefix_mask: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outside = set(self.storages((args, kwargs))) - set(self.prefix_mask)
        out = func(*args, **(kwargs or {}))
        for storage in self.storages(out):
            if storage not in outside and storage not in self.prefix_mask:
                self.prefix_mask.add(storage)
                self.now += storage.nbytes()
                weakref.finalize(storage, self.free, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def free(self, size: int) -> None:
        self.now -= size

    @staticmethod
    def storages(tree: Any) -> Iterator[Any]:
        for leaf in tree_leaves(tree):
            if isinstance(leaf, Tensor) and not leaf.is_mkldnn:
                yield leaf.untyped_storage()


def make(order: GenerationOrder, codebook_size: int = 2000) -> VideoTransformer:
    shape = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_hidden": 64}
    shape["num_transitions"] = order.num_transitions
    return VideoTransformer(order.grid, codebook_size, 3, **shape).eval()


@pytest.mark.parametrize("noise", ["uniform", "gumbel"])
def test_a_window_takes_no_more_than_is_stated(noise: str) -> None:
    order = regions((2, 8, 8), (1, 1, 1))
    model = make(order, codebook_size=500)
    config = SamplingConfig(guidance_scale=2.0, top_p=0.9, noise=noise)  # type: ignore[arg-type]
    with torch.inference_mode(), LiveBytes() as live:
        fixed_point.generate(model, order, torch.tensor([0, 1, 2]), config, window=24)
    stated = decode_bytes(model, order, 3, engine=False, window=24)
    assert 0.2 * stated < live.peak <= stated
    assert batch_size_for(model, order, stated, engine=False, window=24) == 3


@pytest.mark.parametrize("engine", [True, False])
@pytest.mark.parametrize("config", [SamplingConfig(guidance_scale=2.0), SamplingConfig(top_p=0.9, top_k=50)])
@pytest.mark.parametrize("cut", [(1, 1, 1), (1, 2, 2), (1, 4, 4)])
def test_no_more_is_taken_than_is_stated(
    cut: tuple[int, int, int], config: SamplingConfig, engine: bool
) -> None:
    order = regions((2, 8, 8), cut)
    model = make(order)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    generate(model, order, labels, config)  # masks are made once for each order and kept
    with torch.inference_mode(), LiveBytes() as seen:
        (CpuEngine(model).generate if engine else lambda *a: generate(model, *a))(order, labels, config)
    stated = decode_bytes(model, order, len(labels), config.guided(order.steps), engine=engine)
    assert 0.05 * stated < seen.peak <= stated


def test_the_plain_loop_fits_fewer_clips_of_a_large_vocabulary() -> None:
    order = regions((2, 8, 8), (1, 4, 4))
    model = make(order, codebook_size=64000)
    memory = 1 << 30
    fits = {engine: batch_size_for(model, order, memory, engine=engine) for engine in (True, False)}
    assert 1 <= fits[False] < fits[True]
    assert decode_bytes(model, order, fits[False], engine=False) <= memory
    assert decode_bytes(model, order, fits[False] + 1, engine=False) > memory


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux of 1 GB available, in a container without limits."""
    monkeypatch.setattr(engine_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(engine_memory, "CGROUPS", tmp_path)
    monkeypatch.setattr("sys.platform", "linux")
    (tmp_path / "meminfo").write_text("MemTotal: 4000000 kB\nMemFree: 10 kB\nMemAvailable: 1000000 kB\n")
    (tmp_path / "memory").mkdir()
    return tmp_path


def test_available_memory_is_the_kernels_or_the_containers(system: Path) -> None:
    assert available_memory(CPU) == 1_024_000_000
    (system / "memory.max").write_text("max\n")
    assert available_memory(CPU) == 1_024_000_000
    (system / "memory.max").write_text("500000000\n")
    (system / "memory.current").write_text("300000000\n")
    (system / "memory.stat").write_text("anon 200000000\ninactive_file 50000000\n")
    assert available_memory(CPU) == 250_000_000


def test_limits_of_the_older_cgroups_count(system: Path) -> None:
    folder = system / "memory"
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (folder / "memory.usage_in_bytes").write_text("300000000\n")
    (folder / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 0\n")
    assert available_memory(CPU) == 1_024_000_000
    (folder / "memory.limit_in_bytes").write_text("200000000\n")
    assert available_memory(CPU) == 0


def test_this_machine_says_how_much_it_has() -> None:
    assert 1 << 20 < available_memory(CPU) < 1 << 50


def test_the_batch_that_fits_is_the_largest() -> None:
    model = cases.make()
    for memory in (decode_bytes(model, ORDER, 1), 50_000_000, 100_000_000):
        batch = batch_size_for(model, ORDER, memory)
        assert decode_bytes(model, ORDER, batch) <= memory < decode_bytes(model, ORDER, batch + 1)
    assert batch_size_for(model, ORDER, 50_000_000, guided=False) > batch_size_for(model, ORDER, 50_000_000)
    with pytest.raises(ValueError, match="memory must be at least"):
        batch_size_for(model, ORDER, 1000)

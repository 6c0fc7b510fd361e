"""Static steps do nothing that a CUDA graph cannot hold, and a stand-in for graphs replays them."""

import dataclasses
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from parvideo.engine.cuda_graphs import CudaGraphEngine, StaticRun, StepKey
from parvideo.engine.graph_recipe import GraphRecipe
from parvideo.order import GenerationOrder, OrderSpec
from parvideo.sampling import SamplingConfig, generate
from tests.engine.cases import GRAPH_CONFIGS as CONFIGS
from tests.engine.cases import GRID, LABELS, ORDER, ORDERS, VOCABULARY, make, order_name


@pytest.fixture(autouse=True)
def _small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    # 48 slots: buckets of 20, 40 and 48
    monkeypatch.setattr("parvideo.engine.graph_recipe.DEFAULT", GraphRecipe(bucket=20))


class Operations(TorchDispatchMode):
    """Notes each operation and the shape of each tensor it takes and gives."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        shapes = tuple(
            (tuple(leaf.shape), leaf.stride(), leaf.dtype) if isinstance(leaf, Tensor) else leaf
            for leaf in tree_leaves((args, kwargs, out))
        )
        self.seen.append((str(func), shapes))
        return out


WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "is_nonzero",
    "repeat_interleave.Tensor",
)
"""Operations for whose result the host waits."""


def record(engine: CudaGraphEngine, run: StaticRun, key: StepKey) -> list[tuple[str, tuple[Any, ...]]]:
    with Operations() as operations:
        engine.step(run, key)
    return operations.seen


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(
    "changes", [{}, {"codebook_factors": (16, 4)}, {"num_kv_heads": 2, "qk_norm": True}], ids=str
)
def test_a_step_waits_for_nothing_and_its_key_alone_says_what_it_does(
    changes: dict[str, Any], config: SamplingConfig
) -> None:
    """The operations of two steps of a key are equal: names, shapes, strides and every plain number."""
    for spec in (OrderSpec(regions=(1, 2, 2)), OrderSpec(regions=(1, 2, 2), attention="causal")):
        order = spec.build(GRID)
        engine = CudaGraphEngine(make(order, target_position_embedding=True, **changes))
        request = engine._request(order, LABELS, config, None, None, 0)
        run = engine.start(request)
        seen: dict[StepKey, list[Any]] = {}
        for step in range(order.steps):
            key = engine.key(order, step, step <= request.last_guided)
            operations = record(engine, run, key)
            assert operations == seen.setdefault(key, operations)
            assert not [f for f, _ in operations if any(wait in f for wait in WAITS)]
            for function, shapes in operations:
                if function.startswith("aten.index.Tensor"):
                    assert not any(len(s) == 3 and s[2] == torch.bool for s in shapes if isinstance(s, tuple))
        assert len(seen) <= 2 * 2 * 3
        assert int(run.start) == order.num_tokens


def test_what_is_recorded_would_show_a_wait() -> None:
    with Operations() as operations:
        bool(torch.ones(3).any())
        torch.ones(3)[torch.ones(3, dtype=torch.bool)]
    names = [name for name, _ in operations.seen]
    assert any("_local_scalar_dense" in name for name in names)
    assert any(name.startswith("aten.index.Tensor") for name in names)


def addresses(run: StaticRun) -> list[int]:
    fixed = [run.start, run.tokens, run.prefix_mask, run.uniforms, run.scales, run.largest, run.probabilities]
    return [tensor.data_ptr() for tensor in (*fixed, *run.cache)]


def test_tensors_stay_where_they_are() -> None:
    engine = CudaGraphEngine(make())
    request = engine._request(ORDER, LABELS, CONFIGS["interval"], None, None, 0)
    run = engine.start(request)
    before = addresses(run)
    for step in range(ORDER.steps):
        engine.step(run, engine.key(ORDER, step, step <= request.last_guided))
    engine.start(engine._request(ORDER, LABELS, CONFIGS["interval"], None, torch.zeros(3, 1, 4, 4).long(), 0))
    assert engine._run is run
    assert addresses(run) == before


def onto_meta(value: Any) -> None:
    """Put every tensor that an object holds onto another device than the CPU: the one that holds no data."""

    def moved(part: Any) -> Any:
        if isinstance(part, Tensor):
            return torch.empty_strided(part.shape, part.stride(), dtype=part.dtype, device="meta")
        if isinstance(part, (list, tuple)):
            return type(part)(moved(one) for one in part)
        if type(part).__module__.startswith("parvideo.engine"):
            onto_meta(part)
        return part

    for name, part in vars(value).items():
        object.__setattr__(value, name, moved(part))  # some are frozen


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("changes", [{}, {"codebook_factors": (16, 4)}, {"num_kv_heads": 2}], ids=str)
def test_a_step_brings_nothing_over_from_the_host(changes: dict[str, Any], config: SamplingConfig) -> None:
    """Run on a device without data: reading a value is an error there, and no tensor lies on the CPU."""
    engine = CudaGraphEngine(make(target_position_embedding=True, **changes))
    request = engine._request(ORDER, LABELS, config, None, None, 0)
    run = engine.start(request)
    keys = {engine.key(ORDER, step, step <= request.last_guided) for step in range(ORDER.steps)}
    engine._run, engine.device = None, torch.device("meta")
    onto_meta(engine)
    onto_meta(run)
    for key in keys:
        with Devices() as devices:
            engine.step(run, key)
        assert devices.seen == {"meta"}


class Devices(TorchDispatchMode):
    """Notes where the tensors lie that operations take and give."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        self.seen |= {tensor.device.type for tensor in tensors}
        return out


class RecordedGraph:
    """A CUDA graph's stand-in: the operations of a step, replayed on the tensors they were recorded with."""

    made = replays = 0

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        RecordedGraph.made += 1

    def replay(self) -> None:
        RecordedGraph.replays += 1
        for function, args, kwargs, out in self.operations:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Capture(TorchDispatchMode):
    """Records into a `RecordedGraph`; what was written meanwhile is undone, for capture computes nothing.

    This one does compute, so a key must not first occur at the last step, after which there is no slot.
    """

    def __init__(self, graph: RecordedGraph, pool: Any, stream: Any, capture_error_mode: str) -> None:
        super().__init__()
        self.graph, self.undo = graph, list[tuple[Tensor, Tensor]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                written = args[place] if place < len(args) else kwargs[argument.name]
                self.undo.append((written, written.clone()))
        out = func(*args, **kwargs)
        self.graph.operations.append((func, args, kwargs, out))
        return out

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for written, before in reversed(self.undo):
            written.copy_(before)


@pytest.fixture
def _recorded_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, value in {
        "CUDAGraph": RecordedGraph,
        "graph": Capture,
        "graph_pool_handle": object,
        "Stream": lambda device: stream,
        "stream": lambda stream: nullcontext(),
        "current_stream": lambda: stream,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)


@pytest.mark.usefixtures("_recorded_graphs")
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("order", [ORDERS[1], ORDERS[6], ORDERS[7]], ids=order_name)
def test_replayed_steps_change_no_token(order: GenerationOrder, config: SamplingConfig) -> None:
    """Host values baked into a recording, such as a slot's number, would give other tokens when replayed."""
    model = make(order, target_position_embedding=True, num_kv_heads=2)
    engine = CudaGraphEngine(model)
    engine.graphs = True
    for number, prefix in enumerate((None, torch.randint(0, VOCABULARY, (3, 1, 4, 4)))):
        again = dataclasses.replace(config, seed=number)
        made, replayed = RecordedGraph.made, RecordedGraph.replays
        expected = generate(model, order, LABELS, again, prefix=prefix)
        assert torch.equal(engine.generate(order, LABELS, again, prefix=prefix), expected)
        assert RecordedGraph.replays > replayed
        assert number == 0 or RecordedGraph.made == made  # all keys were captured with the first batch
    assert engine._run is not None
    assert 0 < len(engine._run.graphs) <= 2 * 2 * 3

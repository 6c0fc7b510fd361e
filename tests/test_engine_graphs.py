"""Static steps draw the plain loop's tokens in every order, and do nothing that a CUDA graph cannot hold."""

import copy
import dataclasses
import math
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import decoding_cases
import pytest
import torch
from decoding_cases import GRID, LABELS, SPECS, VOCABULARY, make
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from parvideo.engine import DecodeEngine
from parvideo.engine_graphs import GraphEngine, StaticRun, StepKey
from parvideo.order import OrderSpec, regions
from parvideo.sampling import SamplingConfig, generate

# Top-p with guidance on a schedule, too: filters and the change of scales in one graph.
CONFIGS = decoding_cases.CONFIGS | {
    "top-p": SamplingConfig(top_p=0.8, guidance_scale=1.5, guidance_schedule="linear"),
}
KINDS: list[dict[str, Any]] = [
    {"num_kv_heads": 2},
    {"num_kv_heads": 1, "qk_norm": True},
    {"special_positions": "zero"},
    {"target_positions": True},
    {"query_positions": "target", "qk_norm": True},
    {"factors": (16, 4)},
    {"codebook_size": 61},
    {"norm_eps": 1e-2, "rope_base": 100.0},
]
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="capture and replay need CUDA")


@pytest.fixture(autouse=True)
def _small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parvideo.engine_graphs.BUCKET", 20)  # 48 slots: buckets of 20, 40 and 48


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_tokens_equal_the_plain_loops(spec: OrderSpec, name: str) -> None:
    model = make(spec)
    engine = GraphEngine(model)
    for given in (
        None,
        torch.randint(0, VOCABULARY, (3, 1, 4, 4)),
        torch.randint(0, VOCABULARY, (3, 2, 4, 4)),
    ):
        expected = generate(model, LABELS, CONFIGS[name], given=given)
        assert torch.equal(engine.generate(LABELS, CONFIGS[name], given=given), expected)


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_every_kind_of_model(changes: dict[str, Any]) -> None:
    for spec in (OrderSpec(), OrderSpec(regions=(1, 2, 4)), OrderSpec(regions=(1, 2, 2), attention="causal")):
        model = make(spec, **changes)
        engine = GraphEngine(model)
        for labels in (LABELS, LABELS[:1]):
            given = torch.randint(0, 60, (len(labels), 1, 4, 4))
            indices = [5, 6, 9][: len(labels)]
            for config in (CONFIGS["greedy"], CONFIGS["plain"], CONFIGS["interval"]):
                expected = generate(model, labels, config, indices, given, stream=2)
                assert torch.equal(engine.generate(labels, config, indices, given, stream=2), expected)


def test_a_second_batch_takes_the_firsts_place_and_its_tensors() -> None:
    model = make()
    engine = GraphEngine(model)
    first = SamplingConfig(guidance_scale=2.0)
    second = SamplingConfig(guidance_scale=5.0, guidance_schedule="linear", seed=7)
    engine.generate(LABELS, first)
    run = engine._run
    assert run is not None
    for labels, given in ((LABELS.flip(0), None), (LABELS, torch.randint(0, VOCABULARY, (3, 1, 4, 4)))):
        expected = generate(model, labels, second, given=given)
        with torch.inference_mode():
            for cache in run.cache:
                cache.fill_(math.nan)  # nothing of the batch before is read
        assert torch.equal(engine.generate(labels, second, given=given), expected)
        assert engine._run is run
    for other in (SamplingConfig(), SamplingConfig(guidance_scale=2.0, top_k=5), first):
        assert torch.equal(engine.generate(LABELS, other), generate(model, LABELS, other))
        assert engine._run is not run
        run = engine._run
    assert torch.equal(engine.generate(LABELS[:2], first), generate(model, LABELS[:2], first))


def test_many_logits_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    expected = generate(model, LABELS, CONFIGS["top-k"])
    monkeypatch.setattr("parvideo.engine_base.LOGITS", 1)
    assert torch.equal(GraphEngine(model).generate(LABELS, CONFIGS["top-k"]), expected)


def test_weights_are_those_at_construction_and_orders_may_share_them() -> None:
    model = make(target_positions=True, num_transitions=15, qk_norm=True)
    engine = GraphEngine(model)
    before = engine.generate(LABELS)
    model.set_order(regions(GRID, (1, 4, 4)))
    with pytest.raises(ValueError, match="order was changed"):
        engine.generate(LABELS)
    other = engine.reordered()
    assert torch.equal(other.generate(LABELS), generate(model, LABELS))
    model.set_order(engine.order)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(engine.generate(LABELS), before)


def test_bfloat16_is_as_near_to_float32_as_the_engine_on_a_cpu() -> None:
    model = make(dim=64, ffn_hidden=128, num_layers=3, target_positions=True)
    config = SamplingConfig(temperature=0, guidance_scale=1.5)
    exact = generate(model, LABELS, config)
    agreement = [
        (engine.generate(LABELS, config) == exact).float().mean()
        for engine in (GraphEngine(model, torch.bfloat16), DecodeEngine(model, torch.bfloat16))
    ]
    assert agreement[0] > agreement[1] - 0.1
    assert GraphEngine(model, torch.bfloat16).describe()["dtype"] == "bfloat16"


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


def record(engine: GraphEngine, run: StaticRun, key: StepKey) -> list[tuple[str, tuple[Any, ...]]]:
    with Operations() as operations:
        engine.step(run, key)
    return operations.seen


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("changes", [{}, {"factors": (16, 4)}, {"num_kv_heads": 2, "qk_norm": True}], ids=str)
def test_a_step_waits_for_nothing_and_its_key_alone_says_what_it_does(
    changes: dict[str, Any], name: str
) -> None:
    """The operations of two steps of a key are equal: names, shapes, strides and every plain number."""
    for spec in (OrderSpec(regions=(1, 2, 2)), OrderSpec(regions=(1, 2, 2), attention="causal")):
        engine = GraphEngine(make(spec, target_positions=True, **changes))
        request = engine._request(LABELS, CONFIGS[name], None, None, 0)
        run = engine.start(request)
        seen: dict[StepKey, list[Any]] = {}
        for step in range(engine.order.steps):
            key = engine.key(step, step <= request.last_guided)
            operations = record(engine, run, key)
            assert operations == seen.setdefault(key, operations)
            assert not [f for f, _ in operations if any(wait in f for wait in WAITS)]
            for function, shapes in operations:
                if function.startswith("aten.index.Tensor"):
                    assert not any(len(s) == 3 and s[2] == torch.bool for s in shapes if isinstance(s, tuple))
        assert len(seen) <= 2 * 2 * 3
        assert int(run.start) == engine.order.num_tokens


def test_what_is_recorded_would_show_a_wait() -> None:
    with Operations() as operations:
        bool(torch.ones(3).any())
        torch.ones(3)[torch.ones(3, dtype=torch.bool)]
    names = [name for name, _ in operations.seen]
    assert any("_local_scalar_dense" in name for name in names)
    assert any(name.startswith("aten.index.Tensor") for name in names)


def addresses(run: StaticRun) -> list[int]:
    fixed = [run.start, run.tokens, run.known, run.uniforms, run.scales, run.largest, run.probabilities]
    return [tensor.data_ptr() for tensor in (*fixed, *run.cache)]


def test_tensors_stay_where_they_are() -> None:
    engine = GraphEngine(make())
    request = engine._request(LABELS, CONFIGS["interval"], None, None, 0)
    run = engine.start(request)
    before = addresses(run)
    for step in range(engine.order.steps):
        engine.step(run, engine.key(step, step <= request.last_guided))
    engine.start(engine._request(LABELS, CONFIGS["interval"], None, torch.zeros(3, 1, 4, 4).long(), 0))
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
        setattr(value, name, moved(part))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("changes", [{}, {"factors": (16, 4)}, {"num_kv_heads": 2}], ids=str)
def test_a_step_brings_nothing_over_from_the_host(changes: dict[str, Any], name: str) -> None:
    """Run on a device without data: reading a value is an error there, and no tensor lies on the CPU."""
    engine = GraphEngine(make(target_positions=True, **changes))
    request = engine._request(LABELS, CONFIGS[name], None, None, 0)
    run = engine.start(request)
    keys = {engine.key(step, step <= request.last_guided) for step in range(engine.order.steps)}
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
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("spec", [SPECS[1], SPECS[6], SPECS[7]], ids=str)
def test_replayed_steps_change_no_token(spec: OrderSpec, name: str) -> None:
    """Host values baked into a recording, such as a slot's number, would give other tokens when replayed."""
    model, config = make(spec, target_positions=True, num_kv_heads=2), CONFIGS[name]
    engine = GraphEngine(model)
    engine.graphs = True
    for number, given in enumerate((None, torch.randint(0, VOCABULARY, (3, 1, 4, 4)))):
        again = dataclasses.replace(config, seed=number)
        made, replayed = RecordedGraph.made, RecordedGraph.replays
        expected = generate(model, LABELS, again, given=given)
        assert torch.equal(engine.generate(LABELS, again, given=given), expected)
        assert RecordedGraph.replays > replayed
        assert number == 0 or RecordedGraph.made == made  # all keys were captured with the first batch
    assert engine._run is not None
    assert 0 < len(engine._run.graphs) <= 2 * 2 * 3


def test_the_cache_is_as_large_as_stated() -> None:
    engine = GraphEngine(make(num_kv_heads=2))
    run = engine.start(engine._request(LABELS, SamplingConfig(guidance_scale=2.0), None, None, 0))
    assert sum(part.nbytes for part in run.cache) == 2 * 2 * 6 * 48 * 2 * 8 * 4 == engine.cache_bytes(3)
    assert engine.cache_bytes(3, guided=False) == engine.cache_bytes(3) // 2


def test_after_the_last_guided_step_unguided_rows_are_not_computed() -> None:
    engine = GraphEngine(make())
    config = SamplingConfig(guidance_scale=2.0, guidance_interval=(0.0, 0.5))
    request = engine._request(LABELS, config, None, None, 0)
    run = engine.start(request)
    for step in range(engine.order.steps):
        engine.step(run, engine.key(step, step <= request.last_guided))
    done = engine.order.step_slots[request.last_guided].stop
    assert 0 < done < 48
    for cache in run.cache:
        assert cache[:, 3:, :, :done].ne(0).all()
        assert cache[:, 3:, :, done:].eq(0).all()
        assert cache[:, :3].ne(0).all()


def test_progress_is_reported_and_requests_are_checked() -> None:
    model, seen = make(), list[tuple[int, int]]()
    GraphEngine(model).generate(LABELS, on_step=lambda *done: seen.append(done))
    assert seen == [(step + 1, model.order.steps) for step in range(model.order.steps)]
    assert GraphEngine(model).describe()["steps"] == "operation by operation"
    with pytest.raises(ValueError, match="training mode"):
        GraphEngine(make().train())
    with pytest.raises(ValueError, match="dtype must be torch.float32 or torch.bfloat16, got torch.float16"):
        GraphEngine(model, torch.float16)
    with pytest.raises(ValueError, match=r"labels must lie in 0..3"):
        GraphEngine(model).generate(torch.tensor([9]))
    with pytest.raises(ValueError, match="1 <= k < 3 latent frames"):
        GraphEngine(model).generate(LABELS, given=torch.zeros(3, 3, 4, 4, dtype=torch.int64))


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_graphs_without_cuda_are_refused() -> None:
    with pytest.raises(ValueError, match="graphs=True needs a transformer on CUDA, this one lies on cpu"):
        GraphEngine(make(), graphs=True)


@pytest.mark.parametrize("factors", [None, (16, 4)])
@pytest.mark.parametrize("temperature", [0.0, 1e-40, 0.5])
@pytest.mark.parametrize(
    ("value", "message"), [(math.nan, "NaN"), (-math.inf, "masked out"), (math.inf, "infinity")]
)
def test_broken_logits_are_named_at_the_end(
    factors: tuple[int, ...] | None, temperature: float, value: float, message: str
) -> None:
    """On a GPU a token outside the vocabulary would break the process, so drawing goes on with sound ones."""
    engine = GraphEngine(make(factors=factors))
    config = SamplingConfig(temperature=temperature)
    request = engine._request(LABELS, config, None, None, 0)
    logits = torch.zeros(4, engine.logits)
    logits[1] = value
    run = engine.start(request)
    with torch.inference_mode():
        engine._inspect(run, logits)
    assert torch.isfinite(logits).all()
    engine._inspect = lambda run, logits: GraphEngine._inspect(engine, run, logits.fill_(value))  # type: ignore
    with pytest.raises(ValueError, match=message):
        engine.generate(LABELS, config)
    assert engine._run is not None
    assert 0 <= engine._run.tokens[:, :48].min() <= engine._run.tokens[:, :48].max() < VOCABULARY
    del engine._inspect  # the next batch is not blamed
    assert torch.equal(engine.generate(LABELS, config), generate(engine.transformer, LABELS, config))


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-30])
def test_tiny_temperatures_are_no_broken_logits(temperature: float) -> None:
    model = make()
    greedy = generate(model, LABELS, SamplingConfig(temperature=0))
    for engine in (GraphEngine(model, graphs=False), DecodeEngine(model)):
        assert torch.equal(engine.generate(LABELS, SamplingConfig(temperature=temperature)), greedy)


@NEEDS_CUDA
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_graphs_change_no_token(spec: OrderSpec, dtype: torch.dtype) -> None:
    reference = make(spec)
    model, labels = copy.deepcopy(reference).cuda(), LABELS.cuda()
    graphs, eager = GraphEngine(model, dtype), GraphEngine(model, dtype, graphs=False)
    assert graphs.describe()["steps"] == "CUDA graphs"
    for config in CONFIGS.values():
        for given in (None, torch.randint(0, VOCABULARY, (3, 1, 4, 4))):
            there = None if given is None else given.cuda()
            made = graphs.generate(labels, config, given=there)
            assert torch.equal(made, graphs.generate(labels, config, given=there))  # all replayed
            assert torch.equal(made, eager.generate(labels, config, given=there))
            if dtype == torch.float32:
                assert torch.equal(made.cpu(), generate(reference, LABELS, config, given=given))
        assert graphs._run is not None
        assert 0 < len(graphs._run.graphs) <= 2 * 2 * 3


@NEEDS_CUDA
@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_graphs_change_no_token_of_any_kind_of_model(changes: dict[str, Any]) -> None:
    model, labels = make(**changes).cuda(), LABELS.cuda()
    graphs, eager = GraphEngine(model), GraphEngine(model, graphs=False)
    for config in CONFIGS.values():
        assert torch.equal(graphs.generate(labels, config), eager.generate(labels, config))

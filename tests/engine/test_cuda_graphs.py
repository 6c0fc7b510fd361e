"""The graph engine draws the plain loop's tokens in every order, with graphs and without."""

import copy
import math
from typing import Any

import pytest
import torch

from parvideo.engine.cpu import CpuEngine
from parvideo.engine.cuda_graphs import CudaGraphEngine
from parvideo.engine.graph_recipe import GraphRecipe
from parvideo.order import GenerationOrder, OrderSpec, regions
from parvideo.sampling import SamplingConfig, generate
from parvideo.transformer import VideoTransformer
from tests.engine.cases import GRAPH_CONFIGS as CONFIGS
from tests.engine.cases import GRID, LABELS, ORDER, ORDERS, VOCABULARY, make, order_name

KINDS: list[dict[str, Any]] = [
    {"num_kv_heads": 2},
    {"num_kv_heads": 1, "qk_norm": True},
    {"special_positions": "zero"},
    {"target_position_embedding": True},
    {"order_names": ["1x2x4", *(order.name for order in ORDERS)]},
    {"query_positions": "target", "qk_norm": True},
    {"codebook_factors": (16, 4)},
    {"codebook_size": 61},
    {"norm_eps": 1e-2, "rope_base": 100.0},
]
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="capture and replay need CUDA")


@pytest.fixture(autouse=True)
def _small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    # 48 slots: buckets of 20, 40 and 48
    monkeypatch.setattr("parvideo.engine.graph_recipe.DEFAULT", GraphRecipe(bucket=20))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("order", ORDERS, ids=order_name)
def test_tokens_equal_the_plain_loops(order: GenerationOrder, config: SamplingConfig) -> None:
    model = make(order)
    engine = CudaGraphEngine(model)
    for prefix in (
        None,
        torch.randint(0, VOCABULARY, (3, 1, 4, 4)),
        torch.randint(0, VOCABULARY, (3, 2, 4, 4)),
    ):
        expected = generate(model, order, LABELS, config, prefix=prefix)
        assert torch.equal(engine.generate(order, LABELS, config, prefix=prefix), expected)


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_every_kind_of_model(changes: dict[str, Any]) -> None:
    for spec in (OrderSpec(), OrderSpec(regions=(1, 2, 4)), OrderSpec(regions=(1, 2, 2), attention="causal")):
        order = spec.build(GRID)
        model = make(order, **changes)
        engine = CudaGraphEngine(model)
        for labels in (LABELS, LABELS[:1]):
            prefix = torch.randint(0, 60, (len(labels), 1, 4, 4))
            indices = [5, 6, 9][: len(labels)]
            for config in (CONFIGS["greedy"], CONFIGS["plain"], CONFIGS["interval"]):
                expected = generate(model, order, labels, config, indices, prefix, rng_stream=2)
                assert torch.equal(
                    engine.generate(order, labels, config, indices, prefix, rng_stream=2), expected
                )


def test_a_second_batch_takes_the_firsts_place_and_its_tensors() -> None:
    model = make()
    engine = CudaGraphEngine(model)
    first = SamplingConfig(guidance_scale=2.0)
    second = SamplingConfig(guidance_scale=5.0, guidance_schedule="linear", seed=7)
    engine.generate(ORDER, LABELS, first)
    run = engine._run
    assert run is not None
    for labels, prefix in ((LABELS.flip(0), None), (LABELS, torch.randint(0, VOCABULARY, (3, 1, 4, 4)))):
        expected = generate(model, ORDER, labels, second, prefix=prefix)
        with torch.inference_mode():
            for cache in run.cache:
                cache.fill_(math.nan)  # nothing of the batch before is read
        assert torch.equal(engine.generate(ORDER, labels, second, prefix=prefix), expected)
        assert engine._run is run
    for other in (SamplingConfig(), SamplingConfig(guidance_scale=2.0, top_k=5), first):
        assert torch.equal(engine.generate(ORDER, LABELS, other), generate(model, ORDER, LABELS, other))
        assert engine._run is not run
        run = engine._run
    labels = LABELS[:2]
    assert torch.equal(engine.generate(ORDER, labels, first), generate(model, ORDER, labels, first))


def test_many_logits_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    expected = generate(model, ORDER, LABELS, CONFIGS["top-k"])
    monkeypatch.setattr("parvideo.engine.base.LOGITS", 1)
    assert torch.equal(CudaGraphEngine(model).generate(ORDER, LABELS, CONFIGS["top-k"]), expected)


def wide_and_orders(**changes: Any) -> tuple[VideoTransformer, list[GenerationOrder]]:
    """A model and orders that it can serve: of other groups, other steps, and other transition tokens."""
    orders = [ORDER, regions(GRID, (1, 4, 4)), OrderSpec(attention="causal", regions=(1, 2, 2)).build(GRID)]
    return make(target_position_embedding=True, num_transitions=15, **changes), orders


def test_one_engine_serves_several_orders_at_once() -> None:
    """Runs in different orders, step by step in turn; each is held apart from the one the engine keeps."""
    model, orders = wide_and_orders(num_kv_heads=2)
    engine, config = CudaGraphEngine(model), CONFIGS["interval"]
    for prefix in (None, torch.randint(0, VOCABULARY, (3, 1, 4, 4))):
        requests = [engine._request(order, LABELS, config, None, prefix, 0) for order in orders]
        runs = [engine.start(request) for request in requests]
        assert len(set(map(id, runs))) == len(orders)
        for step in range(max(order.steps for order in orders)):
            for run, request in zip(runs, requests, strict=True):
                if request.first <= step < request.order.steps:
                    engine.step(run, engine.key(request.order, step, step <= request.last_guided))
        for run, order in zip(runs, orders, strict=True):
            made = order.unflatten(run.tokens[: run.batch, : order.num_tokens])
            assert torch.equal(made, generate(model, order, LABELS, config, prefix=prefix))


def test_a_batch_in_another_order_takes_no_tensors_over() -> None:
    model, orders = wide_and_orders()
    engine = CudaGraphEngine(model)
    for order in [*orders, *orders]:
        before = engine._run
        assert torch.equal(engine.generate(order, LABELS), generate(model, order, LABELS))
        assert engine._run is not before
        again = engine._run
        engine.generate(order, LABELS)
        assert engine._run is again
        assert again is not None
        assert again.slots is engine.slots(order)


def test_weights_are_those_at_construction_in_every_order() -> None:
    model, orders = wide_and_orders(qk_norm=True)
    engine = CudaGraphEngine(model)
    expected = [generate(model, order, LABELS) for order in orders]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    for order, tokens in zip(orders, expected, strict=True):  # none was asked for before
        assert torch.equal(engine.generate(order, LABELS), tokens)


def test_bfloat16_is_as_near_to_float32_as_the_engine_on_a_cpu() -> None:
    model = make(dim=64, ffn_hidden=128, num_layers=3, target_position_embedding=True)
    config = SamplingConfig(temperature=0, guidance_scale=1.5)
    exact = generate(model, ORDER, LABELS, config)
    agreement = [
        (engine.generate(ORDER, LABELS, config) == exact).float().mean()
        for engine in (CudaGraphEngine(model, torch.bfloat16), CpuEngine(model, torch.bfloat16))
    ]
    assert agreement[0] > agreement[1] - 0.1
    assert CudaGraphEngine(model, torch.bfloat16).describe()["dtype"] == "bfloat16"


def test_the_cache_is_as_large_as_stated() -> None:
    engine = CudaGraphEngine(make(num_kv_heads=2))
    run = engine.start(engine._request(ORDER, LABELS, SamplingConfig(guidance_scale=2.0), None, None, 0))
    assert sum(part.nbytes for part in run.cache) == 2 * 2 * 6 * 48 * 2 * 8 * 4 == engine.cache_bytes(3)
    assert engine.cache_bytes(3, guided=False) == engine.cache_bytes(3) // 2


def test_after_the_last_guided_step_unguided_rows_are_not_computed() -> None:
    engine = CudaGraphEngine(make())
    config = SamplingConfig(guidance_scale=2.0, guidance_interval=(0.0, 0.5))
    request = engine._request(ORDER, LABELS, config, None, None, 0)
    run = engine.start(request)
    for step in range(ORDER.steps):
        engine.step(run, engine.key(ORDER, step, step <= request.last_guided))
    done = ORDER.step_slots[request.last_guided].stop
    assert 0 < done < 48
    for cache in run.cache:
        assert cache[:, 3:, :, :done].ne(0).all()
        assert cache[:, 3:, :, done:].eq(0).all()
        assert cache[:, :3].ne(0).all()


def test_progress_is_reported_and_requests_are_checked() -> None:
    model, seen = make(), list[tuple[int, int]]()
    CudaGraphEngine(model).generate(ORDER, LABELS, on_step=lambda *done: seen.append(done))
    assert seen == [(step + 1, ORDER.steps) for step in range(ORDER.steps)]
    assert CudaGraphEngine(model).describe()["steps"] == "operation by operation"
    with pytest.raises(ValueError, match="training mode"):
        CudaGraphEngine(make().train())
    with pytest.raises(ValueError, match="dtype must be torch.float32 or torch.bfloat16, got torch.float16"):
        CudaGraphEngine(model, torch.float16)
    with pytest.raises(ValueError, match=r"labels must lie in 0..3"):
        CudaGraphEngine(model).generate(ORDER, torch.tensor([9]))
    with pytest.raises(ValueError, match="1 <= k < 3 latent frames"):
        CudaGraphEngine(model).generate(ORDER, LABELS, prefix=torch.zeros(3, 3, 4, 4, dtype=torch.int64))


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_graphs_without_cuda_are_refused() -> None:
    with pytest.raises(ValueError, match="graphs=True needs a transformer on CUDA, this one lies on cpu"):
        CudaGraphEngine(make(), graphs=True)


@pytest.mark.parametrize("codebook_factors", [None, (16, 4)])
@pytest.mark.parametrize("temperature", [0.0, 1e-40, 0.5])
@pytest.mark.parametrize(
    ("value", "message"), [(math.nan, "NaN"), (-math.inf, "masked out"), (math.inf, "infinity")]
)
def test_broken_logits_are_named_at_the_end(
    codebook_factors: tuple[int, ...] | None, temperature: float, value: float, message: str
) -> None:
    """On a GPU a token outside the vocabulary would break the process, so drawing goes on with sound ones."""
    engine = CudaGraphEngine(make(codebook_factors=codebook_factors))
    config = SamplingConfig(temperature=temperature)
    request = engine._request(ORDER, LABELS, config, None, None, 0)
    logits = torch.zeros(4, engine.logits)
    logits[1] = value
    run = engine.start(request)
    with torch.inference_mode():
        engine._inspect(run, logits)
    assert torch.isfinite(logits).all()
    engine._inspect = lambda run, logits: CudaGraphEngine._inspect(engine, run, logits.fill_(value))  # type: ignore
    with pytest.raises(ValueError, match=message):
        engine.generate(ORDER, LABELS, config)
    assert engine._run is not None
    assert 0 <= engine._run.tokens[:, :48].min() <= engine._run.tokens[:, :48].max() < VOCABULARY
    del engine._inspect  # the next batch is not blamed
    expected = generate(engine.transformer, ORDER, LABELS, config)
    assert torch.equal(engine.generate(ORDER, LABELS, config), expected)


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-30])
def test_tiny_temperatures_are_no_broken_logits(temperature: float) -> None:
    model = make()
    greedy = generate(model, ORDER, LABELS, SamplingConfig(temperature=0))
    for engine in (CudaGraphEngine(model, graphs=False), CpuEngine(model)):
        made = engine.generate(ORDER, LABELS, SamplingConfig(temperature=temperature))
        assert torch.equal(made, greedy)


@pytest.mark.cuda
@NEEDS_CUDA
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("order", ORDERS, ids=order_name)
def test_graphs_change_no_token(order: GenerationOrder, dtype: torch.dtype) -> None:
    reference = make(order)
    model, labels = copy.deepcopy(reference).cuda(), LABELS.cuda()
    graphs, eager = CudaGraphEngine(model, dtype), CudaGraphEngine(model, dtype, graphs=False)
    assert graphs.describe()["steps"] == "CUDA graphs"
    for config in CONFIGS.values():
        for prefix in (None, torch.randint(0, VOCABULARY, (3, 1, 4, 4))):
            there = None if prefix is None else prefix.cuda()
            made = graphs.generate(order, labels, config, prefix=there)
            assert torch.equal(made, graphs.generate(order, labels, config, prefix=there))  # all replayed
            assert torch.equal(made, eager.generate(order, labels, config, prefix=there))
            if dtype == torch.float32:
                expected = generate(reference, order, LABELS, config, prefix=prefix)
                assert torch.equal(made.cpu(), expected)
        assert graphs._run is not None
        assert 0 < len(graphs._run.graphs) <= 2 * 2 * 3


@pytest.mark.cuda
@NEEDS_CUDA
@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_graphs_change_no_token_of_any_kind_of_model(changes: dict[str, Any]) -> None:
    model, labels = make(**changes).cuda(), LABELS.cuda()
    graphs, eager = CudaGraphEngine(model), CudaGraphEngine(model, graphs=False)
    for config in CONFIGS.values():
        made = graphs.generate(ORDER, labels, config)
        assert torch.equal(made, eager.generate(ORDER, labels, config))

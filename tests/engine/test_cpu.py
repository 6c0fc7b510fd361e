"""The engine draws the plain loop's tokens in every order, by whatever kernels, in bounded memory."""

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from parvideo.engine.cpu import CpuEngine
from parvideo.engine.memory import decode_bytes
from parvideo.engine.packed import packing_obstacle
from parvideo.engine.products import STORAGES
from parvideo.engine.selection import Kernels, Selection
from parvideo.order import GenerationOrder, OrderSpec, raster, regions
from parvideo.sampling import SamplingConfig, generate
from parvideo.transformer import VideoTransformer
from tests.engine.cases import CLASSES, CONFIGS, GRID, LABELS, ORDER, ORDERS, VOCABULARY, make, order_name

SHAPES = {"native": {"dim": 128}}
"""Those kernels have code for heads of width 32 and more."""
FORCED: list[Any] = [
    "timed",
    "plain",
    pytest.param(
        "packed",
        marks=pytest.mark.skipif(
            packing_obstacle(torch.zeros(1, 1)) is not None, reason="this PyTorch packs no weights"
        ),
    ),
    pytest.param(
        "native",
        marks=pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
    ),
]


@pytest.mark.parametrize("kernels", [FORCED[0], FORCED[-1]])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("order", ORDERS, ids=order_name)
def test_tokens_equal_the_plain_loops(
    order: GenerationOrder, config: SamplingConfig, kernels: Kernels
) -> None:
    model = make(order, **SHAPES.get(kernels, {}))
    engine = CpuEngine(model, kernels=kernels)
    for prefix in (
        None,
        torch.randint(0, VOCABULARY, (3, 1, 4, 4)),
        torch.randint(0, VOCABULARY, (3, 2, 4, 4)),
    ):
        expected = generate(model, order, LABELS, config, prefix=prefix)
        assert torch.equal(engine.generate(order, LABELS, config, prefix=prefix), expected)


@pytest.mark.parametrize("kernels", FORCED)
@pytest.mark.parametrize(
    "changes",
    [
        {"num_kv_heads": 2},
        {"num_kv_heads": 1, "qk_norm": True},
        {"qk_norm": True},
        {"special_positions": "zero"},
        {"target_position_embedding": True},
        {"order_names": ["1x2x2-causal", "1x1x1", "1x2x4"]},
        {"query_positions": "target", "qk_norm": True},
        {"codebook_factors": (16, 4)},
        {"codebook_size": 61},
        {"norm_eps": 1e-2, "rope_base": 100.0},
    ],
    ids=str,
)
def test_every_kind_of_model(changes: dict[str, Any], kernels: Kernels) -> None:
    for spec in (OrderSpec(), OrderSpec(regions=(1, 2, 4)), OrderSpec(regions=(1, 2, 2), attention="causal")):
        order = spec.build(GRID)
        model = make(order, **SHAPES.get(kernels, {}), **changes)
        for config in (CONFIGS["greedy"], CONFIGS["plain"], CONFIGS["interval"]):
            prefix = torch.randint(0, 60, (3, 1, 4, 4))
            expected = generate(model, order, LABELS, config, [5, 6, 9], prefix, rng_stream=2)
            engine = CpuEngine(model, kernels=kernels)
            assert torch.equal(
                engine.generate(order, LABELS, config, [5, 6, 9], prefix, rng_stream=2), expected
            )


def test_the_function_takes_what_generate_takes_and_reports_progress() -> None:
    model = make()
    seen: list[tuple[int, int]] = []
    config = SamplingConfig(guidance_scale=2.0, seed=4)
    fast = CpuEngine(model).generate(
        ORDER, LABELS, config, indices=[4, 5, 6], on_step=lambda *done: seen.append(done)
    )
    assert torch.equal(fast, generate(model, ORDER, LABELS, config, indices=[4, 5, 6]))
    assert seen == [(step + 1, ORDER.steps) for step in range(ORDER.steps)]


def test_large_requests_are_split_and_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    prefix = torch.randint(0, VOCABULARY, (3, 1, 4, 4))
    expected = generate(model, ORDER, LABELS, CONFIGS["top-k"], prefix=prefix)
    for name in ("attention.SCORES", "base.LOGITS", "base.PREFILL"):
        monkeypatch.setattr(f"parvideo.engine.{name}", 1)
    assert torch.equal(CpuEngine(model).generate(ORDER, LABELS, CONFIGS["top-k"], prefix=prefix), expected)


def test_one_engine_serves_several_orders_at_once() -> None:
    """Runs in different orders, step by step in turn, with and without frames given."""
    orders = [regions(GRID, (1, 4, 4)), ORDER, raster(GRID), OrderSpec(grouping="dyadic", most=8).build(GRID)]
    model = make(
        target_position_embedding=True, num_transitions=max(order.num_transitions for order in orders)
    )
    engine = CpuEngine(model)
    configs = [CONFIGS["interval"], CONFIGS["top-k"], CONFIGS["plain"], CONFIGS["greedy"]]
    for prefix in (None, torch.randint(0, VOCABULARY, (3, 1, 4, 4))):
        asked = list(zip(orders, configs, strict=True))
        runs = [engine.start(order, LABELS, config, prefix=prefix) for order, config in asked]
        for step in range(max(order.steps for order in orders)):
            for run in runs:
                if run.first <= step < run.order.steps:
                    engine.step(run, step)
        for run, (order, config) in zip(runs, asked, strict=True):
            assert run.order is order
            made = order.unflatten(run.tokens[: run.batch])
            assert torch.equal(made, generate(model, order, LABELS, config, prefix=prefix))


@pytest.mark.parametrize("kind", [True, False])
def test_bfloat16_is_as_near_to_float32_as_the_plain_model(kind: bool) -> None:
    """Error of the logits against float32, both teacher-forced on the same tokens."""
    order = raster(GRID) if kind else ORDER
    model, half = (make(order, dim=64, ffn_hidden=128, num_layers=3) for _ in range(2))
    half.load_state_dict(model.state_dict())
    half.bfloat16()
    tokens = order.flatten(torch.randint(0, VOCABULARY, (3, *GRID)))
    exact, plain = (one(tokens, LABELS, one.layout(order)).float() for one in (model, half))
    engine = CpuEngine(half)
    run = engine.start(order, LABELS)
    with torch.inference_mode():
        run.tokens.copy_(tokens)
        steps = [
            engine._head(engine._hidden(run, slots)).view(3, len(slots), -1) for slots in order.step_slots
        ]
    error = (torch.cat(steps, dim=1).float() - exact).norm() / exact.norm()
    assert error < 1.3 * (plain - exact).norm() / exact.norm()
    assert engine.describe()["dtype"] == "bfloat16"


def test_bfloat16_runs_from_a_float32_model() -> None:
    model = make()
    tokens = CpuEngine(model, torch.bfloat16).generate(ORDER, LABELS, CONFIGS["interval"])
    assert tokens.shape == (3, *GRID)
    assert tokens.min() >= 0
    assert tokens.max() < VOCABULARY


def test_an_engine_says_how_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    plain = CpuEngine(model, kernels="plain")
    plain.start(ORDER, LABELS)
    kinds = ("qkv", "out", "gate and up", "down", "head")
    assert {plain.describe()[f"{kind} weights"] for kind in kinds} == {"plain"}
    timed = CpuEngine(model)
    timed.start(ORDER, LABELS)
    assert {timed.describe()[f"{kind} weights"] for kind in kinds} <= set(STORAGES)
    with pytest.raises(ValueError, match="kernels must be one of timed, packed, plain, native; got 'fast'"):
        CpuEngine(model, kernels="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"heads of width \(32, 64, 128\), this model's have 8"):
        CpuEngine(model, kernels="native")
    monkeypatch.setattr("parvideo.engine.packed.torch.backends.mkldnn.is_available", lambda: False)
    with pytest.raises(ValueError, match="kernels='packed' is impossible here: .* without oneDNN"):
        CpuEngine(model, kernels="packed")
    CpuEngine(model).generate(ORDER, LABELS)  # what is left to choose from


@pytest.mark.parametrize("kernels", FORCED)
def test_weights_do_not_change_by_being_stored_in_another_way(kernels: Kernels) -> None:
    """Gated or not, of whatever shape: from PyTorch's own to another and back."""
    engine = CpuEngine(make(**SHAPES.get(kernels, {})), torch.bfloat16, kernels)
    before = [w.clone() for product in engine._stored[1].products().values() for w in product.weights()]
    engine.start(ORDER, LABELS)
    after = [w for product in engine._stored[1].products().values() for w in product.weights()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_run_goes_on_as_it_began_when_weights_are_stored_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    engine = CpuEngine(model)
    chosen = iter(["plain", "packed"] if packing_obstacle(torch.zeros(1, 1)) is None else ["plain", "plain"])
    monkeypatch.setattr(Selection, "_storage", lambda *_: next(chosen) if _[1].name == "down" else "plain")
    order = raster(GRID)
    runs = [engine.start(order, LABELS), engine.start(ORDER, LABELS)]
    for step in range(order.steps):
        for run in runs:
            if step < run.order.steps:
                engine.step(run, step)
    for run in runs:
        made = run.order.unflatten(run.tokens[: run.batch])
        assert torch.equal(made, generate(model, run.order, LABELS))


def test_two_engines_of_a_machine_choose_alike() -> None:
    """The second goes by what the first found, even if it would find something else."""
    model, config = make(), SamplingConfig(guidance_scale=2.0)
    first, second = CpuEngine(model, torch.bfloat16), CpuEngine(model, torch.bfloat16)
    first.start(ORDER, LABELS, config)
    second.start(ORDER, LABELS, config)
    assert first.selection.timings == second.selection.timings
    assert first.describe() == second.describe()


class LargestTensors(TorchDispatchMode):
    """Notes the size of the storage of whatever an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        leaves = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and not leaf.is_mkldnn]
        self.sizes += [leaf.untyped_storage().nbytes() for leaf in leaves]
        return out


def test_no_tensor_grows_with_vocabulary_times_steps() -> None:
    largest = []
    for grid in ((2, 8, 8), (8, 8, 8)):
        order = regions(grid, (1, 2, 2))
        model = make(order, codebook_size=8192)
        engine = CpuEngine(model)
        run = engine.start(order, LABELS, SamplingConfig(guidance_scale=2.0))
        with torch.inference_mode(), LargestTensors() as seen:
            for part in run.cache:
                part.zero_()
            engine.step(run, 20)
        own = {part.untyped_storage().nbytes() for part in (*run.cache, run.space.scores)}
        embeddings = model.token_embedding.weight.nbytes
        largest.append(max(size for size in seen.sizes if size not in own and size != embeddings))
    assert largest[0] == largest[1] == 3 * 4 * 8192 * 4  # B · group · V floats, whatever the length


def test_the_cache_is_as_large_as_stated() -> None:
    model = make(num_kv_heads=2)
    engine = CpuEngine(model)
    run = engine.start(ORDER, LABELS, SamplingConfig(guidance_scale=2.0))
    layers, rows, slots, width = 2, 6, 48, 2 * 8
    assert sum(part.nbytes for part in run.cache) == 2 * layers * rows * slots * width * 4
    assert engine.cache_bytes(3) == 2 * layers * rows * slots * width * 4
    assert decode_bytes(model, ORDER, 3) > run.nbytes
    for step in range(ORDER.steps):
        engine.step(run, step)
    assert len(run.tokens) == 6


def test_unguided_rows_are_dropped_after_the_last_guided_step() -> None:
    model = make()
    engine = CpuEngine(model)
    run = engine.start(ORDER, LABELS, SamplingConfig(guidance_scale=2.0, guidance_interval=(0.0, 0.5)))
    for step in range(ORDER.steps):
        engine.step(run, step)
        assert len(run.tokens) == (6 if step <= run.last_guided else 3)
    assert 0 < run.last_guided < ORDER.steps - 1


def test_the_papers_grid_agrees_too() -> None:
    """A long sequence, where rounding could add up."""
    order = raster((5, 8, 8))
    model = VideoTransformer(order.grid, 128, CLASSES, 64, 2, 2, ffn_hidden=64).eval()
    config = SamplingConfig(guidance_scale=2.0, seed=1)
    made = CpuEngine(model).generate(order, LABELS[:1], config)
    assert torch.equal(made, generate(model, order, LABELS[:1], config))

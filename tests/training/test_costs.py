"""Costs agree with models: parameters and saved bytes exactly, operations as PyTorch counts them."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from parvideo.order import GenerationOrder, raster, regions
from parvideo.training.costs import MACHINES, TransformerCosts, fit_machine, training_bytes
from parvideo.transformer import SIZES, VideoTransformer, attention, next_token_loss

CODES, CLASSES = 640, 10


ORDER = regions((2, 8, 8), (1, 2, 2))


def build(order: GenerationOrder = ORDER, **settings: object) -> VideoTransformer:
    arguments = {"dim": 64, "num_layers": 2, "num_heads": 4, "ffn_hidden": 192, "dropout": 0.1}
    arguments |= {"num_transitions": order.num_transitions, **settings}
    return VideoTransformer(order.grid, CODES, CLASSES, **arguments)  # type: ignore[arg-type]


def loss(model: VideoTransformer, batch: int = 2, order: GenerationOrder = ORDER) -> torch.Tensor:
    tokens = torch.randint(0, CODES, (batch, order.num_tokens))
    labels = torch.zeros(batch, dtype=torch.int64)
    return next_token_loss(model(tokens, labels, model.layout(order)), tokens, model.codebook_factors).mean()


def saved_bytes(model: VideoTransformer, mixed: bool) -> int:
    """Bytes of the storages that autograd keeps, without parameters, their bfloat16 copies, and indices."""
    layout = model.layout(ORDER)
    held = [*model.parameters(), *model.buffers(), layout.rotary]
    own = {tensor.untyped_storage().data_ptr() for tensor in held}
    shapes = {(*parameter.shape,) for parameter in model.parameters()}
    shapes |= {shape[::-1] for shape in shapes}
    seen: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        copy = mixed and tensor.dtype == torch.bfloat16 and (*tensor.shape,) in shapes
        if storage.data_ptr() not in own and tensor.is_floating_point() and not copy:
            seen[storage.data_ptr()] = storage
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=mixed),
    ):
        loss(model)
    return sum(storage.nbytes() for storage in seen.values())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_kv_heads": 2, "qk_norm": True},
        {"codebook_factors": (32, 20), "num_layers": 3},
        {"target_position_embedding": True, "num_transitions": 7, "ffn_hidden": None},
        {"order_names": ["1x1x1", "1x2x2", "dyadic-64"]},
    ],
)
def test_parameters_are_counted_exactly(settings: dict[str, object]) -> None:
    model = build(**settings)
    costs = TransformerCosts.of(model.config, ORDER)
    assert costs.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", sorted(SIZES))
def test_parameters_of_the_named_sizes(name: str) -> None:
    size = SIZES[name]
    with torch.device("meta"):
        shape = (size.dim, size.num_layers, size.num_heads)
        model = VideoTransformer((5, 16, 16), 64000, 101, *shape, num_transitions=3)
    costs = TransformerCosts.of(model.config, regions((5, 16, 16), (1, 2, 2)))
    assert costs.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(
    "settings",
    [{}, {"dropout": 0.0}, {"num_kv_heads": 2}, {"num_layers": 3, "dim": 96, "ffn_hidden": 320}],
)
def test_what_the_backward_pass_saves(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], mixed: bool
) -> None:
    monkeypatch.setattr(attention, "multiplies_bf16", lambda device: False)
    model = build(**settings).train()
    costs = TransformerCosts.of(model.config, ORDER)
    planned = costs.activation_bytes(2, mixed, checkpointing=False) + costs.logit_bytes(2, saved=True)
    # Scalars, and the shared residual where no dropout copies it.
    assert saved_bytes(model, mixed) == pytest.approx(planned, rel=0.02)
    # On a processor with products of bfloat16 attention keeps neither its result nor its scores' sums.
    monkeypatch.setattr(attention, "multiplies_bf16", lambda device: True)
    assert 0.9 * planned < saved_bytes(model, mixed) <= 1.02 * planned


def test_what_checkpointing_saves() -> None:
    model = build(num_layers=6, gradient_checkpointing=True).train()
    costs = TransformerCosts.of(model.config, ORDER)
    planned = costs.activation_bytes(2, False, checkpointing=True) + costs.logit_bytes(2, saved=True)
    # Before the backward pass no block is recomputed yet.
    planned -= 2 * costs.block_saved(False) + 4 * costs.tokens**2
    assert saved_bytes(model, False) == pytest.approx(planned, rel=0.05)


def test_a_factorised_head_saves_its_share_of_logits() -> None:
    whole, factorised = (
        TransformerCosts.of(build(codebook_factors=f).config, ORDER) for f in (None, (32, 20))
    )
    assert factorised.logit_bytes(3) * CODES == whole.logit_bytes(3) * 52
    got = saved_bytes(build(codebook_factors=(32, 20)).train(), False)
    planned = factorised.activation_bytes(2, False, False) + factorised.logit_bytes(2, saved=True)
    assert got == pytest.approx(planned, rel=0.02)


@pytest.mark.parametrize("settings", [{}, {"num_kv_heads": 2}, {"codebook_factors": (32, 20)}])
def test_operations_are_those_pytorch_counts(settings: dict[str, object]) -> None:
    order = raster((2, 4, 4))
    model = build(order, **settings)
    costs = TransformerCosts.of(model.config, order)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss(model, 1, order)
    # The plain kernel computes all pairs.
    assert counter.get_total_flops() == costs.forward_flops(pairs=costs.tokens**2)
    assert costs.pairs == costs.tokens * (costs.tokens + 1) // 2
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss(model, 2, order).backward()
    counted = 3 * 2 * costs.forward_flops(pairs=costs.tokens**2)
    assert counter.get_total_flops() == pytest.approx(counted, rel=0.02)


def test_pairs_and_groups_are_the_orders() -> None:
    """One model, two orders: what attention and drawing cost differs, and nothing else."""
    config = build().config
    parallel, alone = (TransformerCosts.of(config, order) for order in (ORDER, raster(ORDER.grid)))
    assert (parallel.largest_group, alone.largest_group) == (4, 1)
    assert parallel.pairs == int(ORDER.mask.sum()) > alone.pairs
    assert parallel.parameters == alone.parameters


def test_the_cache_is_the_samplers() -> None:
    model = build(num_kv_heads=2)
    costs = TransformerCosts.of(model.config, ORDER)
    assert costs.cache_bytes(3, guided=True, value=4) == model.make_cache(6).nbytes


def test_a_machine_gets_the_largest_batch_that_fits() -> None:
    costs = TransformerCosts.of(build(ffn_hidden=4096, dim=1024, num_heads=8, num_layers=8).config, ORDER)
    small, _, eight = MACHINES
    fit = fit_machine(costs, small, 4096, checkpointing=False, mfu=0.4)
    assert fit.micro_batch * fit.accumulation == 4096
    assert fit.memory <= 0.9 * small.memory
    assert training_bytes(costs, 2 * fit.micro_batch, True, False, True, 1) > 0.9 * small.memory
    more = fit_machine(costs, small, 4096, checkpointing=True, mfu=0.4)
    assert more.micro_batch > fit.micro_batch
    assert more.seconds > fit.seconds
    alone = fit_machine(costs, MACHINES[1], 4096, checkpointing=False, mfu=0.4)
    assert alone.seconds == pytest.approx(8 * fit_machine(costs, eight, 4096, False, 0.4).seconds)


@pytest.mark.parametrize(("batch", "mfu", "field"), [(12, 0.4, "global_batch"), (16, 0.0, "mfu")])
def test_wrong_settings_are_named(batch: int, mfu: float, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        fit_machine(TransformerCosts.of(build().config, ORDER), MACHINES[2], batch, False, mfu)

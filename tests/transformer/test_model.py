"""The transformer: causal by perturbation, cached = uncached, and the same through every kernel."""

import pytest
import torch
from torch import Tensor

from parvideo.order import GenerationOrder, OrderSpec
from parvideo.transformer import VideoTransformer, next_token_loss
from tests.transformer.cases import CLASSES, ORDERS, VOCABULARY, batch, make, several_orders


@pytest.fixture(params=ORDERS)
def order(request: pytest.FixtureRequest) -> GenerationOrder:
    return ORDERS[request.param]


@torch.no_grad()
@pytest.mark.parametrize("positions", ["source", "target"])
def test_a_token_changes_no_logits_at_or_before_its_own_group(order: GenerationOrder, positions: str) -> None:
    model = make(order, query_positions=positions)
    tokens, labels = batch(order, rows=1)
    layout = model.layout(order)
    before = model(tokens, labels, layout)
    last = order.step_slots[-1]
    for place in range(order.num_tokens):
        changed = tokens.clone()
        changed[0, place] = (changed[0, place] + 1) % VOCABULARY
        moved = (model(changed, labels, layout) - before).abs().amax(-1)[0]
        earlier = order.group <= order.group[place]
        assert (moved[earlier] == 0).all()
        # And it reaches the last step (one of its slots at least, where groups are causal).
        if place not in last:
            assert moved[last.start : last.stop].max() > 1e-6


@torch.no_grad()
def test_the_class_reaches_every_slot(order: GenerationOrder) -> None:
    model = make(order)
    tokens, labels = batch(order, rows=1)
    layout = model.layout(order)
    moved = model(tokens, (labels + 1) % CLASSES, layout) - model(tokens, labels, layout)
    assert (moved.abs().amax(-1) > 1e-6).all()


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_heads": 4, "num_kv_heads": 2},
        {"qk_norm": True},
        {"query_positions": "target"},
        {"query_positions": "target", "special_positions": "zero"},
    ],
    ids=str,
)
def test_cached_decoding_equals_the_uncached_forward(
    order: GenerationOrder, changes: dict[str, object]
) -> None:
    model = make(order, **changes)
    tokens, labels = batch(order)
    layout = model.layout(order)
    whole = model(tokens, labels, layout)
    cache = model.make_cache(len(tokens))
    steps = [model(tokens, labels, layout, slots, cache) for slots in order.step_slots]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_prefix_computed_at_once_fills_the_cache_as_the_steps_do(order: GenerationOrder) -> None:
    model = make(order)
    tokens, labels = batch(order)
    split = order.step_slots[order.steps // 2].start
    cache, layout = model.make_cache(len(tokens)), model.layout(order)
    model(tokens, labels, layout, range(split), cache)
    rest = model(tokens, labels, layout, range(split, order.num_tokens), cache)
    torch.testing.assert_close(rest, model(tokens, labels, layout)[:, split:], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_rows_at_different_slots_are_computed_as_each_alone(order: GenerationOrder) -> None:
    model = make(order, num_kv_heads=1, query_positions="target", num_transitions=20)
    tokens, labels = batch(order)
    layout, count = model.layout(order), order.num_tokens
    whole = model(tokens, labels, layout)
    starts = [order.step_slots[step].start for step in (0, order.steps // 3, order.steps // 2)]
    cache = model.make_cache(len(tokens), spare=count)
    model(tokens, labels, layout, range(max(starts)), cache)
    for row, start in enumerate(starts):  # what lies beyond each row's start is of no account
        cache.keys[:, row, :, start:], cache.values[:, row, :, start:] = 7.0, 7.0
    slots = torch.tensor(starts)[:, None] + torch.arange(count)
    seen = order.mask[torch.where(slots < count, slots, 0)]
    hidden = model.hidden_of_rows(tokens, labels, layout, slots, seen, cache)
    for row, start in enumerate(starts):
        logits = model.head(hidden[row, : count - start])
        torch.testing.assert_close(logits, whole[row, start:], rtol=1e-4, atol=1e-4)
    cache.keep(torch.tensor([2]))
    assert cache.keys.shape[1] == cache.values.shape[1] == 1


@torch.no_grad()
def test_decoding_reads_only_tokens_already_made(order: GenerationOrder) -> None:
    """The buffer past the slots holds rubbish while decoding; a forward over a prefix must not care."""
    model = make(order)
    tokens, labels = batch(order)
    layout = model.layout(order)
    for slots in order.step_slots:
        rubbish = tokens.clone()
        rubbish[:, slots.start :] = torch.randint(0, VOCABULARY, rubbish[:, slots.start :].shape)
        prefix = range(slots.stop)
        made = model(rubbish, labels, layout, prefix)
        assert torch.equal(made, model(tokens, labels, layout, prefix))


def test_slots_without_their_predecessors_are_refused() -> None:
    order = ORDERS["regions"]
    model = make(order)
    with pytest.raises(ValueError, match="need a cache"):
        model(*batch(order), model.layout(order), range(4, 8))


def test_gradient_checkpointing_changes_no_gradient() -> None:
    order = ORDERS["regions"]
    tokens, labels = batch(order)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = make(order, gradient_checkpointing=checkpointing).train()
        next_token_loss(model(tokens, labels, model.layout(order)), tokens).mean().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(list(make(order).parameters()))
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_a_model_is_rebuilt_from_its_config(order: GenerationOrder) -> None:
    model = make(order, qk_norm=True, num_kv_heads=1)
    twin = VideoTransformer.from_config(model.config).eval()
    twin.load_state_dict(model.state_dict())
    tokens, labels = batch(order)
    expected = model(tokens, labels, model.layout(order))
    assert torch.equal(twin(tokens, labels, twin.layout(order)), expected)


@torch.no_grad()
def test_models_written_before_queries_could_turn_by_targets_turn_by_sources(order: GenerationOrder) -> None:
    model = make(order)
    old = {name: value for name, value in model.config.items() if name != "query_positions"}
    twin = VideoTransformer.from_config(old).eval()
    twin.load_state_dict(model.state_dict())
    tokens, labels = batch(order)
    expected = model(tokens, labels, model.layout(order))
    assert torch.equal(twin(tokens, labels, twin.layout(order)), expected)
    other = VideoTransformer.from_config({**old, "query_positions": "target"}).eval()
    other.load_state_dict(model.state_dict())
    assert (other(tokens, labels, other.layout(order)) - expected).abs().max() > 1e-3


@torch.no_grad()
def test_a_query_turned_by_its_target_knows_the_place_it_predicts() -> None:
    """Two orders that differ in the place of the last token alone: without the option they look the same."""
    groups = ((0,), (1,), (2,)), ((0,), (2,), (1,))
    orders = [GenerationOrder((1, 1, 3), places) for places in groups]
    for positions, told in (("source", False), ("target", True)):
        model = make(orders[0], query_positions=positions)
        tokens, labels = batch(orders[0], rows=1)
        first, second = (model(tokens, labels, model.layout(order)) for order in orders)
        moved = (second - first).abs().amax(-1)[0]
        assert (moved[1] > 1e-4) == told
        assert moved[0] == 0


@torch.no_grad()
def test_one_model_serves_several_orders() -> None:
    orders = several_orders()
    model = make(orders[0], num_transitions=7, target_position_embedding=True)
    tokens, labels = batch(orders[0])
    layouts = [model.layout(order) for order in orders]
    twins = [make(order, num_transitions=7, target_position_embedding=True) for order in orders]
    for twin in twins:
        twin.load_state_dict(model.state_dict())
    wholes = [twin(tokens, labels, twin.layout(order)) for twin, order in zip(twins, orders, strict=True)]
    for layout, whole in zip([*layouts, layouts[0]], [*wholes, wholes[0]], strict=True):
        assert torch.equal(model(tokens, labels, layout), whole)
    # All at once, each with a cache of its own: a step of one, a step of the next.
    caches = [model.make_cache(len(tokens)) for _ in orders]
    made: list[list[Tensor]] = [[] for _ in orders]
    for step in range(max(order.steps for order in orders)):
        for order, layout, cache, logits in zip(orders, layouts, caches, made, strict=True):
            if step < order.steps:
                logits.append(model(tokens, labels, layout, order.step_slots[step], cache))
    for logits, whole in zip(made, wholes, strict=True):
        torch.testing.assert_close(torch.cat(logits, dim=1), whole, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_slot_is_told_which_place_it_predicts() -> None:
    """With two orders alike up to the places they visit last, only the target embedding tells them apart."""
    model_args = {"num_transitions": 0, "target_position_embedding": True}
    orders = [
        GenerationOrder((1, 1, 4), groups) for groups in (((0,), (1,), (2,), (3,)), ((0,), (1,), (3,), (2,)))
    ]
    model = make(orders[0], **model_args)
    tokens, labels = batch(orders[0], rows=1)
    first, second = (model(tokens, labels, model.layout(order)) for order in orders)
    assert torch.equal(first[:, :2], second[:, :2])
    assert (first[:, 2] - second[:, 2]).abs().max() > 1e-3


@torch.no_grad()
def test_a_model_told_its_order_knows_orders_apart_that_look_the_same() -> None:
    """Of a first frame of one token a step, nothing but the order's own embedding differs."""
    orders = [OrderSpec().build((2, 4, 4)), OrderSpec(regions=(1, 4, 4), one_by_one=True).build((2, 4, 4))]
    names = [order.name for order in orders]
    for told in (False, True):
        model = make(orders[0], target_position_embedding=True, order_names=names if told else [])
        tokens, labels = batch(orders[0])
        first, second = (model(tokens, labels, model.layout(order))[:, 0] for order in orders)
        assert ((first - second).abs().max() > 1e-3) == told
        if told:
            assert model.order_embedding is not None
            model.order_embedding.weight[1] = model.order_embedding.weight[0]
            assert torch.equal(model(tokens, labels, model.layout(orders[1]))[:, 0], first)


def test_models_that_are_not_told_their_order_say_nothing_of_it(order: GenerationOrder) -> None:
    """So that their fingerprints are those of models written before they could be told."""
    assert "order_names" not in make(order).config
    assert make(order, order_names=[order.name]).config["order_names"] == [order.name]


def test_orders_that_a_model_is_not_told_apart_are_refused() -> None:
    orders = several_orders()
    model = make(orders[0], num_transitions=7, order_names=["1x1x1", "1x2x2"])
    assert [model.layout(order).number for order in orders[:2]] == [0, 1]
    with pytest.raises(ValueError, match="which order it is in, and knows 1x1x1, 1x2x2; not 2x2x2"):
        model.layout(orders[2])
    with pytest.raises(ValueError, match="order_names are 1x1x1, 1x1x1; give none twice"):
        make(orders[0], order_names=["1x1x1", "1x1x1"])


def test_orders_a_model_cannot_serve_are_refused() -> None:
    model = make(several_orders()[0])
    with pytest.raises(ValueError, match=r"this model is for grid \(2, 4, 4\), the order for \(1, 4, 4\)"):
        model.layout(OrderSpec().build((1, 4, 4)))
    with pytest.raises(ValueError, match="needs 3 transition tokens, this model has 0"):
        model.layout(several_orders()[1])


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_heads must divide dim: got dim=32, num_heads=3"):
        make(ORDERS["raster"], num_heads=3)
    with pytest.raises(ValueError, match="num_kv_heads must divide num_heads"):
        make(ORDERS["raster"], num_heads=4, num_kv_heads=3)
    with pytest.raises(ValueError, match="num_layers must be positive, got 0"):
        make(ORDERS["raster"], num_layers=0)
    with pytest.raises(ValueError, match="head_dim must be a multiple of"):
        make(ORDERS["raster"], dim=30, num_heads=2)
    with pytest.raises(ValueError, match="query_positions must be 'source' or 'target', got 'both'"):
        make(ORDERS["raster"], query_positions="both")
    with pytest.raises(ValueError, match="special positions must be 'target' or 'zero', got 'one'"):
        make(ORDERS["raster"], special_positions="one")
    with pytest.raises(ValueError, match="num_transitions must be 0 or more, got -1"):
        make(ORDERS["raster"], num_transitions=-1)
    with pytest.raises(ValueError, match="grid must be three positive sizes"):
        VideoTransformer((0, 4, 4), VOCABULARY, CLASSES, dim=32, num_layers=1, num_heads=2)

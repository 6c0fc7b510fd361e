"""The laws of an order, over random grids and regions."""

import math

import pytest
import torch
from hypothesis import given

from parvideo.order import CLASS_SOURCE, GenerationOrder, OrderSpec, raster, regions
from tests.order.cases import Triple, grids_and_regions, orders


@given(orders())
def test_every_cell_is_generated_exactly_once(order: GenerationOrder) -> None:
    assert sorted(order.permutation.tolist()) == list(range(math.prod(order.grid)))
    assert [slot for slots in order.step_slots for slot in slots] == list(range(order.num_tokens))


@given(orders())
def test_what_sampling_asks_for_first_serves_training_too(order: GenerationOrder) -> None:
    fresh = GenerationOrder.from_dict(order.to_dict())
    with torch.inference_mode():
        names = ("permutation", "inverse", "group", "source", "target_coords", "coords", "mask")
        assert not any(getattr(fresh, name).is_inference() for name in names)
    scores = torch.ones(1, order.num_tokens, requires_grad=True)
    scores[:, fresh.inverse].sum().backward()  # which an inference tensor would refuse


@given(orders())
def test_unflatten_undoes_flatten(order: GenerationOrder) -> None:
    tokens = torch.randint(0, 1000, (2, *order.grid))
    ordered = order.flatten(tokens)
    assert torch.equal(order.unflatten(ordered), tokens)
    for slot, (t, h, w) in enumerate(order.target_coords.tolist()):
        assert torch.equal(ordered[:, slot], tokens[:, t, h, w])


@given(orders())
def test_no_slot_is_fed_or_sees_a_token_of_its_own_or_a_later_group(order: GenerationOrder) -> None:
    for slot in range(order.num_tokens):
        seen = order.source[order.mask[slot]]
        tokens = seen[seen >= 0]
        assert (order.group[tokens] < order.group[slot]).all()


@given(orders())
def test_every_slot_sees_all_tokens_of_earlier_groups_and_the_class(order: GenerationOrder) -> None:
    for slots in order.step_slots:
        for slot in slots if order.attention == "bidirectional" else [slots.stop - 1]:
            seen = set(order.source[order.mask[slot]].tolist())
            assert CLASS_SOURCE in seen
            assert set(range(slots.start)) <= seen


@given(orders())
def test_each_transition_token_is_fed_once(order: GenerationOrder) -> None:
    transitions = sorted(-2 - source for source in order.source.tolist() if source < CLASS_SOURCE)
    assert transitions == list(range(order.num_transitions))
    assert (order.source == CLASS_SOURCE).sum() == 1


@given(grids_and_regions())
def test_later_slots_are_fed_the_same_regions_token_of_the_group_before(
    case: tuple[Triple, Triple],
) -> None:
    grid, counts = case
    n = math.prod(counts)
    order = regions(grid, counts)
    later = torch.arange(order.num_tokens)[2 * n :]
    assert torch.equal(order.source[later], later - n)
    assert order.source[:n].tolist() == [CLASS_SOURCE, *range(n - 1)]


@given(orders())
def test_coordinates_are_those_of_the_token_fed(order: GenerationOrder) -> None:
    for slot, source in enumerate(order.source.tolist()):
        cell = order.permutation[source if source >= 0 else slot].item()
        t, h, w = order.coords[slot].tolist()
        assert (t * order.grid[1] + h) * order.grid[2] + w == cell


@given(orders())
def test_an_order_survives_being_written_down(order: GenerationOrder) -> None:
    assert GenerationOrder.from_dict(order.to_dict()) == order


def test_bad_orders_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"axis w of 16 cells takes one of \[1, 2, 4, 8, 16\] regions, not 3"
    ):
        regions((5, 16, 16), (1, 2, 3))
    with pytest.raises(ValueError, match="exactly once"):
        GenerationOrder((1, 1, 3), ((0,), (1, 1)))
    with pytest.raises(ValueError, match="never shrink"):
        GenerationOrder((1, 1, 3), ((0, 1), (2,)))
    with pytest.raises(ValueError, match="three positive sizes"):
        raster((0, 4, 4))
    with pytest.raises(ValueError, match="attention must be one of bidirectional, causal; got 'both'"):
        OrderSpec(attention="both").build((1, 2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="transition='repeat'"):
        OrderSpec(regions=(1, 2, 2), initial="parallel", transition="repeat").build((1, 4, 4))
    with pytest.raises(ValueError, match=r"grid \(1, 2, 2\), this order is for \(1, 4, 4\)"):
        raster((1, 4, 4)).flatten(torch.zeros(1, 1, 2, 2))

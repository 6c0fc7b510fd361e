"""The laws of an order, over random grids and regions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parvideo.order import CLASS_SOURCE, GenerationOrder, OrderSpec, adjacent, raster, regions

Triple = tuple[int, int, int]


@st.composite
def grids_and_regions(draw: st.DrawFn) -> tuple[Triple, Triple]:
    counts = [draw(st.integers(1, 3)) for _ in range(3)]
    sizes = [count * draw(st.integers(1, 3)) for count in counts]
    return (sizes[0], sizes[1], sizes[2]), (counts[0], counts[1], counts[2])


@st.composite
def orders(draw: st.DrawFn) -> GenerationOrder:
    grid, counts = draw(grids_and_regions())
    parallel = draw(st.booleans())
    return OrderSpec(
        regions=counts,
        grouping=draw(st.sampled_from(["distant", "adjacent"])),
        initial="parallel" if parallel else "sequential",
        attention=draw(st.sampled_from(["bidirectional", "causal"])),
        transition="learned" if parallel else draw(st.sampled_from(["learned", "repeat"])),
    ).build(grid)


@given(orders())
def test_every_cell_is_generated_exactly_once(order: GenerationOrder) -> None:
    assert sorted(order.permutation.tolist()) == list(range(math.prod(order.grid)))
    assert [slot for slots in order.step_slots for slot in slots] == list(range(order.num_tokens))


@given(orders())
def test_unflatten_undoes_flatten(order: GenerationOrder) -> None:
    tokens = torch.randint(0, 1000, (2, *order.grid))
    ordered = order.flatten(tokens)
    assert torch.equal(order.unflatten(ordered), tokens)
    for slot, (t, h, w) in enumerate(order.target_coords.tolist()):
        assert torch.equal(ordered[:, slot], tokens[:, t, h, w])


@given(grids_and_regions())
def test_steps_are_n_plus_rows_minus_one(case: tuple[Triple, Triple]) -> None:
    grid, counts = case
    n, rows = math.prod(counts), math.prod(grid) // math.prod(counts)
    assert regions(grid, counts).steps == adjacent(grid, counts).steps == n + rows - 1
    assert OrderSpec(regions=counts, initial="parallel").build(grid).steps == rows
    assert regions(grid, counts).num_transitions == (n - 1 if rows > 1 else 0)


@pytest.mark.parametrize(
    ("counts", "steps"), [((1, 1, 1), 1280), ((1, 2, 2), 323), ((1, 4, 4), 95), ((5, 2, 2), 83)]
)
def test_steps_of_the_papers_video_grid(counts: Triple, steps: int) -> None:
    assert regions((5, 16, 16), counts).steps == steps


@given(grids_and_regions())
def test_distant_groups_hold_the_same_place_of_every_region(case: tuple[Triple, Triple]) -> None:
    grid, counts = case
    size = torch.tensor(grid) // torch.tensor(counts)
    order = regions(grid, counts)
    for slots in order.step_slots:
        if len(slots) == 1:
            continue
        coords = order.target_coords[slots.start : slots.stop]
        assert (coords % size == coords[0] % size).all()
        regions_seen = [tuple(region) for region in (coords // size).tolist()]
        assert regions_seen == sorted(set(regions_seen))
        assert len(regions_seen) == math.prod(counts)


@given(grids_and_regions())
def test_tokens_of_a_distant_group_are_never_adjacent(case: tuple[Triple, Triple]) -> None:
    grid, counts = case
    if any(count > 1 and size // count < 2 for size, count in zip(grid, counts, strict=True)):
        return
    for slots, order in ((s, o) for o in [regions(grid, counts)] for s in o.step_slots):
        coords = order.target_coords[slots.start : slots.stop]
        distance = (coords[:, None] - coords[None, :]).abs().amax(-1)
        distance.fill_diagonal_(2)
        assert (distance >= 2).all()


@given(grids_and_regions())
def test_an_adjacent_group_is_one_block(case: tuple[Triple, Triple]) -> None:
    grid, counts = case
    order = adjacent(grid, counts)
    for slots in order.step_slots[math.prod(counts) :]:
        coords = order.target_coords[slots.start : slots.stop]
        extent = coords.amax(0) - coords.amin(0) + 1
        assert extent.tolist() == list(counts)


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


def test_raster_is_the_cells_in_turn() -> None:
    order = raster((2, 3, 4))
    assert order.permutation.tolist() == list(range(24))
    assert torch.equal(order.mask, torch.ones(24, 24, dtype=torch.bool).tril())


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

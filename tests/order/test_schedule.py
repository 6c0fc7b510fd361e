"""The laws of an order, over random grids and regions."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
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
    if draw(st.booleans()):
        return draw(dyadic_orders())
    parallel = draw(st.booleans())
    return OrderSpec(
        regions=counts,
        grouping=draw(st.sampled_from(["distant", "adjacent"])),
        initial="parallel" if parallel else "sequential",
        attention=draw(st.sampled_from(["bidirectional", "causal"])),
        transition="learned" if parallel else draw(st.sampled_from(["learned", "repeat"])),
    ).build(grid)


@st.composite
def dyadic_orders(draw: st.DrawFn) -> GenerationOrder:
    sizes = [draw(st.integers(1, top)) for top in (3, 9, 9)]
    return OrderSpec(
        grouping="dyadic",
        attention=draw(st.sampled_from(["bidirectional", "causal"])),
        transition=draw(st.sampled_from(["learned", "repeat"])),
        most=draw(st.integers(1, 90)),
        one_by_one=draw(st.booleans()),
    ).build((sizes[0], sizes[1], sizes[2]))


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


@given(orders())
def test_equal_specs_build_the_same_object(order: GenerationOrder) -> None:
    spec = order.spec
    assert spec is not None
    fields = dataclasses.asdict(spec)
    for regions_ in (tuple(spec.regions), list(spec.regions)):
        assert OrderSpec(**{**fields, "regions": regions_}).build(order.grid) is order
    assert spec.build(list(order.grid)) is order  # type: ignore[arg-type]
    larger = (order.grid[0] * 2, *order.grid[1:])
    assert spec.build(larger).grid == larger


def test_an_order_knows_its_spec_and_is_what_its_groups_are() -> None:
    order = regions((2, 4, 4), (1, 2, 2))
    assert order.spec == OrderSpec((1, 2, 2))
    assert order.name == "1x2x2"
    bare = GenerationOrder.from_dict(order.to_dict())
    assert bare.spec is None
    assert bare.name == "11-steps"
    assert bare == order
    assert hash(bare) == hash(order)
    # Two specs of one order: the same groups, and so equal, each under its own name.
    alone = OrderSpec(one_by_one=True).build((2, 4, 4))
    assert alone == raster((2, 4, 4))
    assert [alone.name, raster((2, 4, 4)).name] == ["1x1x1-one-by-one", "1x1x1"]


@given(st.tuples(*(st.integers(1, top) for top in (3, 20, 20))), st.integers(1, 90))
def test_a_dyadic_order_goes_frame_by_frame_in_groups_that_double_at_most(grid: Triple, most: int) -> None:
    order = OrderSpec(grouping="dyadic", most=most).build(grid)
    frame = grid[1] * grid[2]
    assert (order.target_coords[:, 0].diff() >= 0).all()
    sizes = [len(slots) for slots in order.step_slots]
    largest = max(d for d in range(1, min(most, frame) + 1) if frame % d == 0)
    assert max(sizes) <= largest
    assert sum(sizes[sizes.index(sizes[-1]) :]) >= order.num_tokens - frame  # from there on all equal
    for slots in order.step_slots:
        assert slots.start // frame == (slots.stop - 1) // frame  # within one frame
        if 0 < slots.start < frame:
            assert len(slots) <= slots.start
        elif slots.start:
            assert len(slots) == largest
    # It takes as few steps as doubling and the limit allow, up to one.
    assert order.steps <= 1 + math.ceil(math.log2(largest)) + math.ceil(frame / largest) + (
        frame // largest
    ) * (grid[0] - 1)


@settings(max_examples=40)
@given(
    st.tuples(st.integers(1, 2), *(st.sampled_from([1, 2, 4, 8, 16]) for _ in range(2))),
    st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]),
)
def test_groups_and_prefixes_of_a_dyadic_order_are_lattices(grid: Triple, most: int) -> None:
    order = OrderSpec(grouping="dyadic", most=most).build(grid)
    frame = grid[1] * grid[2]
    for slots in order.step_slots:
        prefix = order.permutation[slots.start - slots.start % frame : slots.stop] % frame
        if len(prefix).bit_count() == 1:
            assert _is_lattice(prefix, grid)
        assert _is_lattice(order.permutation[slots.start : slots.stop] % frame, grid)


def _is_lattice(cells: torch.Tensor, grid: Triple) -> bool:
    """Whether cells of a frame, rolled so that the first one is the origin, hold the sum of any two."""
    held = torch.zeros(grid[1:], dtype=torch.bool)
    held.view(-1)[cells] = True
    y, x = (int(place) for place in torch.unravel_index(cells[0], grid[1:]))
    held = held.roll((-y, -x), (0, 1))
    return all(torch.equal(held.roll(place, (0, 1)), held) for place in held.nonzero().tolist())


@pytest.mark.parametrize("most", [1, 2, 8, 16, 32, 64, 256])
@pytest.mark.parametrize("grid", [(5, 16, 16), (3, 8, 8), (2, 12, 12), (2, 24, 24)])
def test_slots_of_a_dyadic_order_are_fed_tokens_near_their_targets(grid: Triple, most: int) -> None:
    """A group of n tokens that 4^k divides has one in each of 2^k x 2^k cells or several in every one."""
    order = OrderSpec(grouping="dyadic", most=most).build(grid)
    for before, slots in zip(order.step_slots, order.step_slots[1:], strict=False):
        fed = slice(slots.start, slots.start + len(before))
        assert order.source[fed].tolist() == list(before)
        cut = 1
        while len(before) % (4 * cut**2) == 0 and grid[1] % (2 * cut) == 0:
            cut *= 2
        side = grid[1] // cut
        assert torch.equal(order.coords[fed, 1:] // side, order.target_coords[fed, 1:] // side)
        assert (order.target_coords[fed, 0] - order.coords[fed, 0] <= 1).all()


@pytest.mark.parametrize(
    ("grid", "most", "steps"),
    [
        ((5, 16, 16), 64, 26),
        ((5, 16, 16), 32, 45),
        ((3, 8, 8), 16, 16),
        ((5, 8, 8), 64, 11),
        ((1, 24, 24), 64, 15),
    ],
)
def test_steps_of_dyadic_orders(grid: Triple, most: int, steps: int) -> None:
    assert OrderSpec(grouping="dyadic", most=most).build(grid).steps == steps


@given(grids_and_regions())
def test_one_by_one_is_the_same_sequence_in_groups_of_one(case: tuple[Triple, Triple]) -> None:
    grid, counts = case
    for spec in (OrderSpec(counts), OrderSpec(grouping="dyadic", most=math.prod(counts))):
        order = spec.build(grid)
        alone = dataclasses.replace(spec, one_by_one=True).build(grid)
        assert torch.equal(alone.permutation, order.permutation)
        assert alone.steps == alone.num_tokens
        assert alone.source.tolist() == [CLASS_SOURCE, *range(alone.num_tokens - 1)]


def test_every_spec_has_a_name_of_its_own() -> None:
    specs = [
        OrderSpec(counts, grouping, initial, attention, transition, None, alone)
        for counts in ((1, 1, 1), (1, 4, 4))
        for grouping in ("distant", "adjacent")
        for attention in ("bidirectional", "causal")
        for transition in ("learned", "repeat")
        for initial, alone in (("sequential", False), ("sequential", True), ("parallel", False))
    ]
    specs += [
        OrderSpec(grouping="dyadic", most=most, one_by_one=alone)
        for most in (8, 64)
        for alone in (False, True)
    ]
    assert len({spec.name for spec in specs}) == len(specs)
    assert OrderSpec((1, 4, 4)).name == "1x4x4"
    assert OrderSpec(grouping="dyadic", most=64).name == "dyadic-64"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"grouping": "dyadic"}, "a dyadic order needs most"),
        ({"grouping": "dyadic", "most": 0}, "needs most, its largest group, such as 64; got 0"),
        ({"grouping": "dyadic", "most": 8, "regions": (1, 2, 2)}, r"regions is \(1, 2, 2\), but a dyadic"),
        (
            {"grouping": "dyadic", "most": 8, "initial": "parallel"},
            "initial is 'parallel', which is for regi",
        ),
        ({"regions": (1, 2, 2), "most": 8}, "most is 8, but only grouping 'dyadic'"),
        ({"initial": "parallel", "one_by_one": True}, "says nothing of an order one by one"),
    ],
)
def test_fields_that_say_nothing_together_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OrderSpec(**fields)


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

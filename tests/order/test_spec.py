"""Orders built by regions, one by one and from other switches."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given

from parvideo.order import CLASS_SOURCE, GenerationOrder, OrderSpec, adjacent, raster, regions
from tests.order.cases import Triple, grids_and_regions, orders


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


def test_raster_is_the_cells_in_turn() -> None:
    order = raster((2, 3, 4))
    assert order.permutation.tolist() == list(range(24))
    assert torch.equal(order.mask, torch.ones(24, 24, dtype=torch.bool).tril())


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

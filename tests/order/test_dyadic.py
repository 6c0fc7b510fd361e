"""Dyadic orders: lattices that double."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parvideo.order import OrderSpec
from tests.order.cases import Triple


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


def _is_lattice(cells: torch.Tensor, grid: Triple) -> bool:
    """Whether cells of a frame, rolled so that the first one is the origin, hold the sum of any two."""
    held = torch.zeros(grid[1:], dtype=torch.bool)
    held.view(-1)[cells] = True
    y, x = (int(place) for place in torch.unravel_index(cells[0], grid[1:]))
    held = held.roll((-y, -x), (0, 1))
    return all(torch.equal(held.roll(place, (0, 1)), held) for place in held.nonzero().tolist())

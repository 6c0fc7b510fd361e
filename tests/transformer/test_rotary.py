"""Rotary positions: scores depend on offsets alone, and on each axis."""

import pytest
import torch

from parvideo.order import raster, regions
from parvideo.transformer.rotary import axis_dims, rotary_tables, rotate


def test_scores_depend_only_on_the_offset_between_two_places() -> None:
    order = raster((3, 4, 4))
    table = rotary_tables(order, 32)[1]
    query, key = torch.randn(2, 1, 1, 1, 32)
    places = {tuple(place): slot for slot, place in enumerate(order.coords.tolist())}

    def score(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
        turned = [rotate(x, table[places[p] : places[p] + 1]) for x, p in ((query, a), (key, b))]
        return float((turned[0] * turned[1]).sum())

    assert score((0, 0, 1), (1, 2, 3)) == pytest.approx(score((1, 1, 0), (2, 3, 2)), abs=1e-4)
    for other in [(1, 0, 1), (0, 1, 1), (0, 0, 2)]:
        assert abs(score((0, 0, 1), other) - score((0, 0, 1), (0, 0, 1))) > 1e-3


def test_turning_keeps_lengths() -> None:
    table = rotary_tables(raster((2, 4, 4)), 16)[0]
    x = torch.randn(2, 3, 32, 16)
    torch.testing.assert_close(rotate(x, table).norm(dim=-1), x.norm(dim=-1))


def test_zero_blanks_exactly_the_class_and_the_transitions() -> None:
    order = regions((1, 4, 4), (1, 2, 2))
    queries, keys = rotary_tables(order, 16, special="zero").abs().sum(dim=(2, 3)) == 0
    assert torch.equal(queries, order.source < 0)
    assert torch.equal(keys, order.source < 0)


def test_queries_turn_by_their_source_or_by_their_target() -> None:
    order = regions((2, 4, 4), (1, 2, 2))
    # Raster order predicts the cells in turn, so its targets' turns are a table by cell.
    by_cell = rotary_tables(raster(order.grid), 16, query_positions="target")[0].unflatten(0, order.grid)
    targets, sources = (by_cell[tuple(coords.T)] for coords in (order.target_coords, order.coords))
    assert not torch.equal(targets, sources)
    for positions, expected in (("source", sources), ("target", targets)):
        queries, keys = rotary_tables(order, 16, query_positions=positions)  # type: ignore[arg-type]
        assert torch.equal(queries, expected)
        assert torch.equal(keys, sources)
    queries, keys = rotary_tables(order, 16, special="zero", query_positions="target")
    assert torch.equal(queries, targets)  # every slot predicts something
    assert torch.equal(keys.abs().sum(dim=(1, 2)) == 0, order.source < 0)


def test_unknown_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="query_positions must be 'source' or 'target', got 'both'"):
        rotary_tables(raster((2, 2, 2)), 16, query_positions="both")  # type: ignore[arg-type]


@pytest.mark.parametrize("head_dim", [8, 16, 48, 64, 100])
def test_a_head_is_shared_out_whole_and_in_pairs(head_dim: int) -> None:
    for grid in [(1, 16, 16), (5, 16, 16)]:
        dims = axis_dims(head_dim, grid)
        assert sum(dims) == head_dim
        assert all(dim % 2 == 0 for dim in dims)
        assert (dims[0] == 0) == (grid[0] == 1)

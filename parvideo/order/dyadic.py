"""Dyadic groups: frame by frame, the cells generated so far form a lattice that doubles.

The first frame's groups have 1, 1, 2, 4, 8, ... cells up to a limit. Where a group doubles what is there, the
cells before it, the group itself and both together are regular lattices: the group's cells lie as far from
each other as they can, each between cells that are known. Every later frame is cut into groups of the size
that the first one ended with. On 16 x 16 cells this is the order of a Bayer matrix (ordered dithering).
"""

import itertools
from collections.abc import Iterator

GOLDEN = (5**0.5 - 1) / 2


def dyadic_groups(grid: tuple[int, int, int], most: int) -> list[list[int]]:
    """The groups over a latent grid (t, h, w), as raster indices into it.

    Token j of a group lies in the same cell of the lattice as token j of the group before (exactly so where
    h and w are powers of two, and nearly elsewhere), and a group's slots are fed the tokens of the group
    before in turn: so what a slot is fed lies near what it predicts.

    Args:
        grid: any latent grid.
        most: the largest group allowed. Later frames are cut into equal groups, of the largest divisor of
            h·w that is no larger than this.

    Returns:
        groups that never shrink and hold every cell once.

    >>> dyadic_groups((1, 2, 4), most=4)
    [[0], [2], [5, 7], [1, 3, 4, 6]]
    """
    frames, height, width = grid
    cells = refined_cells(height, width)
    size = max(d for d in range(1, min(most, len(cells)) + 1) if len(cells) % d == 0)
    first = _doubling_sizes(len(cells), size)
    groups = []
    for frame in range(frames):
        places = iter(frame * len(cells) + y * width + x for y, x in cells)
        sizes = first if frame == 0 else [size] * (len(cells) // size)
        groups += [list(itertools.islice(places, count)) for count in sizes]
    return groups


def refined_cells(height: int, width: int) -> list[tuple[int, int]]:
    """All cells (y, x) of a frame, coarse to fine: the first ones form lattices, each inside the next.

    An axis is halved, and then cut by its odd prime factors, as often as its size allows; the last digit of a
    cell's number says its place among the coarsest cut.
    """
    rows, columns = list(_prime_factors(height)), list(_prime_factors(width))
    depth = max(len(rows), len(columns))
    # The longer axis is cut first, so that what both cut is nearly square.
    rows, columns = [1] * (depth - len(rows)) + rows, [1] * (depth - len(columns)) + columns
    cells = []
    for number in range(height * width):
        y, x, tall, wide = 0, 0, height, width
        for down, across in zip(rows, columns, strict=True):
            number, digit = divmod(number, down * across)
            tall, wide = tall // down, wide // across
            # Along diagonals: for two by two the corners (0, 0), (1, 1), (0, 1), (1, 0).
            turn, step = divmod(digit, down)
            y += tall * (step * _stride(down) % down)
            x += wide * ((step + turn * _stride(across)) % across)
        cells.append((y, x))
    return cells


def _doubling_sizes(count: int, largest: int) -> list[int]:
    """Sizes 1, 1, 2, 4, ... and ``largest`` that sum to ``count``, in rising order.

    What is left over is a size among them, so that none is larger than all before it together.
    """
    sizes, done = [], 0
    while max(done, 1) <= min(largest, count - done):
        sizes.append(max(done, 1))
        done += sizes[-1]
    full, rest = divmod(count - done, largest)
    return sorted([*sizes, *([rest] if rest else []), *([largest] * full)])


def _prime_factors(number: int) -> Iterator[int]:
    """In rising order."""
    factor = 2
    while number > 1:
        if number % factor == 0:
            yield factor
            number //= factor
        else:
            factor += 1


def _stride(prime: int) -> int:
    """A step that visits the places of an axis of ``prime`` places far from each other; 1 for two places."""
    return max(1, round(prime * GOLDEN))

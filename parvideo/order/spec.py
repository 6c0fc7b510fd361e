"""How to build an order on any grid: PAR's regions, their ablations, raster and dyadic orders.

PAR (arXiv 2412.15119, section 3.2) cuts the grid into regions, generates the first token of every region one
by one, and from then on one token of every region per step. What follows from an order's groups is
`parvideo.order.schedule`'s.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import torch
from einops import rearrange

from parvideo.order.dyadic import dyadic_groups
from parvideo.order.schedule import Attention, GenerationOrder, Grid, Transition, check_choice, check_grid

Grouping = Literal["distant", "adjacent", "dyadic"]
Initial = Literal["sequential", "parallel"]


@dataclass(frozen=True)
class OrderSpec:
    """How to build an order on whatever grid the tokens have; each ablation of the paper is one field.

    Attributes:
        regions: regions (rt, rh, rw) along each axis; n = rt·rh·rw tokens are generated per parallel step.
            (1, 1, 1) is raster order, one token a step. A dyadic order has none.
        grouping: ``distant`` generates one token of every region together (the paper); ``adjacent`` generates
            each rt x rh x rw block of neighbouring tokens together (its ablation), in as many steps;
            ``dyadic`` goes frame by frame through lattices that double, see `dyadic_groups`.
        initial: whether the first n tokens are generated one by one (``sequential``, the paper) or in the
            first step (``parallel``, its ablation).
        attention: see `GenerationOrder`.
        transition: see `GenerationOrder`.
        most: the largest group of a dyadic order.
        one_by_one: generate the same tokens in the same sequence, but each in a step of its own. It tells
            what an order costs from what it costs to generate together.

    Raises:
        ValueError: if a switch has an unknown value, or fields are given that say nothing together.

    >>> spec = OrderSpec(regions=(1, 2, 2))
    >>> order = spec.build((5, 16, 16))
    >>> spec.name, order.num_tokens, order.steps
    ('1x2x2', 1280, 323)
    >>> OrderSpec(grouping="dyadic", most=64).build((5, 16, 16)).steps
    26
    """

    regions: Grid = (1, 1, 1)
    grouping: Grouping = "distant"
    initial: Initial = "sequential"
    attention: Attention = "bidirectional"
    transition: Transition = "learned"
    most: int | None = None
    one_by_one: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", tuple(self.regions))  # hashable, whatever it was given as
        check_choice("grouping", self.grouping, get_args(Grouping))
        check_choice("initial", self.initial, get_args(Initial))
        if self.grouping == "dyadic":
            if tuple(self.regions) != (1, 1, 1):
                raise ValueError(
                    f"regions is {tuple(self.regions)}, but a dyadic order has no regions: leave them out "
                    "(or at 1, 1, 1), and give the largest group as most"
                )
            if self.initial != "sequential":
                raise ValueError(
                    f"initial is {self.initial!r}, which is for regions: a dyadic order begins with one token"
                )
            if self.most is None or self.most < 1:
                raise ValueError(f"a dyadic order needs most, its largest group, such as 64; got {self.most}")
        elif self.most is not None:
            raise ValueError(
                f"most is {self.most}, but only grouping 'dyadic' has a largest group; the groups of "
                f"{self.grouping!r} are as large as there are regions"
            )
        if self.one_by_one and self.initial != "sequential":
            raise ValueError(f"initial is {self.initial!r}, which says nothing of an order one by one")

    @property
    def name(self) -> str:
        """A short name, different for every spec: ``1x4x4``, ``1x4x4-one-by-one``, ``dyadic-64``."""
        parts = [f"dyadic-{self.most}" if self.grouping == "dyadic" else "x".join(map(str, self.regions))]
        parts += ["adjacent"] if self.grouping == "adjacent" else []
        parts += ["initial-parallel"] if self.initial == "parallel" else []
        parts += ["causal"] if self.attention == "causal" else []
        parts += ["repeat"] if self.transition == "repeat" else []
        parts += ["one-by-one"] if self.one_by_one else []
        return "-".join(parts)

    @property
    def by_regions(self) -> bool:
        """Whether this is an order that is chosen by its regions."""
        return self.grouping != "dyadic" and not self.one_by_one

    def build(self, grid: Grid) -> GenerationOrder:
        """The order on ``grid`` (t, h, w), for regions of n + N/n - 1 steps (N/n with
        ``initial='parallel'``).

        The orders built last are kept: equal specs mostly give the same object, whose tensors and layouts
        are then made once.

        Raises:
            ValueError: if an axis of the grid does not divide into its regions.
        """
        t, h, w = grid
        return _build(self, (t, h, w))

    def _build(self, grid: Grid) -> GenerationOrder:
        rows = self._rows(grid)
        if self.one_by_one:
            rows = [[cell] for row in rows for cell in row]
        elif self.initial == "sequential":
            rows = [*([cell] for cell in rows[0]), *rows[1:]]
        groups = tuple(tuple(row) for row in rows)
        return GenerationOrder(grid, groups, self.attention, self.transition, self)

    def _rows(self, grid: Grid) -> list[list[int]]:
        """The cells as ``[N/n, n]``: row i holds the i-th token of every region, or of the i-th block.

        The rows of a dyadic order are its groups.
        """
        check_grid(grid)
        if self.most is not None:
            return dyadic_groups(grid, self.most)
        check_grid(self.regions, "regions")
        for axis, size, count in zip("thw", grid, self.regions, strict=True):
            if size % count:
                divisors = [d for d in range(1, size + 1) if size % d == 0]
                raise ValueError(
                    f"regions {self.regions} do not divide grid {grid}: axis {axis} of {size} cells "
                    f"takes one of {divisors} regions, not {count}"
                )
        rt, rh, rw = self.regions
        cells = torch.arange(math.prod(grid), device="cpu").reshape(grid)
        if self.grouping == "distant":
            pattern = "(rt t) (rh h) (rw w) -> (t h w) (rt rh rw)"
        else:
            pattern = "(t rt) (h rh) (w rw) -> (t h w) (rt rh rw)"
        rows: list[list[int]] = rearrange(cells, pattern, rt=rt, rh=rh, rw=rw).tolist()
        return rows


@lru_cache(maxsize=64)
def _build(spec: OrderSpec, grid: Grid) -> GenerationOrder:
    """The order, kept for the next who asks; an equal one is built anew once 64 others came after it."""
    return spec._build(grid)


def regions(grid: Grid, counts: Grid) -> GenerationOrder:
    """PAR's order: distant regions together, their first tokens one by one (paper, section 3.2).

    >>> regions((1, 4, 4), (1, 2, 2)).groups[:6]  # the corners of the four regions, then their next tokens
    ((0,), (2,), (8,), (10,), (1, 3, 9, 11), (4, 6, 12, 14))
    """
    return OrderSpec(regions=counts).build(grid)


def raster(grid: Grid) -> GenerationOrder:
    """One token a step, t outermost: ordinary autoregression, which is PAR with one region.

    >>> raster((1, 2, 2)).groups
    ((0,), (1,), (2,), (3,))
    """
    return OrderSpec().build(grid)


def adjacent(grid: Grid, counts: Grid) -> GenerationOrder:
    """The paper's ablation: neighbouring tokens together, in as many steps as `regions`.

    >>> adjacent((1, 4, 4), (1, 2, 2)).groups[4:]
    ((2, 3, 6, 7), (8, 9, 12, 13), (10, 11, 14, 15))
    """
    return OrderSpec(regions=counts, grouping="adjacent").build(grid)

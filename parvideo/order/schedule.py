"""Which tokens are generated at which step: the order is plain data, validated when it is made.

A clip's tokens lie on a latent grid (t, h, w). An order cuts the grid's N = t·h·w cells into groups, and
one group is generated in each step. PAR (arXiv 2412.15119, section 3.2) cuts the grid into regions,
generates the first token of every region one by one, and from then on one token of every region per step.

The model sees an order as N *slots*. Slot k predicts the k-th token of the order; what it is fed
(`source`), where that lies on the grid (`coords`), the step it belongs to (`group`) and which slots it sees
(`mask`) all follow from the groups, here and nowhere else. Its tensors lie on the CPU, also inside a
`torch.device` context.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import torch
from einops import rearrange
from torch import Tensor

from parvideo.order.dyadic import dyadic_groups
from parvideo.pixels import TensorLike, as_tensor

Grid = tuple[int, int, int]
Attention = Literal["bidirectional", "causal"]
Transition = Literal["learned", "repeat"]
Grouping = Literal["distant", "adjacent", "dyadic"]
Initial = Literal["sequential", "parallel"]

CLASS_SOURCE = -1
"""`source` of the slot that is fed the class; transition token j is fed where `source` is -2 - j."""


@dataclass(frozen=True)
class GenerationOrder:
    """An order of generation over a latent grid.

    Attributes:
        grid: the latent grid (t, h, w).
        groups: for each step the cells generated in it, as raster indices into the grid. Group sizes never
            shrink: every token must be fed back, and a group has as many slots as tokens.
        attention: whether the slots of one group see each other (``bidirectional``, as in the paper) or
            only the ones before them (``causal``, its ablation).
        transition: what the slots that a group has more than its predecessor are fed: ``learned`` transition
            tokens (the paper), or, with ``repeat``, every slot of a grown group the token one group size
            before it, for PAR's regions the same region's first token (an ablation).
        spec: what it was built from, if it was; two orders are equal whatever they were built from.

    Raises:
        ValueError: if the groups do not partition the grid, shrink, or a switch has an unknown value.
    """

    grid: Grid
    groups: tuple[tuple[int, ...], ...]
    attention: Attention = "bidirectional"
    transition: Transition = "learned"
    spec: "OrderSpec | None" = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_grid(self.grid)
        _check_choice("attention", self.attention, get_args(Attention))
        _check_choice("transition", self.transition, get_args(Transition))
        cells = sorted(cell for group in self.groups for cell in group)
        if cells != list(range(self.num_tokens)):
            raise ValueError(
                f"groups must hold every cell of grid {self.grid} exactly once: expected the indices "
                f"0..{self.num_tokens - 1}, got {len(cells)} of which {len(set(cells))} differ"
            )
        sizes = [len(group) for group in self.groups]
        if 0 in sizes or sizes != sorted(sizes):
            raise ValueError(f"groups must be non-empty and never shrink, got sizes {_runs(sizes)}")
        if self.transition == "repeat" and any(_lacks_tokens(sizes, step) for step in range(len(sizes))):
            raise ValueError(
                "transition='repeat' feeds a grown group as many earlier tokens as it has slots, "
                f"so as many must come before it; got group sizes {_runs(sizes)}"
            )

    @property
    def num_tokens(self) -> int:
        """N, the number of cells, tokens and slots."""
        return math.prod(self.grid)

    @property
    def steps(self) -> int:
        """The number of steps, which is the number of forward calls that generate a clip."""
        return len(self.groups)

    @cached_property
    def step_slots(self) -> tuple[range, ...]:
        """The slots of each step."""
        slots, start = [], 0
        for group in self.groups:
            slots.append(range(start, start + len(group)))
            start += len(group)
        return tuple(slots)

    @cached_property
    def permutation(self) -> Tensor:
        """Raster index of the k-th token of the order, int64 ``[N]``."""
        return torch.tensor([cell for group in self.groups for cell in group], device="cpu")

    @cached_property
    def inverse(self) -> Tensor:
        """Place in the order of each raster index, int64 ``[N]``."""
        return torch.argsort(self.permutation)

    @cached_property
    def group(self) -> Tensor:
        """The step of each slot, int64 ``[N]``."""
        sizes = torch.tensor([len(group) for group in self.groups], device="cpu")
        return torch.repeat_interleave(torch.arange(self.steps, device="cpu"), sizes)

    @cached_property
    def source(self) -> Tensor:
        """What each slot is fed, int64 ``[N]``: an ordered token's index, or a negative code.

        A group's slots are fed the tokens of the group before (the class, `CLASS_SOURCE`, before the first
        one), in order, and then transition tokens (-2, -3, ...) for the slots it has more.
        """
        feed: list[int] = []
        transitions = 0
        before: Sequence[int] = [CLASS_SOURCE]
        for slots in self.step_slots:
            grown = len(slots) - len(before)
            if grown and self.transition == "repeat":
                feed += [slot - len(slots) for slot in slots]
            else:
                feed += [*before, *(-2 - transitions - j for j in range(grown))]
                transitions += grown
            before = slots
        return torch.tensor(feed, device="cpu")

    @property
    def num_transitions(self) -> int:
        """The number of transition tokens to learn (n-1 for n regions; none with ``repeat``)."""
        return int((self.source < CLASS_SOURCE).sum())

    @cached_property
    def target_coords(self) -> Tensor:
        """Grid coordinates (t, h, w) of the token each slot predicts, int64 ``[N, 3]``."""
        return torch.stack(torch.unravel_index(self.permutation, self.grid), dim=-1)

    @cached_property
    def coords(self) -> Tensor:
        """Grid coordinates (t, h, w) of the token each slot is fed, int64 ``[N, 3]``.

        Slots fed the class or a transition token take the place of the token they predict.
        """
        fed = self.target_coords[self.source.clamp(min=0)]
        return torch.where((self.source >= 0)[:, None], fed, self.target_coords)

    @cached_property
    def mask(self) -> Tensor:
        """Which slots each slot sees, bool ``[N, N]`` (query, key): those of its own and earlier groups."""
        if self.attention == "causal":
            visible = torch.ones(self.num_tokens, self.num_tokens, dtype=torch.bool, device="cpu")
            return visible.tril()
        return self.group[:, None] >= self.group[None, :]

    def flatten(self, tokens: TensorLike) -> Tensor:
        """Put grid tokens ``[B, t, h, w]`` into the order, ``[B, N]``.

        Raises:
            ValueError: if the tokens do not lie on this order's grid.
        """
        tokens = as_tensor(tokens, "tokens")
        if tuple(tokens.shape[-3:]) != self.grid:
            raise ValueError(f"tokens lie on grid {tuple(tokens.shape[-3:])}, this order is for {self.grid}")
        return tokens.flatten(-3)[..., self.permutation.to(tokens.device)]

    def unflatten(self, ordered: TensorLike) -> Tensor:
        """Put ordered tokens ``[B, N]`` back on the grid, ``[B, t, h, w]``; the inverse of `flatten`.

        Raises:
            ValueError: if the last axis does not hold N tokens.
        """
        ordered = as_tensor(ordered, "ordered")
        if ordered.shape[-1] != self.num_tokens:
            raise ValueError(f"got {ordered.shape[-1]} ordered tokens, this order has {self.num_tokens}")
        return ordered[..., self.inverse.to(ordered.device)].unflatten(-1, self.grid)

    @property
    def name(self) -> str:
        """The spec's name; for an order without one its number of steps."""
        return f"{self.steps}-steps" if self.spec is None else self.spec.name

    def to_dict(self) -> dict[str, Any]:
        """The order as JSON-able data, group by group; `from_dict` is its inverse."""
        return asdict(replace(self, spec=None))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "GenerationOrder":
        """Rebuild an order from `to_dict`'s data, validated anew."""
        groups = tuple(tuple(group) for group in data["groups"])
        t, h, w = data["grid"]
        return cls((t, h, w), groups, data["attention"], data["transition"])


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
        _check_choice("grouping", self.grouping, get_args(Grouping))
        _check_choice("initial", self.initial, get_args(Initial))
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
        ``initial='parallel'``). Equal specs give the same object, so that its tensors are made once.

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
        _check_grid(grid)
        if self.most is not None:
            return dyadic_groups(grid, self.most)
        _check_grid(self.regions, "regions")
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
    return spec._build(grid)


def regions(grid: Grid, counts: Grid) -> GenerationOrder:
    """PAR's order: distant regions together, their first tokens one by one (paper, section 3.2)."""
    return OrderSpec(regions=counts).build(grid)


def raster(grid: Grid) -> GenerationOrder:
    """One token a step, t outermost: ordinary autoregression, which is PAR with one region."""
    return OrderSpec().build(grid)


def adjacent(grid: Grid, counts: Grid) -> GenerationOrder:
    """The paper's ablation: neighbouring tokens together, in as many steps as `regions`."""
    return OrderSpec(regions=counts, grouping="adjacent").build(grid)


def _check_grid(grid: Grid, name: str = "grid") -> None:
    if len(grid) != 3 or any(size < 1 for size in grid):
        raise ValueError(f"{name} must be three positive sizes (t, h, w), got {grid}")


def _check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}; got {value!r}")


def _lacks_tokens(sizes: Sequence[int], step: int) -> bool:
    grown = sizes[step] > (sizes[step - 1] if step else 1)
    return grown and sum(sizes[:step]) < sizes[step]


def _runs(sizes: Sequence[int]) -> str:
    """A short text for a long list of group sizes."""
    shown = ", ".join(map(str, sizes[:8]))
    return f"[{shown}, ...]" if len(sizes) > 8 else f"[{shown}]"

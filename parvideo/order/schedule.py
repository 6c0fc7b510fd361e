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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from parvideo.pixels import TensorLike, as_tensor

if TYPE_CHECKING:
    from parvideo.order.spec import OrderSpec

Grid = tuple[int, int, int]
Attention = Literal["bidirectional", "causal"]
Transition = Literal["learned", "repeat"]

CLASS_SOURCE = -1
"""`source` of the slot that is fed the class; transition token j is fed where `source` is -2 - j."""


def _kept_tensor(compute: "Callable[[GenerationOrder], Tensor]") -> "cached_property[Tensor]":
    """A tensor computed once; if sampling asks for it first, in inference mode, it serves training, too."""
    return cached_property(torch.inference_mode(False)(compute))


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

    Two steps of one token each, then one of two:

    >>> order = GenerationOrder((1, 2, 2), groups=((0,), (1,), (2, 3)))
    >>> order.steps, order.num_tokens, order.num_transitions
    (3, 4, 1)
    >>> order.source.tolist()  # the class, the tokens before, and a transition token for the slot more
    [-1, 0, 1, -2]
    >>> order.mask.int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    """

    grid: Grid
    groups: tuple[tuple[int, ...], ...]
    attention: Attention = "bidirectional"
    transition: Transition = "learned"
    spec: "OrderSpec | None" = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_grid(self.grid)
        check_choice("attention", self.attention, get_args(Attention))
        check_choice("transition", self.transition, get_args(Transition))
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

    @_kept_tensor
    def permutation(self) -> Tensor:
        """Raster index of the k-th token of the order, int64 ``[N]``."""
        return torch.tensor([cell for group in self.groups for cell in group], device="cpu")

    @_kept_tensor
    def inverse(self) -> Tensor:
        """Place in the order of each raster index, int64 ``[N]``."""
        return torch.argsort(self.permutation)

    @_kept_tensor
    def group(self) -> Tensor:
        """The step of each slot, int64 ``[N]``."""
        sizes = torch.tensor([len(group) for group in self.groups], device="cpu")
        return torch.repeat_interleave(torch.arange(self.steps, device="cpu"), sizes)

    @_kept_tensor
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

    @_kept_tensor
    def target_coords(self) -> Tensor:
        """Grid coordinates (t, h, w) of the token each slot predicts, int64 ``[N, 3]``."""
        return torch.stack(torch.unravel_index(self.permutation, self.grid), dim=-1)

    @_kept_tensor
    def coords(self) -> Tensor:
        """Grid coordinates (t, h, w) of the token each slot is fed, int64 ``[N, 3]``.

        Slots fed the class or a transition token take the place of the token they predict.
        """
        fed = self.target_coords[self.source.clamp(min=0)]
        return torch.where((self.source >= 0)[:, None], fed, self.target_coords)

    @_kept_tensor
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


def check_grid(grid: Grid, name: str = "grid") -> None:
    """Raise ValueError, naming the field, unless these are three positive sizes."""
    if len(grid) != 3 or any(size < 1 for size in grid):
        raise ValueError(f"{name} must be three positive sizes (t, h, w), got {grid}")


def check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError, naming the field, unless its value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}; got {value!r}")


def _lacks_tokens(sizes: Sequence[int], step: int) -> bool:
    grown = sizes[step] > (sizes[step - 1] if step else 1)
    return grown and sum(sizes[:step]) < sizes[step]


def _runs(sizes: Sequence[int]) -> str:
    """A short text for a long list of group sizes."""
    shown = ", ".join(map(str, sizes[:8]))
    return f"[{shown}, ...]" if len(sizes) > 8 else f"[{shown}]"

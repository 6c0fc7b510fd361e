"""3D rotary positions: pairs of a head's dimensions turn by angles of t, h and w."""

from typing import Literal, get_args

import torch
from torch import Tensor

from parvideo.order import GenerationOrder, Grid

SpecialPositions = Literal["target", "zero"]
QueryPositions = Literal["source", "target"]


def axis_dims(head_dim: int, grid: Grid) -> tuple[int, int, int]:
    """How many dimensions of a head turn with t, h and w.

    An image (t = 1) spends half a head on rows and half on columns, as LlamaGen does; a clip spends 3/8 on
    each (rounded down to even) and the rest on time.

    Raises:
        ValueError: if the head is too narrow to share out in pairs.
    """
    unit = 4 if grid[0] == 1 else 2
    if head_dim % unit or head_dim < 8:
        raise ValueError(
            f"head_dim must be a multiple of {unit} and at least 8 for rotary positions, got {head_dim}"
        )
    if grid[0] == 1:
        return 0, head_dim // 2, head_dim // 2
    space = 2 * (3 * head_dim // 16)
    return head_dim - 2 * space, space, space


def rotary_tables(
    order: GenerationOrder,
    head_dim: int,
    base: float = 10000.0,
    special: SpecialPositions = "target",
    query_positions: QueryPositions = "source",
) -> Tensor:
    """Cosine and sine for every slot's query and then its key, float32 ``[2, N, head_dim / 2, 2]``.

    Args:
        order: gives each slot the coordinates of the token it is fed and of the token it predicts.
        head_dim: width of a head.
        base: of the frequencies ``base^(-2i/d)`` along each axis of d dimensions.
        special: for the slots that are fed the class or a transition token: ``target``, the place of the
            token they predict, or ``zero``, cosine = sine = 0, which blanks their queries and keys, as the
            published image weights expect.
        query_positions: what a slot's query turns by: ``source``, the place of the token it is fed, as its
            key does (LLaMA, PAR, the published weights), or ``target``, the place of the token it predicts
            (ARPG, arXiv 2503.10568), which every slot has, so that ``zero`` then blanks keys alone.

    Raises:
        ValueError: if ``special`` or ``query_positions`` is unknown or the head too narrow.
    """
    check_positions(special, query_positions)
    keys = _turns(order.coords, head_dim, order.grid, base)
    if special == "zero":
        keys[order.source < 0] = 0.0
    if query_positions == "source":
        return torch.stack([keys, keys])
    return torch.stack([_turns(order.target_coords, head_dim, order.grid, base), keys])


def check_positions(special: str, query_positions: str) -> None:
    """Raise ValueError if a choice of `rotary_tables` is unknown."""
    if special not in get_args(SpecialPositions):
        raise ValueError(f"special positions must be 'target' or 'zero', got {special!r}")
    if query_positions not in get_args(QueryPositions):
        raise ValueError(f"query_positions must be 'source' or 'target', got {query_positions!r}")


def _turns(coords: Tensor, head_dim: int, grid: Grid, base: float) -> Tensor:
    """Cosine and sine of the angles of places ``[N, 3]``: ``[N, head_dim / 2, 2]``."""
    angles = []
    for axis, dims in enumerate(axis_dims(head_dim, grid)):
        frequencies = base ** -(
            torch.arange(0, dims, 2, dtype=torch.float32, device=coords.device) / max(dims, 1)
        )
        angles.append(coords[:, axis, None].float() * frequencies)
    angle = torch.cat(angles, dim=-1)
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn queries or keys ``[B, heads, S, head_dim]`` by ``table`` ``[S, head_dim / 2, 2]``.

    Neighbouring dimensions form a pair; computed in float32, returned in ``x``'s dtype.
    """
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = table.unbind(-1)
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
    return turned.flatten(-2).to(x.dtype)

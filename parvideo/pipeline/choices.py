"""Orders and engines as they are asked for."""

import operator
from collections.abc import Sequence
from typing import Literal, get_args

import torch

from parvideo.checks import whole_number
from parvideo.order import GenerationOrder

EngineChoice = Literal["auto", "plain", "cpu", "cpu_packed", "cpu_native", "cuda_graphs"]
"""What computes the steps, see `VideoPipeline`."""


def find_order(
    orders: Sequence[GenerationOrder], name: str | None = None, regions: Sequence[int] | None = None
) -> GenerationOrder:
    """One of the orders that a model was trained in, by its name or its regions; the first if by neither.

    Raises:
        ValueError: if both are given, the regions are none, or there is no such order; the message names
            those there are.
    """
    if name is not None and regions is not None:
        raise ValueError(f"order is {name!r} and regions {regions}; give one of the two")
    if name is None and regions is None:
        return orders[0]
    names = ", ".join(order.name for order in orders)
    if regions is None:
        for order in orders:
            if order.name == name:
                return order
        raise ValueError(f"order is {name!r}; this model was trained in {names}")
    try:
        cut = tuple(operator.index(count) for count in regions)
    except TypeError:
        raise ValueError(f"regions is {regions!r}; give three whole numbers (rt, rh, rw)") from None
    for order in orders:
        if order.spec is not None and order.spec.by_regions and order.spec.regions == cut:
            return order
    raise ValueError(f"regions is {cut}; this model was trained in {names}")


def clip_length(window: int, latent_frames: int | None, overlap: int, prefix: int = 0) -> int:
    """The length in latent frames that clips will have, once it is known to be possible.

    Args:
        window: latent frames that the model generates at a time.
        latent_frames: wanted; the window's if not given.
        overlap: latent frames that each window beyond the first takes over.
        prefix: latent frames that are there already.

    Raises:
        ValueError: if no latent frame would be generated, or the overlap does not fit the window.
    """
    goal = window if latent_frames is None else latent_frames
    whole_number(goal, "latent_frames", least=1)
    whole_number(overlap, "overlap", least=1)
    if goal <= prefix:
        raise ValueError(f"latent_frames must be more than the {prefix} that the clips have, got {goal}")
    if goal > window and not 1 <= overlap < window:
        raise ValueError(
            f"overlap must lie in 1..{window - 1} for a window of {window} latent frames, got {overlap}"
        )
    return goal


def check_engine(engine: str, device: torch.device) -> None:
    """Raise ValueError unless there is such an engine and it computes on this device."""
    if engine not in get_args(EngineChoice):
        raise ValueError(f"engine must be one of {', '.join(get_args(EngineChoice))}; got {engine!r}")
    needed = device.type if engine in ("auto", "plain") else engine.partition("_")[0]
    if device.type != needed:
        raise ValueError(
            f"engine={engine!r} computes on a {needed} device, and the transformer lies on {device}; "
            "engine='auto' takes what is right there"
        )

"""`parvideo order`: what an order of generation does, in figures and as a picture."""

from pathlib import Path
from typing import Literal

from parvideo.checks import parse_triple


def order(
    grid: str = "5,16,16",
    regions: str | None = None,
    grouping: Literal["distant", "adjacent", "dyadic"] = "distant",
    initial: Literal["sequential", "parallel"] = "sequential",
    attention: Literal["bidirectional", "causal"] = "bidirectional",
    transition: Literal["learned", "repeat"] = "learned",
    most: int | None = None,
    one_by_one: bool = False,
    out: Path | None = None,
) -> None:
    """Print an order's steps, groups and distances; draw it as a picture or an animation.

    Args:
        grid: latent grid t,h,w: 17 frames of 128 x 128 pixels are 5,16,16.
        regions: regions along t,h,w; their product is the number of tokens generated together; 1,2,2 if not
            given.
        grouping: together are tokens of distant regions, or adjacent ones (an ablation), or, frame by frame,
            those that double a lattice (dyadic).
        initial: the regions' first tokens come one by one, or in parallel (an ablation).
        attention: inside a group bidirectional, or causal (an ablation).
        transition: learned transition tokens, or the regions' first tokens fed again (an ablation).
        most: the largest group of a dyadic order.
        one_by_one: the same sequence of tokens, each in a step of its own.
        out: file to write, .png for a picture, .gif for an animation.
    """
    from parvideo.order import OrderSpec
    from parvideo.order.figure import describe, write_order

    if regions is None:
        regions = "1,1,1" if grouping == "dyadic" else "1,2,2"
    elif grouping == "dyadic":
        raise ValueError(f"regions is {regions}, but a dyadic order has no regions: give --most alone")
    cut = parse_triple("regions", regions)
    spec = OrderSpec(cut, grouping, initial, attention, transition, most, one_by_one)
    built = spec.build(parse_triple("grid", grid))
    print("\n".join(describe(built)))
    if out is not None:
        write_order(out, built)
        print(f"written         {out}")

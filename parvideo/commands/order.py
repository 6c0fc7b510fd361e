"""`parvideo order`: what an order of generation does, in figures and as a picture."""

from pathlib import Path
from typing import Literal

from parvideo.commands.numbers import parse_triple


def order(
    grid: str = "5,16,16",
    regions: str = "1,2,2",
    grouping: Literal["distant", "adjacent"] = "distant",
    initial: Literal["sequential", "parallel"] = "sequential",
    attention: Literal["bidirectional", "causal"] = "bidirectional",
    transition: Literal["learned", "repeat"] = "learned",
    out: Path | None = None,
) -> None:
    """Print an order's steps, groups and distances; draw it as a picture or an animation.

    Args:
        grid: latent grid t,h,w: 17 frames of 128 x 128 pixels are 5,16,16.
        regions: regions along t,h,w; their product is the number of tokens generated together.
        grouping: together are tokens of distant regions, or adjacent ones (an ablation).
        initial: the regions' first tokens come one by one, or in parallel (an ablation).
        attention: inside a group bidirectional, or causal (an ablation).
        transition: learned transition tokens, or the regions' first tokens fed again (an ablation).
        out: file to write, .png for a picture, .gif for an animation.
    """
    from parvideo.order import OrderSpec
    from parvideo.order_view import describe, write_order

    spec = OrderSpec(parse_triple("regions", regions), grouping, initial, attention, transition)
    built = spec.build(parse_triple("grid", grid))
    print("\n".join(describe(built)))
    if out is not None:
        write_order(out, built)
        print(f"written         {out}")

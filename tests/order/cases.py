"""Grids, regions and orders to test with."""

from hypothesis import strategies as st

from parvideo.order import GenerationOrder, OrderSpec

Triple = tuple[int, int, int]


@st.composite
def grids_and_regions(draw: st.DrawFn) -> tuple[Triple, Triple]:
    counts = [draw(st.integers(1, 3)) for _ in range(3)]
    sizes = [count * draw(st.integers(1, 3)) for count in counts]
    return (sizes[0], sizes[1], sizes[2]), (counts[0], counts[1], counts[2])


@st.composite
def orders(draw: st.DrawFn) -> GenerationOrder:
    grid, counts = draw(grids_and_regions())
    if draw(st.booleans()):
        return draw(dyadic_orders())
    parallel = draw(st.booleans())
    return OrderSpec(
        regions=counts,
        grouping=draw(st.sampled_from(["distant", "adjacent"])),
        initial="parallel" if parallel else "sequential",
        attention=draw(st.sampled_from(["bidirectional", "causal"])),
        transition="learned" if parallel else draw(st.sampled_from(["learned", "repeat"])),
    ).build(grid)


@st.composite
def dyadic_orders(draw: st.DrawFn) -> GenerationOrder:
    sizes = [draw(st.integers(1, top)) for top in (3, 9, 9)]
    return OrderSpec(
        grouping="dyadic",
        attention=draw(st.sampled_from(["bidirectional", "causal"])),
        transition=draw(st.sampled_from(["learned", "repeat"])),
        most=draw(st.integers(1, 90)),
        one_by_one=draw(st.booleans()),
    ).build((sizes[0], sizes[1], sizes[2]))

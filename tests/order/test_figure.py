"""An order's figures and pictures: they show the order as it is."""

from pathlib import Path

import pytest
from PIL import Image

from parvideo.order import GenerationOrder, adjacent, raster, regions
from parvideo.order import figure as order_view


def test_an_order_of_many_phases_is_cut_short() -> None:
    cells = iter(range(45))
    groups = tuple(tuple(next(cells) for _ in range(size)) for size in range(1, 10))
    lines = "\n".join(order_view.describe(GenerationOrder((1, 5, 9), groups)))
    assert "1 step of 7 tokens, then 2 more phases" in lines


def test_distances_of_a_raster_order_are_none() -> None:
    assert order_view.group_distances(raster((2, 3, 3))) is None


def test_distances_of_regions_are_the_regions_sizes() -> None:
    distances = order_view.group_distances(regions((2, 8, 12), (1, 2, 3)))
    assert distances == order_view.GroupDistances(nearest=4, typical=4.0, farthest=8)
    near = order_view.group_distances(adjacent((2, 8, 12), (1, 2, 3)))
    assert near == order_view.GroupDistances(nearest=1, typical=1.0, farthest=2)


def test_the_picture_darkens_with_the_steps(tmp_path: Path) -> None:
    built = regions((2, 4, 4), (1, 2, 2))
    target = tmp_path / "order.png"
    order_view.write_order(target, built)
    image = Image.open(target).convert("RGB")
    layout = order_view._Layout.of(built)
    steps = {index: step for step, group in enumerate(built.groups) for index in group}
    for index, step in steps.items():
        assert image.getpixel(layout.box(index)[:2]) == order_view.ramp(step / (built.steps - 1))
    shades = [sum(order_view.ramp(step / (built.steps - 1))) for step in range(built.steps)]
    assert shades == sorted(set(shades), reverse=True)


def test_the_animation_fills_the_grid_in_order(tmp_path: Path) -> None:
    built = regions((2, 4, 4), (1, 2, 2))
    target = tmp_path / "order.gif"
    order_view.write_order(target, built)
    animation = Image.open(target)
    layout = order_view._Layout.of(built)
    assert animation.n_frames == built.steps + 1
    filled_before: set[int] = set()
    for done in range(built.steps + 1):
        animation.seek(done)
        frame = animation.convert("RGB")
        empty = {index for index in range(32) if frame.getpixel(layout.box(index)[:2]) == order_view._EMPTY}
        filled = set(range(32)) - empty
        assert filled - filled_before == (set(built.groups[done - 1]) if done else set())
        filled_before = filled


def test_a_long_animation_keeps_its_frames_few_and_its_ends() -> None:
    frames = list(order_view.animate(raster((1, 20, 25))))
    assert len(frames) <= order_view.MAX_FRAMES + 2
    assert frames[0].tobytes() != frames[-1].tobytes()


@pytest.mark.parametrize("grid", [(1, 1, 1), (1, 64, 64), (7, 2, 40)])
def test_cells_of_any_grid_lie_inside_the_picture_and_apart(grid: tuple[int, int, int]) -> None:
    built = raster(grid)
    image = order_view.draw_steps(built)
    layout = order_view._Layout.of(built)
    boxes = [layout.box(index) for index in range(built.num_tokens)]
    assert len({box[:2] for box in boxes}) == built.num_tokens
    assert all(
        0 <= left <= right < image.width and 0 <= top <= low < image.height for left, top, right, low in boxes
    )

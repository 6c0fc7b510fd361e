"""`parvideo order`: the figures it prints, and that its pictures show the order."""

import re
from pathlib import Path

import pytest
from PIL import Image

from parvideo.cli.order import order as order_command
from parvideo.order import GenerationOrder, adjacent, raster, regions
from parvideo.order import figure as order_view


@pytest.mark.parametrize(("cut", "steps"), [("1,1,1", 1280), ("1,2,2", 323), ("1,4,4", 95), ("5,2,2", 83)])
def test_it_prints_the_steps_of_the_papers_grid(
    capsys: pytest.CaptureFixture[str], cut: str, steps: int
) -> None:
    order_command(grid="5,16,16", regions=cut)
    assert re.search(rf"^steps +{steps} ", capsys.readouterr().out, re.MULTILINE)


def test_it_prints_phases_transitions_and_distances(capsys: pytest.CaptureFixture[str]) -> None:
    order_command(grid="(5, 16, 16)", regions="[1,2,2]")
    printed = capsys.readouterr().out
    assert "4 steps of 1 token, then 319 steps of 4 tokens" in printed
    assert "3 learned tokens" in printed
    assert "at least 8 and at most 8 cells apart" in printed


def test_the_ablations_are_options(capsys: pytest.CaptureFixture[str]) -> None:
    order_command("2,4,4", "1,2,2", grouping="adjacent", initial="parallel", attention="causal")
    printed = capsys.readouterr().out
    assert "8 steps of 4 tokens" in printed
    assert "causal inside a group" in printed
    assert "at least 1 and at most 1 cells apart" in printed


@pytest.mark.parametrize(("most", "steps"), [(64, 26), (32, 45)])
def test_it_prints_and_draws_dyadic_orders(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, most: int, steps: int
) -> None:
    order_command(grouping="dyadic", most=most, out=tmp_path / "order.gif")
    printed = capsys.readouterr().out
    assert re.search(rf"^steps +{steps} ", printed, re.MULTILINE)
    assert "2 steps of 1 token, then 1 step of 2 tokens, then 1 step of 4 tokens" in printed
    assert f"steps of {most} tokens" in printed
    assert Image.open(tmp_path / "order.gif").n_frames == steps + 1


def test_it_prints_an_order_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    order_command(regions="1,4,4", one_by_one=True)
    assert "1280 steps of 1 token" in capsys.readouterr().out


def test_a_dyadic_order_takes_no_regions() -> None:
    with pytest.raises(ValueError, match="regions is 1,1,1, but a dyadic order has no regions"):
        order_command(regions="1,1,1", grouping="dyadic", most=4)


def test_an_order_of_many_phases_is_cut_short() -> None:
    cells = iter(range(45))
    groups = tuple(tuple(next(cells) for _ in range(size)) for size in range(1, 10))
    lines = "\n".join(order_view.describe(GenerationOrder((1, 5, 9), groups)))
    assert "1 step of 7 tokens, then 2 more phases" in lines


@pytest.mark.parametrize("text", ["5,16", "5x16x16", "5,16,16,1", "", "a,b,c"])
def test_a_malformed_grid_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match=r"grid is .*such as 1,4,4"):
        order_command(grid=text)


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png .* or \.gif"):
        order_command(grid="1,2,2", regions="1,1,1", out=tmp_path / "order.webp")
    assert list(tmp_path.iterdir()) == []


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

"""`parvideo order`: the figures it prints, and that its pictures show the order."""

import re
from pathlib import Path

import pytest
from PIL import Image

from parvideo.cli.order import order as order_command


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


@pytest.mark.parametrize("text", ["5,16", "5x16x16", "5,16,16,1", "", "a,b,c"])
def test_a_malformed_grid_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match=r"grid is .*such as 1,4,4"):
        order_command(grid=text)


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png .* or \.gif"):
        order_command(grid="1,2,2", regions="1,1,1", out=tmp_path / "order.webp")
    assert list(tmp_path.iterdir()) == []

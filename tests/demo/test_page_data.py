"""What a page shows is checked when it is put together."""

import dataclasses

import numpy as np
import pytest

from parvideo.demo.page_data import ClassClips, ClipColumn, Generator, PageData, StageState
from tests.demo.cases import demo_page, moving_square


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 0.0}, "fps is 0.0"),
        ({"columns": [ClipColumn("Real", ""), ClipColumn("Real", "")]}, "must differ"),
        ({"classes": [ClassClips("a", {"Fake": moving_square(0)})]}, "no such column"),
        ({"classes": [ClassClips("a", {"Real": moving_square(0)[0]})]}, "uint8 "),
        ({"classes": [ClassClips("a", {"Real": moving_square(0) / 255})]}, "float64"),
    ],
)
def test_wrong_clips_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(demo_page().clips, **change)


@pytest.mark.parametrize("group", [np.zeros((4, 4), int), np.array([[[0, 2]]])])
def test_wrong_orders_are_refused(group: np.ndarray) -> None:
    with pytest.raises(ValueError, match="group of generator '1x'"):
        Generator("1x", group, 1, 1.0, 1.0, None, 0.5)


def test_work_runs_until_its_last_stage_is_done() -> None:
    done, next_one = StageState("a", "done", 1.0), StageState("b", "to come")
    whole = demo_page()
    assert not whole.running
    assert not dataclasses.replace(whole, stages=[done, done]).running
    assert dataclasses.replace(whole, stages=[done, next_one]).running
    assert PageData("t", "s", whole.clips).results == ()

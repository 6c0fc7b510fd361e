"""Charts: ticks span the values, averaging keeps the mean, and curves stay inside."""

import re

import numpy as np
import pytest

from parvideo.demo import chart as page_chart
from tests.demo.cases import demo_page


@pytest.mark.parametrize(
    "bounds", [(0.0, 1.0), (1.37, 5.9), (-3.0, -3.0), (0.0, 0.0), (6, 60000), (1e-7, 3e-7)]
)
def test_ticks_span_the_values(bounds: tuple[float, float]) -> None:
    ticks = page_chart.nice_ticks(*bounds)
    assert ticks[0] <= bounds[0] <= bounds[1] <= ticks[-1]
    assert 2 <= len(ticks) <= 9
    assert np.ptp(np.diff(ticks)) < 1e-6 * (ticks[-1] - ticks[0])


def test_averaging_keeps_the_mean_and_the_number_of_points_down() -> None:
    points = [(step, float(step % 7)) for step in range(1000)]
    few = page_chart.averaged(points, 50)
    assert len(few) == 50
    assert np.isclose(np.mean([value for _, value in few]), np.mean([value for _, value in points]))
    assert page_chart.averaged(points[:9], 50) == points[:9]


def test_curves_stay_inside_the_axes() -> None:
    drawn = page_chart.draw_chart(demo_page().charts[0], 0)
    places = np.array(
        [place.split(",") for line in re.findall(r'points="(.*?)"', drawn) for place in line.split()], float
    )
    assert len(places) > 100
    assert places.min(axis=0)[0] >= 56
    assert (places.max(axis=0) <= [560 - 28, 300 - 44]).all()


@pytest.mark.parametrize(
    ("points", "message"),
    [([], "no points"), ([(1, float("nan"))], "nan at step 1"), ([(2, 1.0), (1, 1.0)], "must rise")],
)
def test_wrong_curves_are_refused(points: list[tuple[int, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        page_chart.Curve("loss", points)

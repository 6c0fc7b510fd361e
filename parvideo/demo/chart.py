"""A chart: curves of values over training steps, drawn as inline SVG that takes its colours from the page.

Drawn here and not with matplotlib, which the package does not need (the tools do): `make demo` must make its
page from an ordinary installation, and the page's style sheet gives the curves their colours, light or dark.
"""

import html
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

FAINT_POINTS, BOLD_POINTS = 400, 60
"""A curve of more than BOLD_POINTS values is drawn twice: faint, and bold as the means of equal runs."""

_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 28, 16, 44


@dataclass(frozen=True)
class Curve:
    """A named list of (step, value), steps rising.

    Raises:
        ValueError: if it is empty, a value is not finite, or the steps do not rise.
    """

    name: str
    points: Sequence[tuple[int, float]]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError(f"curve {self.name!r} has no points; leave it out instead")
        for step, value in self.points:
            if not math.isfinite(value):
                raise ValueError(f"curve {self.name!r} is {value} at step {step}; values must be finite")
        steps = [step for step, _ in self.points]
        if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
            raise ValueError(f"the steps of curve {self.name!r} must rise")


@dataclass(frozen=True)
class Chart:
    """Curves on one pair of axes.

    Attributes:
        title: heading of the chart.
        value_name: label of the vertical axis, with its unit, such as ``cross-entropy (nats)``.
        curves: at most six.
    """

    title: str
    value_name: str
    curves: Sequence[Curve]

    def __post_init__(self) -> None:
        if not 1 <= len(self.curves) <= 6:
            raise ValueError(f"chart {self.title!r} has {len(self.curves)} curves; it can show 1 to 6")


def draw_chart(chart: Chart, index: int) -> str:
    """The chart as an HTML figure; ``index`` tells its ids from those of the page's other charts."""
    steps = [step for curve in chart.curves for step, _ in curve.points]
    faint = [averaged(curve.points, FAINT_POINTS) for curve in chart.curves]
    values = [value for points in faint for _, value in points]
    x_low, x_high = min(steps), max(max(steps), min(steps) + 1)
    x_ticks = [tick for tick in nice_ticks(x_low, x_high) if x_low <= tick <= x_high]
    y_ticks = nice_ticks(min(values), max(values))

    def x(step: float) -> float:
        return _LEFT + (step - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (y_ticks[-1] - value) / (y_ticks[-1] - y_ticks[0]) * (_HEIGHT - _TOP - _BOTTOM)

    def path(points: Sequence[tuple[float, float]], kind: str, colour: int) -> str:
        if len(points) == 1:
            return (
                f'<circle class="dot c{colour}" cx="{x(points[0][0]):.1f}" cy="{y(points[0][1]):.1f}" r="3"/>'
            )
        place = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        return f'<polyline class="{kind} c{colour}" points="{place}"/>'

    right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    marks = [
        f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:,g}</text>'
        for tick in y_ticks
    ] + [
        f'<text class="tick" x="{x(tick):.1f}" y="{floor + 18}" text-anchor="middle">{tick:,g}</text>'
        for tick in x_ticks
    ]
    for colour, (curve, points) in enumerate(zip(chart.curves, faint, strict=True)):
        if len(curve.points) > BOLD_POINTS:
            marks.append(path(points, "faint", colour))
        marks.append(path(averaged(curve.points, BOLD_POINTS), "bold", colour))
    key = "".join(
        f'<li><span class="swatch c{colour}"></span>{html.escape(curve.name)} '
        f'<span class="last">ends at {curve.points[-1][1]:.4g}</span></li>'
        for colour, curve in enumerate(chart.curves)
    )
    described = "; ".join(
        f"{curve.name} from {curve.points[0][1]:.4g} to {curve.points[-1][1]:.4g}" for curve in chart.curves
    )
    title = html.escape(f"{chart.title}: {described}")
    centre, middle = (_LEFT + right) / 2, (_TOP + floor) / 2
    return (
        f'<figure class="chart"><figcaption>{html.escape(chart.title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="chart{index}">'
        f'<title id="chart{index}">{title}</title>{"".join(marks)}'
        f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>'
        f'<text class="label" x="{centre}" y="{_HEIGHT - 6}" text-anchor="middle">training step</text>'
        f'<text class="label" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">'
        f'{html.escape(chart.value_name)}</text></svg><ul class="key">{key}</ul></figure>'
    )


def averaged(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most ``most`` points: mean step and value of runs of equal length (the last may be shorter)."""
    run = math.ceil(len(points) / most)
    runs = [points[start : start + run] for start in range(0, len(points), run)]
    return [
        (math.fsum(s for s, _ in part) / len(part), math.fsum(v for _, v in part) / len(part))
        for part in runs
    ]


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that span ``low`` to ``high``."""
    if high <= low:
        low, high = low - (abs(low) or 1) / 2, low + (abs(low) or 1) / 2
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    apart = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / apart + 1e-9), math.ceil(high / apart - 1e-9)
    return [round(number * apart, 12) for number in range(first, last + 1)]

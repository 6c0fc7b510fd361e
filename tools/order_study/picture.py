"""The study's picture: quality against steps, a panel for each budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from tools.order_study.config import Measured
from tools.plotting import COLOURS, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

LINES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Point:
    """A row in the picture.

    Attributes:
        name: of the row.
        family: points of one family are joined; empty for a point alone.
        budget: training steps, whose panel it is in; None where the generator's config says them.
        steps: that generate a clip.
        quality: mean FVD over the seeds.
        error: its standard error; 0 of one seed.
    """

    name: str
    family: str
    budget: int | None
    steps: int
    quality: float
    error: float


def points(measured: Sequence[Measured], families: Mapping[str, str], scale: float) -> list[Point]:
    """A point for each row and budget that was measured with this guidance scale.

    Args:
        measured: of all rows.
        families: by the rows' names.
        scale: the guidance scale.
    """
    found = []
    chosen = [one for one in measured if one.guidance == scale]
    for name, budget in dict.fromkeys((one.row, one.budget) for one in chosen):
        row = [one for one in chosen if (one.row, one.budget) == (name, budget)]
        values = [one.fvd for one in row]
        error = float(stats.sem(values)) if len(values) > 1 else 0.0
        found.append(Point(name, families[name], budget, row[0].steps, float(np.mean(values)), error))
    return found


def draw_points(points: Sequence[Point], scale: float) -> "Picture":
    """FVD against the steps that generate a clip (both logarithmic), families joined by lines.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
    """
    budgets = sorted({point.budget for point in points}, key=lambda budget: budget or 0)
    figure = new_figure(3.2 + 4.2 * len(budgets), 4.8)
    from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, StrMethodFormatter

    panels = figure.subplots(1, len(budgets), sharey=True, squeeze=False)[0]
    families = [name for name in dict.fromkeys(point.family for point in points) if name]
    style = {
        name: {
            "color": COLOURS[place % len(COLOURS)],
            "linestyle": LINES[place // len(COLOURS) % len(LINES)],
        }
        for place, name in enumerate(families)
    }
    for place, (axes, budget) in enumerate(zip(panels, budgets, strict=True)):
        here = [point for point in points if point.budget == budget]
        plain_axes(axes, "Quality against steps" if budget is None else f"{budget:,} training steps")
        axes.set(xscale="log", yscale="log", xlabel="steps that generate a clip")
        if place == 0:
            axes.set_ylabel(f"FVD at guidance {scale:g} (lower is better), ± standard error")
        for family in families:
            row = sorted((point for point in here if point.family == family), key=lambda one: one.steps)
            _draw(axes, row, label=family, marker="o", **style[family])
        alone = [point for point in here if not point.family]
        _draw(axes, alone, marker="s", linestyle="none", color="#555")
        axes.xaxis.set_major_locator(FixedLocator(sorted({point.steps for point in here})))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.16)
    if families:
        figure.legend(*_legend(panels), frameon=False, loc="outside right upper", fontsize=8)
    figure.draw_without_rendering()  # settles where points lie
    for axes, budget in zip(panels, budgets, strict=True):
        _name_points(axes, [point for point in points if point.budget == budget and not point.family])
    return figure


def _draw(axes: Any, row: Sequence[Point], **style: Any) -> None:
    if row:
        values = [[one.steps for one in row], [one.quality for one in row], [one.error for one in row]]
        axes.errorbar(*values, markersize=4, linewidth=1.2, **style)


def _legend(panels: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Every family once, whichever panels it is in."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _name_points(axes: Any, points: Sequence[Point]) -> None:
    """Write names to the right of points, moved down where they would cover another."""
    placed: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: -point.quality):
        x, y = axes.transData.transform((point.steps, point.quality))
        beside = [above for left, above in placed if abs(left - x) < 110]
        level = min([y, *(above - 13 for above in beside)])
        placed.append((x, level))
        axes.annotate(
            point.name,
            (point.steps, point.quality),
            (12, (level - y) * 72 / axes.figure.dpi),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "#999", "linewidth": 0.6},
        )

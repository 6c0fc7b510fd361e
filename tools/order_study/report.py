"""The study's report: a table with errors, the differences claimed, and quality against time as a picture."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from parvideo.files import atomic_path, read_json, write_json
from tools.order_study.config import Measured, StudyConfig, Timed
from tools.order_study.job import result_path, times_stage
from tools.plotting import COLOURS, new_figure, plain_axes, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture


@dataclass(frozen=True)
class Figure:
    """A figure of the tables.

    Attributes:
        name: its heading.
        value: of what was measured.
        digits: shown after the point.
        relative: whether differences are stated in percent of the row that is subtracted.
    """

    name: str
    value: Callable[[Measured], float]
    digits: int = 1
    relative: bool = False


FIGURES = (
    Figure("held-out loss, nats a token", lambda one: one.val_loss, 3),
    Figure("FVD", lambda one: one.fvd, 2, relative=True),
    Figure("class read, %", lambda one: 100 * one.class_accuracy),
    Figure("an object broken, %", lambda one: 100 * one.broken),
    Figure("any violation, %", lambda one: 100 * one.violations),
    Figure("violations a clip", lambda one: one.violations_per_clip, 2),
    Figure("motion error", lambda one: one.motion_error, 2),
)


@dataclass(frozen=True)
class Difference:
    """A difference of two rows, paired by seed.

    Attributes:
        a: name of the row.
        b: name of the row that is subtracted.
        guidance: scale of both.
        figure: name of the figure.
        digits: to show.
        unit: ``%`` where it is in percent of b, else empty.
        mean: of a - b over the seeds.
        low, high: its 95% interval by Student's t over the seeds; infinite with one seed.
    """

    a: str
    b: str
    guidance: float
    figure: str
    digits: int
    unit: str
    mean: float
    low: float
    high: float

    @property
    def distinct(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def difference(a: Sequence[Measured], b: Sequence[Measured], figure: Figure) -> Difference:
    """How far row ``a`` lies above row ``b``, the seeds in the same order.

    Args:
        a: a row's measurements with one guidance scale.
        b: another's.
        figure: which.

    Raises:
        ValueError: if the seeds differ.
    """
    if [one.seed for one in a] != [one.seed for one in b] or not a:
        raise ValueError(f"{a[:1]} and {b[:1]} are of other seeds; pairs need the same")
    pairs = np.array([(figure.value(x), figure.value(y)) for x, y in zip(a, b, strict=True)])
    each = 100 * (pairs[:, 0] / pairs[:, 1] - 1) if figure.relative else pairs[:, 0] - pairs[:, 1]
    half = math.inf
    if len(each) > 1:
        half = float(stats.t.ppf(0.975, len(each) - 1) * stats.sem(each))
    mean = float(each.mean())
    digits, unit = (1, "%") if figure.relative else (figure.digits, "")
    return Difference(
        a[0].row, b[0].row, a[0].guidance, figure.name, digits, unit, mean, mean - half, mean + half
    )


def write_report(out: Path, study: StudyConfig) -> None:
    """Write report.md, results.json and quality-against-time.svg of a study whose jobs are done."""
    measured = [
        Measured(**row)
        for arm in study.arms
        for seed in study.seeds
        for row in read_json(result_path(out, arm.name, seed))
    ]
    references = [Measured(**row) for row in read_json(out / "references.json")]
    times = {row["row"]: Timed(**row) for row in read_json(out / "state.json")[times_stage(study)]["result"]}
    differences = claimed(study, measured)
    write_json(
        out / "results.json",
        {
            "study": read_json(out / "study.json"),
            "references": [asdict(row) for row in references],
            "measured": [asdict(row) for row in measured],
            "times": [asdict(row) for row in times.values()],
            "differences": [{**asdict(one), "distinct": one.distinct} for one in _finite(differences)],
        },
    )
    parts = [_conditions(study, out)]
    for scale in study.guidance:
        rows = [_of(measured, name, scale) for name in study.rows]
        parts.append(f"### Guidance scale {scale:g}\n\n{_table(rows, references, times)}")
    parts.append(f"### Differences, paired by seed\n\n{_differences(differences)}")
    with atomic_path(out / "report.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    save_figure(draw_points(points(measured, times)), out / "quality-against-time.svg")


def claimed(study: StudyConfig, measured: Sequence[Measured]) -> list[Difference]:
    """The differences that the study asks for, with each guidance scale."""
    return [
        difference(_of(measured, a, scale), _of(measured, b, scale), figure)
        for a, b in study.compare
        for scale in study.guidance
        for figure in FIGURES
    ]


def _of(measured: Sequence[Measured], row: str, scale: float) -> list[Measured]:
    chosen = [one for one in measured if one.row == row and one.guidance == scale]
    return sorted(chosen, key=lambda one: one.seed)


def _finite(differences: Sequence[Difference]) -> list[Difference]:
    """Those with an error; of one seed there is none, and JSON has no infinity."""
    return [one for one in differences if math.isfinite(one.low)]


def _conditions(study: StudyConfig, out: Path) -> str:
    seconds = read_json(out / "state.json")
    spent = sum(stage["seconds"] for stage in seconds.values())
    settings = study.data
    return (
        f"{settings.num_classes} classes, {study.frames} frames of {study.size} x {study.size} pixels; "
        f"{len(study.seeds)} seeds; {study.clips} clips a row, seed and scale, {study.read_clips} of them "
        f"read. Means over seeds, ± standard error. FVD is by the study's own feature network "
        f"({study.reference_clips} reference clips) and compares with nothing published. Seconds a clip: "
        f"{study.clock} time of {study.threads} thread, batch {study.timed_clips}, the highest guidance "
        f"scale. The whole study took {spent / 60:.0f} minutes, {study.workers} jobs at a time."
    )


def _table(
    rows: Sequence[Sequence[Measured]], references: Sequence[Measured], times: dict[str, Timed]
) -> str:
    lines = [
        "| | steps | "
        + " | ".join(figure.name for figure in FIGURES)
        + " | s a clip | speed-up | with decoder |",
        "|---" * (len(FIGURES) + 5) + "|",
    ]
    for one in references:
        figures = " | ".join(f"{figure.value(one):.{figure.digits}f}" for figure in FIGURES[1:])
        lines.append(f"| {one.row} | | | {figures} | | | |")
    slowest = times[rows[0][0].row]
    for row in rows:
        figures = " | ".join(_mean([figure.value(one) for one in row], figure.digits) for figure in FIGURES)
        time = times[row[0].row]
        whole = time.transformer + time.decoder
        lines.append(
            f"| {row[0].row} | {row[0].steps} | {figures} "
            f"| {time.transformer:.3f} | {slowest.transformer / time.transformer:.1f}x "
            f"| {(slowest.transformer + slowest.decoder) / whole:.1f}x |"
        )
    return "\n".join(lines)


def _differences(differences: Sequence[Difference]) -> str:
    lines = ["| a - b | guidance | figure | mean | 95% interval | excludes 0 |", "|---|---|---|---|---|---|"]
    shown = {figure.name for figure in FIGURES[:4]}  # all are in results.json
    for one in (one for one in differences if one.figure in shown):
        lines.append(
            f"| {one.a} - {one.b} | {one.guidance:g} | {one.figure} | {one.mean:+.{one.digits}f}{one.unit} "
            f"| {one.low:+.{one.digits}f} .. {one.high:+.{one.digits}f} | {'yes' if one.distinct else 'no'} |"
        )
    return "\n".join(lines)


def _standard_error(values: Sequence[float]) -> float:
    return float(stats.sem(values)) if len(values) > 1 else 0.0


def _mean(values: Sequence[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {_standard_error(values):.{digits}f}"


@dataclass(frozen=True)
class Point:
    """A row in the picture: its name, guidance scale, seconds a clip, quality and quality's error."""

    name: str
    guidance: float
    seconds: float
    quality: float
    error: float


def points(measured: Sequence[Measured], times: dict[str, Timed]) -> list[Point]:
    """A point for each row and guidance scale that was measured: its mean FVD over the seeds."""
    found = []
    for name, scale in dict.fromkeys((one.row, one.guidance) for one in measured):
        values = [one.fvd for one in _of(measured, name, scale)]
        found.append(
            Point(name, scale, times[name].transformer, float(np.mean(values)), _standard_error(values))
        )
    return found


def draw_points(points: Sequence[Point]) -> "Picture":
    """FVD against seconds a clip (both logarithmic), a colour for each guidance scale.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
    """
    figure = new_figure(8.5, 4.8)
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes = figure.subplots()
    plain_axes(axes, "Quality against time")
    axes.set(xscale="log", yscale="log", xlabel="seconds to generate a clip's tokens")
    axes.set_ylabel("FVD (lower is better), ± standard error")
    scales = sorted({point.guidance for point in points})
    for place, scale in enumerate(scales):
        rows = [point for point in points if point.guidance == scale]
        axes.errorbar(
            [row.seconds for row in rows],
            [row.quality for row in rows],
            [row.error for row in rows],
            fmt="o",
            markersize=5,
            color=COLOURS[place % len(COLOURS)],
            label=f"guidance {scale:g}",
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, loc="upper right")
    axes.margins(x=0.12)
    figure.draw_without_rendering()  # settles where points lie
    _name_points(axes, [point for point in points if point.guidance == scales[0]])
    return figure


def _name_points(axes: Any, points: Sequence[Point]) -> None:
    """Write names to the right of points, moved down where they would cover another."""
    placed: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: -point.quality):
        x, y = axes.transData.transform((point.seconds, point.quality))
        beside = [above for left, above in placed if abs(left - x) < 110]
        level = min([y, *(above - 13 for above in beside)])
        placed.append((x, level))
        axes.annotate(
            point.name,
            (point.seconds, point.quality),
            (12, (level - y) * 72 / axes.figure.dpi),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "#999", "linewidth": 0.6},
        )

"""The study's report: a table with errors, the differences claimed, and quality against time as a picture."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

import numpy as np
from scipy import stats

from parvideo.files import atomic_path, read_json, write_json
from tools.order_study.config import Measured, StudyConfig, Timed
from tools.order_study.job import result_path, times_stage


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
    points = []
    for name in study.rows:
        for scale in study.guidance:
            values = [one.fvd for one in _of(measured, name, scale)]
            points.append(
                Point(name, scale, times[name].transformer, float(np.mean(values)), _standard_error(values))
            )
    with atomic_path(out / "quality-against-time.svg") as temporary:
        temporary.write_text(draw_points(points), encoding="utf-8")


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


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 440, 64, 130, 44, 52
_COLOURS = ("#1f5fbf", "#c2471c", "#2c8a4b", "#7a3fa0")


def draw_points(points: Sequence[Point]) -> str:
    """FVD against seconds a clip (both logarithmic) as SVG, a colour for each guidance scale."""
    seconds = [point.seconds for point in points]
    ends = [value for point in points for value in (point.quality - point.error, point.quality + point.error)]
    x = _axis(min(seconds), max(seconds), _LEFT + 14, _WIDTH - _RIGHT)
    y = _axis(max(min(ends), 1e-9), max(ends), _HEIGHT - _BOTTOM - 10, _TOP + 10)
    floor = _HEIGHT - _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{_LEFT}" y="22" font-size="15" font-weight="bold">Quality against time</text>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 12}" text-anchor="middle">'
        "seconds to generate a clip's tokens</text>",
        f'<text transform="translate(16 {(_TOP + floor) / 2}) rotate(-90)" text-anchor="middle">'
        "FVD (lower is better), ± standard error</text>",
    ]
    for value in _ticks(min(seconds), max(seconds)):
        parts.append(f'<path d="M{x(value)} {_TOP}V{floor}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{x(value)}" y="{floor + 18}" text-anchor="middle">{value:g}</text>')
    for value in _ticks(max(min(ends), 1e-9), max(ends)):
        parts.append(f'<path d="M{_LEFT} {y(value)}H{_WIDTH - _RIGHT + 10}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>')
    scales = sorted({point.guidance for point in points})
    for place, scale in enumerate(scales):
        colour = _COLOURS[place % len(_COLOURS)]
        parts.append(f'<g fill="{colour}" stroke="{colour}">')
        parts.append(
            f'<text x="{_LEFT + 190 + 110 * place}" y="22" stroke="none">● guidance {scale:g}</text>'
        )
        for point in (point for point in points if point.guidance == scale):
            across, middle = x(point.seconds), y(point.quality)
            low, high = (y(max(point.quality + sign * point.error, 1e-9)) for sign in (-1, 1))
            parts.append(f'<path d="M{across} {low}V{high}" stroke-width="1.5"/>')
            parts.append(f'<circle cx="{across}" cy="{middle}" r="4"/>')
        parts.append("</g>")
    named = [point for point in points if point.guidance == scales[0]]
    parts += _labels([(x(point.seconds), y(point.quality), point.name) for point in named])
    return "\n".join([*parts, "</svg>", ""])


def _labels(points: Sequence[tuple[float, float, str]]) -> list[str]:
    """Names to the right of points (x, y, name), moved down where they would cover another."""
    parts: list[str] = []
    placed: list[tuple[float, float]] = []
    for x, y, name in sorted(points, key=lambda point: point[1]):
        beside = [below for left, below in placed if abs(left - x) < 110]
        level = max([y, *(below + 13 for below in beside)])
        placed.append((x, level))
        parts.append(f'<path d="M{x + 5} {y}L{x + 16} {level}" stroke="#999"/>')
        parts.append(f'<text x="{x + 18}" y="{level + 4}">{escape(name)}</text>')
    return parts


def _axis(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    width = math.log(high / low) or 1.0
    return lambda value: round(start + math.log(value / low) / width * (stop - start), 1)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two, at least one in a factor of about two."""
    found = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        found += [digit * 10.0**power for digit in (1, 2, 5)]
    return [value for value in found if low <= value <= high]

"""The study's report: what was found, its goals, tables with errors, and a picture."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from parvideo.files import AnyPath, atomic_path, write_json
from tools.order_study.config import Measured, StudyConfig, Timed
from tools.order_study.differences import FIGURES, LOSS, Difference, Verdict, claimed, of_row, verdicts
from tools.order_study.picture import draw_points, points
from tools.order_study.results import Results, gather
from tools.plotting import save_figure

PICTURE = "quality-against-steps.svg"


def write_report(out: Path, study: StudyConfig) -> None:
    """Write report.md, results.json and the picture of the jobs that are done.

    Raises:
        FileNotFoundError: if none is.
    """
    results = gather(out, study)
    differences = claimed(study.compare, study.guidance, results.measured)
    goals = verdicts(study.goals, study.guidance, results.measured)
    found = {
        "differences": [_with_words(one) for one in differences if math.isfinite(one.low)],
        "goals": [
            {**asdict(one.goal), "verdict": one.verdict, "difference": _with_words(one.difference)}
            for one in goals
            if math.isfinite(one.difference.low)
        ],
    }
    write_json(out / "results.json", results.to_dict() | found)
    with atomic_path(out / "report.md") as temporary:
        temporary.write_text(report_text(results) + "\n", encoding="utf-8")
    draw(results, out / PICTURE)


def report_text(results: Results) -> str:
    """The report as Markdown."""
    study, measured = results.study, results.measured
    differences = claimed(study.compare, study.guidance, measured)
    goals = verdicts(study.goals, study.guidance, measured)
    parts = [_conditions(results)]
    pooled = [one for one in differences if _is_pooled(one, differences)]
    parts.append(f"### What was found\n\n{_differences(pooled, 4)}")
    if goals:
        parts.append(f"### Goals, at the longest budget\n\n{_goals(goals)}")
    single = [one for one in differences if not _is_pooled(one, differences) and one.figure == LOSS.name]
    if single:
        parts.append(f"### Held-out loss, budget by budget\n\n{_differences(single, 4)}")
    for budget in sorted({one.budget for one in measured}, key=lambda one: one or 0):
        for scale in study.guidance:
            chosen = [one for one in measured if one.budget == budget]
            rows = [row for name in study.rows if (row := of_row(chosen, name, scale))]
            steps = "" if budget is None else f"{budget:,} training steps, "
            table = _table(rows, results.references, results.times)
            parts.append(f"### All figures: {steps}guidance scale {scale:g}\n\n{table}")
    return "\n\n".join(parts)


def draw(results: Results, path: AnyPath) -> None:
    """Draw the picture, at the highest guidance scale."""
    scale = max(results.study.guidance)
    chosen = points(results.measured, results.study.families, scale)
    save_figure(draw_points(chosen, scale), Path(path))


def _is_pooled(one: Difference, differences: Sequence[Difference]) -> bool:
    """Whether it holds all budgets that were measured of its pair."""
    pair = (one.a, one.b, one.guidance, one.figure)
    return len(one.budgets) == max(
        len(other.budgets)
        for other in differences
        if (other.a, other.b, other.guidance, other.figure) == pair
    )


def _with_words(one: Difference) -> dict[str, Any]:
    return {**asdict(one), "distinct": one.distinct, "found": one.found}


def _conditions(results: Results) -> str:
    study = results.study
    spent = "" if results.minutes is None else f"So far it took {results.minutes:.0f} minutes, "
    spent += f"{study.workers} jobs at a time." if spent else ""
    done = len({(one.row, one.budget, one.seed) for one in results.measured})
    planned = sum(len(job.arm.rows) for job in study.jobs)
    return (
        f"{done} of {planned} rows, of {len(study.seeds)} seeds, are measured. "
        f"{study.data.num_classes} classes, {study.frames} frames of {study.size} x {study.size} pixels; "
        f"{study.clips} clips a row, seed and scale, {study.read_clips} of them "
        f"read. Means over seeds, ± standard error. FVD is by the study's own feature network "
        f"({study.reference_clips} reference clips) and compares with nothing published. Seconds a clip: "
        f"{study.clock} time of {study.threads} thread, batch {study.timed_clips}, the highest guidance "
        f"scale. {spent}"
    ).rstrip()


def _table(
    rows: Sequence[Sequence[Measured]], references: Sequence[Measured], times: dict[str, Timed]
) -> str:
    lines = [
        "| | seeds | steps | "
        + " | ".join(figure.name for figure in FIGURES)
        + (" | s a clip | speed-up | with decoder |" if times else " |"),
        "|---" * (len(FIGURES) + (6 if times else 3)) + "|",
    ]
    for one in references:
        figures = " | ".join(f"{figure.value(one):.{figure.digits}f}" for figure in FIGURES[1:])
        lines.append(f"| {one.row} | | | | {figures} |" + (" | | |" if times else ""))
    for row in rows:
        figures = " | ".join(_mean([figure.value(one) for one in row], figure.digits) for figure in FIGURES)
        line = f"| {row[0].row} | {len(row)} | {row[0].steps} | {figures} |"
        if times:
            time, slowest = times[row[0].row], times[rows[0][0].row]
            whole = time.transformer + time.decoder
            line += (
                f" {time.transformer:.3f} | {slowest.transformer / time.transformer:.1f}x "
                f"| {(slowest.transformer + slowest.decoder) / whole:.1f}x |"
            )
        lines.append(line)
    return "\n".join(lines)


def _differences(differences: Sequence[Difference], figures: int) -> str:
    lines = [
        "| a - b | guidance | figure | training steps | mean | 95% interval | a is |",
        "|---" * 7 + "|",
    ]
    shown = {figure.name for figure in FIGURES[:figures]}  # all are in results.json
    for one in (one for one in differences if one.figure in shown):
        budgets = ", ".join("" if budget is None else f"{budget:,}" for budget in one.budgets)
        guidance = "" if one.figure == LOSS.name else f"{one.guidance:g}"
        lines.append(
            f"| {one.a} - {one.b} | {guidance} | {one.figure} | {budgets} "
            f"| {one.mean:+.{one.digits}f}{one.unit} | {one.interval} | {one.found} |"
        )
    return "\n".join(lines)


def _goals(goals: Sequence[Verdict]) -> str:
    lines = ["| a - b | figure | at most | mean | 95% interval | goal |", "|---" * 6 + "|"]
    for one in goals:
        found = one.difference
        scale = "" if found.figure == LOSS.name else f", guidance {found.guidance:g}"
        lines.append(
            f"| {found.a} - {found.b} | {found.figure}{scale} | {one.goal.at_most:+g}{found.unit} "
            f"| {found.mean:+.{found.digits}f}{found.unit} | {found.interval} | {one.verdict} |"
        )
    return "\n".join(lines)


def _mean(values: Sequence[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {float(stats.sem(values)):.{digits}f}"

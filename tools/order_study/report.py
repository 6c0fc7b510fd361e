"""The study's report: what was found, its goals, tables with errors, and a picture."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from parvideo.files import atomic_path, read_json, write_json
from tools.order_study.config import Measured, StudyConfig, Timed
from tools.order_study.differences import FIGURES, LOSS, Difference, Verdict, claimed, of_row, verdicts
from tools.order_study.job import result_path, times_stage
from tools.order_study.picture import draw_points, points
from tools.plotting import save_figure

PICTURE = "quality-against-steps.svg"


def write_report(out: Path, study: StudyConfig) -> None:
    """Write report.md, results.json and the picture of the jobs that are done.

    Raises:
        FileNotFoundError: if none is.
    """
    done = [job for job in study.jobs if result_path(out, job).exists()]
    if not done:
        raise FileNotFoundError(f"{out}/results has no result of this study yet; none of its jobs is done")
    measured = [Measured(**row) for job in done for row in read_json(result_path(out, job))]
    references = [Measured(**row) for row in read_json(out / "references.json")]
    state = read_json(out / "state.json")
    timed = state.get(times_stage(study), {}).get("result") or []
    times = {row["row"]: Timed(**row) for row in timed}
    differences = claimed(study.compare, study.guidance, measured)
    goals = verdicts(study.goals, study.guidance, measured)
    write_json(
        out / "results.json",
        {
            "study": read_json(out / "study.json"),
            "jobs": {"done": len(done), "all": len(study.jobs)},
            "references": [asdict(row) for row in references],
            "measured": [asdict(row) for row in measured],
            "times": [asdict(row) for row in times.values()],
            "differences": [_with_words(one) for one in differences if math.isfinite(one.low)],
            "goals": [
                {**asdict(one.goal), "verdict": one.verdict, "difference": _with_words(one.difference)}
                for one in goals
                if math.isfinite(one.difference.low)
            ],
        },
    )
    spent = sum(stage["seconds"] for stage in state.values())
    parts = [_conditions(study, len(done), spent)]
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
            parts.append(
                f"### All figures: {steps}guidance scale {scale:g}\n\n{_table(rows, references, times)}"
            )
    with atomic_path(out / "report.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    scale = max(study.guidance)
    save_figure(draw_points(points(measured, study.families, scale), scale), out / PICTURE)


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


def _conditions(study: StudyConfig, done: int, seconds: float) -> str:
    settings = study.data
    return (
        f"{done} of {len(study.jobs)} jobs are done. "
        f"{settings.num_classes} classes, {study.frames} frames of {study.size} x {study.size} pixels; "
        f"{len(study.seeds)} seeds; {study.clips} clips a row, seed and scale, {study.read_clips} of them "
        f"read. Means over seeds, ± standard error. FVD is by the study's own feature network "
        f"({study.reference_clips} reference clips) and compares with nothing published. Seconds a clip: "
        f"{study.clock} time of {study.threads} thread, batch {study.timed_clips}, the highest guidance "
        f"scale. So far it took {seconds / 60:.0f} minutes, {study.workers} jobs at a time."
    )


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

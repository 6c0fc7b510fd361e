"""The chain's picture: FVD against the steps of a clip, with errors; each model a curve."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from tools.plotting import COLOURS, new_figure, plain_axes, save_figure
from tools.ucf101_six.report import spread


def draw_quality_against_steps(results: dict[str, Any], path: Path) -> None:
    """Draw the results of `tools.ucf101_six.report.collect` as an SVG or PNG.

    At the left FVD against the training split, with the errors of the report's table, and what
    reconstructions score; at the right how often the probe reads the class.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
    """
    figure = new_figure(8.6, 3.6)
    quality, classes = figure.subplots(1, 2)
    names = sorted({row["model"] for row in results["rows"]})
    for name, colour in zip(names, cycle(COLOURS), strict=False):
        rows = sorted((row for row in results["rows"] if row["model"] == name), key=lambda row: row["steps"])
        steps = [row["steps"] for row in rows]
        means = [float(np.mean(row["fvd"])) for row in rows]
        errors = [spread(row["fvd"], row["error"]) for row in rows]
        quality.errorbar(steps, means, errors, color=colour, marker="o", capsize=3, label=name)
        read = [float(np.mean(row["accuracy"])) for row in rows]
        classes.plot(steps, read, color=colour, marker="o", label=name)
        for row, mean, error in zip(rows, means, errors, strict=True):
            above = (row["steps"], mean + error)
            quality.annotate(row["order"], above, (0, 5), textcoords="offset points", ha="center")
    if results["reconstructions"] is not None:
        _level(quality, results["reconstructions"]["fvd"], "reconstructions")
    _level(classes, results["chance"], "chance")
    _level(classes, results["real_accuracy"], "real clips")
    plain_axes(quality, "FVD, training split")
    plain_axes(classes, "class read by the probe")
    quality.set_ylim(0, 1.15 * quality.get_ylim()[1])
    classes.set_ylim(0, 1.08)
    ticks = sorted({row["steps"] for row in results["rows"]})
    for axes in (quality, classes):
        axes.set_xscale("log")
        axes.set_xlim(ticks[0] / 1.6, ticks[-1] * 1.6)
        axes.set_xlabel("steps of a clip")
        axes.set_xticks(ticks, map(str, ticks))
        axes.minorticks_off()
    if len(names) > 1:
        quality.legend(frameon=False)
    save_figure(figure, path)


def _level(axes: Any, value: float, text: str) -> None:
    """A dashed line at a value, named at its right end."""
    axes.axhline(value, color="#888888", linestyle="--", linewidth=1)
    place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(text, (1, value), (-4, 4), **place, ha="right", color="#666666")

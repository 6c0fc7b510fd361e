"""The chain's picture: FVD against the steps of a clip, with errors; each model a curve."""

from pathlib import Path
from typing import Any

import numpy as np

from tools.plotting import COLOURS, new_figure, plain_axes, save_figure


def draw_quality_against_steps(results: dict[str, Any], path: Path) -> None:
    """Draw the results of `tools.ucf101_six.report.collect` as an SVG or PNG.

    Above, FVD against the training split, mean and standard deviation over seeds; beside it, how often the
    probe reads the class. A line shows what reconstructions score: no generator of these tokens gets below.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
    """
    figure = new_figure(8.6, 3.6)
    quality, classes = figure.subplots(1, 2)
    names = sorted({row["model"] for row in results["rows"]})
    for name, colour in zip(names, COLOURS, strict=False):
        rows = sorted((row for row in results["rows"] if row["model"] == name), key=lambda row: row["steps"])
        steps = [row["steps"] for row in rows]
        means = [float(np.mean(row["fvd"])) for row in rows]
        errors = [float(np.std(row["fvd"], ddof=1)) if len(row["fvd"]) > 1 else 0.0 for row in rows]
        quality.errorbar(steps, means, errors, color=colour, marker="o", capsize=3, label=name)
        read = [float(np.mean(row["accuracy"])) for row in rows]
        classes.plot(steps, read, color=colour, marker="o", label=name)
        for row, mean in zip(rows, means, strict=True):
            quality.annotate(
                row["order"], (row["steps"], mean), (0, 8), textcoords="offset points", ha="center"
            )
    rebuilt = results["reconstructions"]
    if rebuilt is not None:
        quality.axhline(rebuilt["fvd"], color="#888888", linestyle="--", linewidth=1)
        quality.annotate(
            "reconstructions",
            (1, rebuilt["fvd"]),
            (-4, 4),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            color="#666666",
        )
    classes.axhline(results["chance"], color="#888888", linestyle="--", linewidth=1)
    classes.axhline(results["real_accuracy"], color="#888888", linewidth=1)
    for value, text in ((results["chance"], "chance"), (results["real_accuracy"], "real clips")):
        classes.annotate(
            text,
            (1, value),
            (-4, 4),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            color="#666666",
        )
    plain_axes(quality, "FVD, training split")
    plain_axes(classes, "class read by the probe")
    quality.set_ylim(0, 1.15 * quality.get_ylim()[1])
    classes.set_ylim(0, 1.05)
    for axes in (quality, classes):
        axes.set_xscale("log")
        axes.set_xlim(17, 1900)
        axes.set_xlabel("steps of a clip of 1,280 tokens")
        axes.set_xticks([26, 95, 323, 1280], ["26", "95", "323", "1280"])
        axes.minorticks_off()
    if len(names) > 1:
        quality.legend(frameon=False)
    save_figure(figure, path)

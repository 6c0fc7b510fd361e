"""Curves of figures over training steps as one picture: a small panel a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.plotting import COLOURS, new_figure, plain_axes, save_figure

COLUMNS = 2


@dataclass(frozen=True)
class Panel:
    """One pair of axes: its title, and curves of (step, value) by name, none of them empty."""

    title: str
    curves: dict[str, Sequence[tuple[int, float]]]


def draw_panels(path: Path, panels: Sequence[Panel], marks: Sequence[tuple[int, str]] = ()) -> None:
    """Write panels that share their horizontal axis; ``marks`` are steps to mark, with a word each.

    Args:
        path: file to write; its suffix says of what kind: .svg, .png.
        panels: at least one.
        marks: (step, word).

    Raises:
        ValueError: if there is no panel, or a panel has no values.
        ModuleNotFoundError: if matplotlib is not installed.
    """
    if not panels or any(not any(panel.curves.values()) for panel in panels):
        raise ValueError("there must be a panel, and values in each")
    rows = -(-len(panels) // COLUMNS)
    figure = new_figure(8.5, 2.4 * rows)
    grid = figure.subplots(rows, COLUMNS, sharex=True, squeeze=False).flatten()
    for axes, panel in zip(grid, panels, strict=False):
        plain_axes(axes, panel.title)
        for (name, points), colour in zip(panel.curves.items(), COLOURS, strict=False):
            axes.plot(*zip(*points, strict=True), color=colour, label=name)
        for step, word in marks:
            axes.axvline(step, color="#999", linestyle=":")
            axes.text(step, 0.02, f" {word}", color="#777", fontsize=8, transform=axes.get_xaxis_transform())
        if len(panel.curves) > 1:
            axes.legend(frameon=False, fontsize=8)
    for axes in grid[-COLUMNS:]:
        axes.set_xlabel("training step")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    save_figure(figure, path)

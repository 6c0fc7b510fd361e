"""What the tools' pictures share: matplotlib, imported where a picture is drawn, and how it is saved."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvideo.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#1f5fbf", "#c2471c", "#2c8a4b", "#7a3fa0")
"""Of the curves of a picture, in turn."""


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of ``width`` by ``height`` inches, which no window shows.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed; the message says how to install it.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "drawing needs matplotlib, which is not installed; pip install 'parvideo[dev]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def plain_axes(axes: Any, title: str = "") -> None:
    """Axes with a title at the left, faint grid lines, and no frame at the top and the right."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.grid(color="#e5e5e5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure whole or not at all, as the file's suffix says; the same figure gives the same SVG."""
    from matplotlib import rc_context

    kind = path.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {}
    with (
        rc_context({"svg.hashsalt": "parvideo", "svg.fonttype": "none"}),
        atomic_path(path) as temporary,
    ):
        figure.savefig(temporary, format=kind, metadata=metadata, dpi=120)

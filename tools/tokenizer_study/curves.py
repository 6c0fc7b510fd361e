"""Curves of figures over training steps as a standalone SVG file: one small panel a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from parvideo.files import atomic_path

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 30, 30
COLUMNS = 2
COLOURS = ("#1f5fbf", "#c2471c", "#2c8a4b", "#7a3fa0")


@dataclass(frozen=True)
class Panel:
    """One pair of axes: its title, and curves of (step, value) by name, none of them empty."""

    title: str
    curves: dict[str, Sequence[tuple[int, float]]]


def draw_panels(path: Path, panels: Sequence[Panel], marks: Sequence[tuple[int, str]] = ()) -> None:
    """Write panels that share their horizontal axis; ``marks`` are steps to mark, with a word each.

    Raises:
        ValueError: if there is no panel, or a panel has no values.
    """
    if not panels or any(not any(panel.curves.values()) for panel in panels):
        raise ValueError("there must be a panel, and values in each")
    steps = [step for panel in panels for points in panel.curves.values() for step, _ in points]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    rows = -(-len(panels) // COLUMNS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{COLUMNS * WIDTH}" height="{rows * HEIGHT}"'
        ' font-family="sans-serif" font-size="11" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        left, top = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({left},{top})">')
        parts += _panel(panel, first, last, marks)
        parts.append("</g>")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _panel(panel: Panel, first: int, last: int, marks: Sequence[tuple[int, str]]) -> list[str]:
    values = [value for points in panel.curves.values() for _, value in points]
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.5
    low, high = low - margin, high + margin

    def x(step: float) -> float:
        return round(LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    floor, parts = (
        HEIGHT - BOTTOM,
        [f'<text x="{LEFT}" y="16" font-weight="bold">{escape(panel.title)}</text>'],
    )
    for part in range(4):
        value = low + (high - low) * part / 3
        parts.append(f'<path d="M{LEFT} {y(value)}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y(value) + 4}" text-anchor="end">{value:.3g}</text>')
    for part in range(3):
        step = first + (last - first) * part / 2
        parts.append(f'<text x="{x(step)}" y="{floor + 14}" text-anchor="middle">{step:.0f}</text>')
    for step, word in marks:
        parts.append(f'<path d="M{x(step)} {TOP}V{floor}" stroke="#999" stroke-dasharray="3 3"/>')
        parts.append(f'<text x="{x(step) + 3}" y="{floor - 4}" fill="#777">{escape(word)}</text>')
    place = LEFT + 7 * len(panel.title) + 14
    for (name, points), colour in zip(panel.curves.items(), COLOURS, strict=False):
        line = " ".join(f"{x(step)},{y(value)}" for step, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if len(panel.curves) > 1:
            parts.append(f'<text x="{place}" y="16" fill="{colour}">{escape(name)}</text>')
            place += 7 * len(name) + 12
    return parts

"""A page: one self-contained HTML file that shows what was trained, generated and measured.

It opens from disk, asks the network for nothing, and holds its clips, curves and orders inside itself.
"""

import base64
import html
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parvideo.demo.chart import Chart, draw_chart
from parvideo.files import AnyPath, write_text

LOSSLESS_SIDE = 64
"""Clips up to this many pixels a side are embedded lossless; larger ones as WebP of quality 90."""


@dataclass(frozen=True)
class ClipColumn:
    """One kind of clip, shown for every class: real, reconstructed, generated.

    Attributes:
        name: heading, unique on the page.
        description: what a reader must know to read the column, in a phrase.
    """

    name: str
    description: str


@dataclass(frozen=True)
class ClassClips:
    """The clips of one class.

    Attributes:
        name: the class's name, any text.
        clips: column name -> uint8 [n, T, H, W, 3]; a column that is absent shows as empty.
    """

    name: str
    clips: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Generator:
    """One transformer's generation: its order and what was measured. Rows of the 1x against 4x table.

    Attributes:
        name: such as ``1x`` or ``4x``.
        group: int [t, h, w], the step in which each token is generated, counted from 0.
        clips: size of the batch that ``seconds`` were measured on.
        seconds: wall-clock seconds for that batch.
        fvd: Fréchet video distance of generated against real clips.
        fvd_error: its error (one standard deviation), or None where it was not estimated.
        class_accuracy: share of generated clips that the classifier gives the class asked for, in [0, 1].
    """

    name: str
    group: NDArray[np.integer]
    clips: int
    seconds: float
    fvd: float
    fvd_error: float | None
    class_accuracy: float

    def __post_init__(self) -> None:
        if self.group.ndim != 3:
            raise ValueError(f"group of generator {self.name!r} is {self.group.shape}; it must be [t, h, w]")
        if not np.array_equal(np.unique(self.group), np.arange(self.group.max() + 1)):
            raise ValueError(f"group of generator {self.name!r} must use every step from 0 to its largest")

    @property
    def steps(self) -> int:
        """Forward calls of the transformer for one batch."""
        return int(self.group.max()) + 1


@dataclass(frozen=True)
class Result:
    """One measured quantity beside what it should be compared with; all four are shown as they stand."""

    measure: str
    value: str
    baseline: str
    meaning: str


@dataclass(frozen=True)
class Command:
    """A shell command to go on with: what it is for, and the line itself."""

    purpose: str
    line: str


@dataclass(frozen=True)
class PageData:
    """Everything the page shows; every text is plain text and is escaped.

    Attributes:
        title: the page's heading.
        summary: what was run, in a few sentences.
        highlights: (figure, what it is) pairs for the page's head, such as ("51", "steps instead of 192").
        conditions: (name, value) pairs: data, seed, machine, minutes, versions.
        columns: the kinds of clips, in the order shown.
        classes: the classes with their clips.
        fps: frames per second at which the clips play at speed 1.
        generators: the transformers compared; their orders are animated together, one step a tick.
        comparison_note: how accuracy and error in the comparison were measured, chance level included.
        fvd_notice: which feature network the FVD used, and what it may be compared with.
        charts: loss curves.
        results: further measurements.
        commands: what to type next.
    """

    title: str
    summary: str
    highlights: Sequence[tuple[str, str]]
    conditions: Sequence[tuple[str, str]]
    columns: Sequence[ClipColumn]
    classes: Sequence[ClassClips]
    fps: float
    generators: Sequence[Generator]
    comparison_note: str
    fvd_notice: str
    charts: Sequence[Chart]
    results: Sequence[Result]
    commands: Sequence[Command]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps is {self.fps}; it must be a positive number of frames per second")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"columns are {names}; their names must differ")
        for entry in self.classes:
            for column, clips in entry.clips.items():
                where = f"clips of class {entry.name!r}, column {column!r}"
                if column not in names:
                    raise ValueError(f"{where}: no such column; there are {names}")
                if clips.dtype != np.uint8 or clips.ndim != 5 or clips.shape[-1] != 3 or 0 in clips.shape:
                    raise ValueError(f"{where} are {clips.dtype} {clips.shape}; need uint8 [n, T, H, W, 3]")


def write_page(path: AnyPath, data: PageData) -> None:
    """Write the page as one HTML file, atomically.

    Raises:
        OSError: if ``path`` cannot be written.
    """
    write_text(path, render_page(data))


def render_page(data: PageData) -> str:
    """The page's HTML. What it holds does not depend on anything but ``data``."""
    parts = {
        "title": html.escape(data.title),
        "summary": html.escape(data.summary),
        "highlights": _highlights(data.highlights),
        "conditions": _conditions(data.conditions),
        "clips": _clips(data),
        "fps": f"{data.fps:g}",
        "lossy": _lossy_note(data),
        "orders": _orders(data.generators),
        "comparison": _comparison(data.generators),
        "comparison_note": html.escape(data.comparison_note),
        "fvd_notice": html.escape(data.fvd_notice),
        "charts": "".join(draw_chart(chart, index) for index, chart in enumerate(data.charts)),
        "results": _results(data.results),
        "commands": _commands(data.commands),
        "data": _embedded(data),
    }
    template = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    # One pass, so that a class called "{{title}}" stays what it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match.group(1)], template)


def encode_clip(clip: NDArray[np.uint8]) -> dict[str, str | int]:
    """A clip uint8 [T, H, W, 3] as one WebP sprite sheet, frames in rows of ``across``, as a data URL."""
    frames, height, width, _ = clip.shape
    across = math.ceil(math.sqrt(frames * height / width))
    down = math.ceil(frames / across)
    sheet = np.zeros((down * across, height, width, 3), dtype=np.uint8)
    sheet[:frames] = clip
    sheet = sheet.reshape(down, across, height, width, 3).transpose(0, 2, 1, 3, 4)
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(sheet).reshape(down * height, across * width, 3))
    image.save(buffer, "WEBP", lossless=max(height, width) <= LOSSLESS_SIDE, quality=90, method=4)
    url = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"frames": frames, "height": height, "width": width, "across": across, "sheet": url}


def _embedded(data: PageData) -> str:
    clips = [
        encode_clip(clip)
        for entry in data.classes
        for column in data.columns
        for clip in entry.clips.get(column.name, ())
    ]
    orders = [
        {
            "name": generator.name,
            "grid": list(generator.group.shape),
            "steps": generator.steps,
            "group": generator.group.reshape(-1).tolist(),
        }
        for generator in data.generators
    ]
    text = json.dumps({"fps": data.fps, "clips": clips, "orders": orders}, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _highlights(pairs: Sequence[tuple[str, str]]) -> str:
    tiles = "".join(
        f"<li><strong>{html.escape(figure)}</strong><span>{html.escape(label)}</span></li>"
        for figure, label in pairs
    )
    return f'<ul class="highlights">{tiles}</ul>' if tiles else ""


def _conditions(pairs: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in pairs
    )
    return f'<dl class="conditions">{rows}</dl>' if rows else ""


def _clips(data: PageData) -> str:
    head = "".join(
        f'<div class="column" role="columnheader"><strong>{html.escape(column.name)}</strong>'
        f"<span>{html.escape(column.description)}</span></div>"
        for column in data.columns
    )
    rows = "".join(_class_row(entry, data.columns) for entry in data.classes)
    return (
        f'<div class="clips" role="table" aria-label="Clips by class" style="--columns: {len(data.columns)}">'
        f'<div class="row head" role="row"><div class="name" role="columnheader">Class</div>{head}</div>'
        f"{rows}</div>"
    )


def _class_row(entry: ClassClips, columns: Sequence[ClipColumn]) -> str:
    name = html.escape(entry.name)
    cells = []
    for column in columns:
        title = html.escape(column.name)
        clips = entry.clips.get(column.name, ())
        canvases = "".join(
            f'<canvas class="clip" width="{clip.shape[2]}" height="{clip.shape[1]}" role="img" '
            f'aria-label="{title} clip {number} of {len(clips)}, class {name}"></canvas>'
            for number, clip in enumerate(clips, start=1)
        )
        body = canvases or '<span class="none">none</span>'
        style = f"--across: {min(max(len(clips), 1), 3)}"
        cells.append(f'<div class="cell" role="cell" data-column="{title}" style="{style}">{body}</div>')
    return (
        f'<div class="row" role="row"><div class="name" role="rowheader">{name}</div>{"".join(cells)}</div>'
    )


def _lossy_note(data: PageData) -> str:
    shapes = [clips.shape for entry in data.classes for clips in entry.clips.values()]
    if all(max(shape[2:4]) <= LOSSLESS_SIDE for shape in shapes):
        return "Pixels are shown exactly as they are, enlarged."
    return (
        "Clips larger than 64 pixels are compressed (WebP, quality 90) for this page; measurements are not."
    )


def _orders(generators: Sequence[Generator]) -> str:
    figures = []
    for generator in generators:
        t, h, w = generator.group.shape
        name = html.escape(generator.name)
        figures.append(
            f'<figure class="order"><figcaption><strong>{name}</strong> '
            f'<span class="count"><span class="step">0</span> of {generator.steps} steps, '
            f'<span class="tokens">0</span> of {t * h * w} tokens</span></figcaption>'
            f'<canvas role="img" aria-label="Order {name}: {generator.steps} steps generate '
            f'{t * h * w} tokens in {t} latent frames of {h} by {w}"></canvas>'
            f'<div class="progress" aria-hidden="true"><span></span></div></figure>'
        )
    # Orders stand beside each other where their tokens can be 12 pixels wide, else below each other.
    least = max((12 * g.group.shape[0] * (g.group.shape[2] + 1) + 36 for g in generators), default=0)
    return f'<div class="orders" style="--least: {least}px">{"".join(figures)}</div>'


def _comparison(generators: Sequence[Generator]) -> str:
    rows = []
    for generator in generators:
        error = "" if generator.fvd_error is None else f" ± {generator.fvd_error:,.1f}"
        cells = [
            f"{generator.steps:,}",
            f"{generator.seconds:,.2f} s for {generator.clips} clips",
            f"{generator.fvd:,.1f}{error}",
            f"{generator.class_accuracy:.0%}",
        ]
        rows.append([generator.name, *cells])
    return _table(["Order", "Steps", "Time to generate", "FVD (lower is better)", "Class accuracy"], rows)


def _results(results: Sequence[Result]) -> str:
    rows = [[result.measure, result.value, result.baseline, result.meaning] for result in results]
    return _table(["Measure", "Result", "Compare with", "What it says"], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    body = []
    for first, *rest in rows:
        cells = "".join(
            f'<td data-label="{html.escape(name)}">{html.escape(cell)}</td>'
            for name, cell in zip(header[1:], rest, strict=True)
        )
        body.append(f'<tr><th scope="row">{html.escape(first)}</th>{cells}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _commands(commands: Sequence[Command]) -> str:
    return "".join(
        f'<div class="command"><p>{html.escape(command.purpose)}</p><div class="line">'
        f"<pre><code>{html.escape(command.line)}</code></pre>"
        f'<button type="button" class="copy" aria-label="Copy command: {html.escape(command.purpose)}">Copy'
        f"</button></div></div>"
        for command in commands
    )

"""A page: one self-contained HTML file that shows what was trained, generated and measured.

It opens from disk, asks the network for nothing, and holds its clips, curves and orders inside itself.
"""

import base64
import html
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parvideo.demo.chart import draw_chart
from parvideo.demo.page_data import (
    ClassClips,
    ClipColumn,
    ClipTable,
    Command,
    Generator,
    PageData,
    Result,
    StageState,
)
from parvideo.files import AnyPath, write_text

RELOAD_SECONDS = 15
"""A page whose work is not done loads itself anew so often."""

LOSSLESS_SIDE = 64
"""Clips up to this many pixels a side are embedded lossless; larger ones as WebP of quality 90."""


def write_page(path: AnyPath, data: PageData) -> None:
    """Write the page as one HTML file, atomically.

    Raises:
        OSError: if ``path`` cannot be written.
    """
    write_text(path, render_page(data))


def render_page(data: PageData) -> str:
    """The page's HTML. What it holds does not depend on anything but ``data``."""
    showcase = data.showcase
    parts = {
        "title": html.escape(data.title),
        "reload": f'<meta http-equiv="refresh" content="{RELOAD_SECONDS}">' if data.running else "",
        "summary": html.escape(data.summary),
        "stages": _stages(data.stages) if data.running else "",
        "highlights": _highlights(data.highlights),
        "conditions": _conditions(data.conditions),
        "clips": _clips(data.clips),
        "lossy": _lossy_note(data.clips),
        "showcase": "" if showcase is None else html.escape(showcase.about),
        "showcase_clips": "" if showcase is None or showcase.clips is None else _clips(showcase.clips),
        "showcase_results": "" if showcase is None or not showcase.results else _results(showcase.results),
        "orders": _orders(data.generators) if data.generators else "",
        "comparison": _comparison(data.generators) if data.generators else "",
        "comparison_note": html.escape(data.comparison_note),
        "fvd_notice": html.escape(data.fvd_notice),
        "charts": "".join(draw_chart(chart, index) for index, chart in enumerate(data.charts)),
        "results": _results(data.results) if data.results else "",
        "commands": _commands(data.commands),
        "data": _embedded(data),
    }
    template = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    while "<!--if" in template:  # what is empty is left out, and may stand in what is not
        template = re.sub(
            r"<!--if (\w+)-->\n(.*?)<!--end \1-->\n",
            lambda match: match.group(2) if parts[match.group(1)] else "",
            template,
            flags=re.DOTALL,
        )
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
    tables = {"clips": data.clips}
    if data.showcase is not None and data.showcase.clips is not None:
        tables["showcase"] = data.showcase.clips
    orders = [
        {
            "name": generator.name,
            "grid": list(generator.group.shape),
            "steps": generator.steps,
            "group": generator.group.reshape(-1).tolist(),
        }
        for generator in data.generators
    ]
    held = {
        "tables": {
            name: {
                "fps": table.fps,
                "clips": [
                    encode_clip(clip)
                    for entry in table.classes
                    for column in table.columns
                    for clip in entry.clips.get(column.name, ())
                ],
            }
            for name, table in tables.items()
        },
        "orders": orders,
    }
    return json.dumps(held, separators=(",", ":")).replace("<", "\\u003c")


def _stages(stages: Sequence[StageState]) -> str:
    rows = []
    for stage in stages:
        state = stage.state if stage.seconds is None else f"{stage.state}, {stage.seconds:,.0f} s"
        kind = stage.state.replace(" ", "-")
        rows.append(f'<li class="{kind}">{html.escape(stage.title)} <span>{state}</span></li>')
    return f'<ol class="stages">{"".join(rows)}</ol>'


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


def _clips(data: ClipTable) -> str:
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
        f'<div class="row" role="row"><div class="name" role="rowheader">{breakable(name)}</div>'
        f"{''.join(cells)}</div>"
    )


def breakable(text: str) -> str:
    """Escaped text that a line may end in before a word's capital: class names are WordsPutTogether."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "<wbr>", text)


def _lossy_note(data: ClipTable) -> str:
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

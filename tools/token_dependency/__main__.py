"""Measure and draw how strongly the tokens of a clip depend on each other, by distance in space and time.

    python -m tools.token_dependency tokens/ --out dependency/

reads a tokens folder (`parvideo tokenize`) and writes `dependency.json` and `dependency.png`. The estimate
is that of `tools.token_dependency.estimate`, and a lower bound where the codebook's ids are grouped first.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import auto_cli
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from parvideo.demo.chart import nice_ticks
from parvideo.files import atomic_path, write_json
from parvideo.order.figure import ramp
from tools.token_dependency.estimate import Offset, Tokens, coarsen, entropy, mutual_information

_PAPER, _INK, _SOFT, _RULE = (255, 255, 255), (29, 35, 41), (92, 102, 112), (228, 225, 220)
_CURVES = ((15, 118, 110), (194, 105, 27), (79, 91, 213), (176, 48, 106))
_SCALE = 2  # drawn at twice the size and reduced, for smooth lines


def main(
    tokens: str,
    out: str = "dependency",
    max_distance: int = 8,
    max_frames: int = 2,
    groups: int = 16,
    clips: int = 2000,
    shuffles: int = 2,
    seed: int = 0,
) -> None:
    """Estimate mutual information between tokens by their offset, and draw it.

    Args:
        tokens: tokens folder, as `parvideo tokenize` writes it.
        out: folder for dependency.json and dependency.png.
        max_distance: largest offset along h and along w, in cells.
        max_frames: largest offset along t, in latent frames, at most 3.
        groups: number of groups the codebook's ids are reduced to.
        clips: most clips read; where ids are grouped, half of them choose the groups and half are measured.
        shuffles: pairings with other clips that are averaged to correct the estimate.
        seed: of the pairings.
    """
    from parvideo.datasets.tokens import TokenDataset

    if not 0 <= max_frames <= 3:
        raise ValueError(f"max_frames is {max_frames}; the picture has room for 0 to 3")
    dataset = TokenDataset(Path(tokens))
    distinct = one_view(dataset.manifest.ids, len(dataset.manifest.views))
    chosen = [
        distinct[at * len(distinct) // min(clips, len(distinct))] for at in range(min(clips, len(distinct)))
    ]
    read = np.stack([dataset[index]["tokens"].numpy() for index in tqdm(chosen, "reading")])
    report = measure(read, groups, max_distance, max_frames, shuffles, seed)
    folder = Path(out)
    write_json(folder / "dependency.json", {"tokens": str(tokens), **report})
    with atomic_path(folder / "dependency.png") as temporary:
        draw(report).save(temporary)
    for line in summary(report):
        print(line)
    print(f"written to {folder}/dependency.json and {folder}/dependency.png")


def measure(
    tokens: Tokens, groups: int, max_distance: int, max_frames: int, shuffles: int, seed: int
) -> dict[str, Any]:
    """Estimate every offset up to the given ones; the result is JSON-able.

    Args:
        tokens: int64 ``[n, t, h, w]`` codebook ids, related clips next to each other.
        groups: see `main`; with fewer ids than this none are grouped and all clips are measured.
        max_distance: see `main`.
        max_frames: see `main`.
        shuffles: see `main`.
        seed: see `main`.
    """
    codebook_size = int(tokens.max()) + 1
    measured = tokens
    if codebook_size > groups:
        if len(tokens) < 8:
            raise ValueError(
                f"there are {len(tokens)} clips; at least 8 are needed to choose groups and measure"
            )
        # Runs of clips take turns, so that few scenes lie on both sides.
        fitted = np.arange(len(tokens)) * min(40, len(tokens)) // len(tokens) % 2 == 0
        measured = coarsen(tokens[fitted], codebook_size, groups)[tokens[~fitted]]
    symbols = min(groups, codebook_size)
    _, t, h, w = measured.shape
    offsets = half_offsets(min(max_frames, t - 1), min(max_distance, h - 1), min(max_distance, w - 1))
    found = [
        mutual_information(measured, offset, symbols, shuffles, seed=seed)
        for offset in tqdm(offsets, "measuring")
    ]
    return {
        "grid": [t, h, w],
        "clips": len(measured),
        "ids_seen": len(np.unique(tokens)),
        "groups": symbols,
        "entropy": entropy(measured, symbols),
        "unit": "nats",
        "offsets": [
            {
                "offset": list(one.offset),
                "information": one.information,
                "error": one.error,
                "plug_in": one.plug_in,
                "shuffled": one.shuffled,
                "pairs": one.pairs,
            }
            for one in found
        ],
    }


def one_view(ids: Sequence[str], views: int) -> list[int]:
    """Items of one view of every clip, sorted by id: two views of a clip are no two clips.

    An id is a clip and its view, so that the views of a clip follow each other when sorted.
    """
    return sorted(range(len(ids)), key=lambda index: ids[index])[::views]


def half_offsets(max_t: int, max_h: int, max_w: int) -> list[Offset]:
    """Every offset but one of each pair that only exchanges the two tokens; (0, 0, 0) is left out."""
    return [
        (dt, dh, dw)
        for dt in range(max_t + 1)
        for dh in range(-max_h, max_h + 1)
        for dw in range(-max_w, max_w + 1)
        if (dt, dh, dw) > (0, 0, 0)
    ]


def by_distance(report: Mapping[str, Any], dt: int) -> list[tuple[int, float, float]]:
    """(distance, information, error) at dt latent frames: means over the offsets along h or w alone.

    The error takes the offsets as fully dependent, so that it is rather too large.
    """
    rows: dict[int, list[tuple[float, float]]] = {}
    for one in report["offsets"]:
        if one["offset"][0] == dt and 0 in one["offset"][1:]:
            distance = max(abs(step) for step in one["offset"][1:])
            rows.setdefault(distance, []).append((one["information"], one["error"]))
    return [(distance, *np.mean(values, axis=0).tolist()) for distance, values in sorted(rows.items())]


def summary(report: Mapping[str, Any]) -> list[str]:
    """The curves as text."""
    lines = [
        f"{report['clips']} clips of {report['grid']} tokens, {report['ids_seen']} ids seen, "
        f"{report['groups']} groups; entropy {report['entropy']:.3f} nats"
    ]
    for dt in sorted({one["offset"][0] for one in report["offsets"]}):
        cells = [f"{distance}: {value:.3f}±{error:.3f}" for distance, value, error in by_distance(report, dt)]
        lines.append(f"{_frames(dt)}, by distance in cells: {', '.join(cells)}")
    return lines


def draw(report: Mapping[str, Any]) -> Image.Image:
    """The curves against distance at the left, and a heat map over (dh, dw) for every dt."""
    frames = sorted({one["offset"][0] for one in report["offsets"]})
    image = Image.new("RGB", ((540 + 300 * len(frames)) * _SCALE, 400 * _SCALE), _PAPER)
    pen = ImageDraw.Draw(image)
    _text(pen, (24, 24), "How much a token tells about another of its clip", 16, _INK, "lm")
    grouped = report["groups"] < report["ids_seen"]
    kept = f"in {report['groups']} groups (hence a lower bound)" if grouped else "kept apart"
    counted = (
        f"{report['clips']} clips, {report['ids_seen']} ids {kept}; entropy {report['entropy']:.2f} nats"
    )
    _text(pen, (24, 46), counted, 12, _SOFT, "lm")
    _draw_curves(pen, [(dt, by_distance(report, dt)) for dt in frames])
    highest = max(max(one["information"] for one in report["offsets"]), 1e-9)
    for place, dt in enumerate(frames):
        values = {
            tuple(one["offset"][1:]): one["information"]
            for one in report["offsets"]
            if one["offset"][0] == dt
        }
        if dt == 0:
            values |= {(-dh, -dw): value for (dh, dw), value in values.items()}
        _draw_map(pen, 540 + 300 * place, dt, values, highest)
    return image.resize((image.width // _SCALE, image.height // _SCALE), Image.Resampling.LANCZOS)


def _draw_curves(
    pen: ImageDraw.ImageDraw, curves: Sequence[tuple[int, Sequence[tuple[int, float, float]]]]
) -> None:
    left, right, top, floor = 72, 500, 90, 340
    points = [point for _, curve in curves for point in curve]
    ticks = nice_ticks(min(0.0, *(value for _, value, _ in points)), max(value + e for _, value, e in points))
    last = max(distance for distance, _, _ in points) or 1

    def x(distance: float) -> float:
        return left + distance / last * (right - left)

    def y(value: float) -> float:
        return floor - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (floor - top)

    for tick in ticks:
        _line(pen, [(left, y(tick)), (right, y(tick))], _RULE, 1)
        _text(pen, (left - 8, y(tick)), f"{tick:g}", 12, _SOFT, "rm")
    for distance in range(0, last + 1, math.ceil(last / 12)):
        _text(pen, (x(distance), floor + 14), str(distance), 12, _SOFT, "mm")
    _text(pen, ((left + right) / 2, floor + 36), "distance along h or w (cells)", 12, _SOFT, "mm")
    _text(pen, (left - 48, top - 18), "mutual information (nats)", 12, _SOFT, "lm")
    for (dt, curve), colour in zip(curves, _CURVES, strict=False):
        _line(pen, [(x(distance), y(value)) for distance, value, _ in curve], colour, 2)
        for distance, value, error in curve:
            _line(pen, [(x(distance), y(value - error)), (x(distance), y(value + error))], colour, 1)
            cx, cy = x(distance) * _SCALE, y(value) * _SCALE
            pen.ellipse((cx - 3 * _SCALE, cy - 3 * _SCALE, cx + 3 * _SCALE, cy + 3 * _SCALE), fill=colour)
        row = top + 8 + 20 * dt
        _line(pen, [(right - 130, row), (right - 108, row)], colour, 2)
        _text(pen, (right - 100, row), _frames(dt), 12, _INK, "lm")


def _draw_map(
    pen: ImageDraw.ImageDraw, left: int, dt: int, values: Mapping[tuple[int, int], float], highest: float
) -> None:
    tall = max((abs(dh) for dh, _ in values), default=0)
    wide = max((abs(dw) for _, dw in values), default=0)
    cell = 250 / (2 * max(tall, wide) + 1)
    top = 90
    _text(pen, (left, top - 18), _frames(dt), 13, _INK, "lm")
    for (dh, dw), value in values.items():
        x, y = left + (dw + wide) * cell, top + (dh + tall) * cell
        # The square root shows weak dependence, which is what the picture is about.
        fill = ramp(math.sqrt(max(value, 0.0) / highest))
        pen.rectangle([c * _SCALE for c in (x, y, x + cell - 1, y + cell - 1)], fill=fill)
    x, y = left + wide * cell, top + tall * cell
    if (0, 0) not in values:
        pen.rectangle([c * _SCALE for c in (x, y, x + cell - 1, y + cell - 1)], outline=_SOFT, width=_SCALE)
    bar = top + 250 + 14
    for step in range(250):
        _line(pen, [(left + step, bar), (left + step, bar + 8)], ramp(math.sqrt(step / 249)), 1)
    _text(pen, (left, bar + 20), "0", 12, _SOFT, "lm")
    _text(pen, (left + 250, bar + 20), f"{highest:.2g} nats", 12, _SOFT, "rm")
    _text(pen, (left + 125, bar + 20), "dw across, dh down", 12, _SOFT, "mm")


def _frames(dt: int) -> str:
    return "same frame" if dt == 0 else f"{dt} frame{'s' if dt > 1 else ''} later"


def _line(
    pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], fill: tuple[int, int, int], width: int
) -> None:
    pen.line([(x * _SCALE, y * _SCALE) for x, y in points], fill=fill, width=width * _SCALE)


def _text(
    pen: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    fill: tuple[int, int, int],
    anchor: str,
) -> None:
    font = ImageFont.load_default(size * _SCALE)
    pen.text((place[0] * _SCALE, place[1] * _SCALE), text, fill=fill, font=font, anchor=anchor)


if __name__ == "__main__":
    auto_cli(main)

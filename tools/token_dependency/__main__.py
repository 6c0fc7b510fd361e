"""Measure and draw how strongly the tokens of a clip depend on each other, by distance in space and time.

    python -m tools.token_dependency tokens/ --out dependency/

reads a tokens folder (`parvideo tokenize`) and writes `dependency.json` and `dependency.png`. The estimate
is that of `tools.token_dependency.estimate`, and a lower bound where the codebook's ids are grouped first.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jsonargparse import auto_cli
from numpy.typing import NDArray

from parvideo.files import write_json
from parvideo.progress import Progress
from tools.plotting import COLOURS, new_figure, plain_axes, save_figure
from tools.token_dependency.estimate import Offset, Tokens, coarsen, entropy, mutual_information

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    new_figure(1, 1)  # so that a missing matplotlib shows now, and not after the work
    dataset = TokenDataset(Path(tokens))
    distinct = one_view(dataset.manifest.ids, len(dataset.manifest.views))
    chosen = [
        distinct[at * len(distinct) // min(clips, len(distinct))] for at in range(min(clips, len(distinct)))
    ]
    read = np.stack(
        [dataset[index]["tokens"].numpy() for index in Progress(chosen, title="reading", unit="clip")]
    )
    report = measure(read, groups, max_distance, max_frames, shuffles, seed)
    folder = Path(out)
    write_json(folder / "dependency.json", {"tokens": str(tokens), **report})
    save_figure(draw(report), folder / "dependency.png")
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
        for offset in Progress(offsets, title="measuring", unit="offset")
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
        lines.append(f"{frames_later(dt)}, by distance in cells: {', '.join(cells)}")
    return lines


def draw(report: Mapping[str, Any]) -> "Figure":
    """The curves against distance at the left, and a heat map over (dh, dw) for every dt.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
    """
    frames = sorted({one["offset"][0] for one in report["offsets"]})
    figure = new_figure(5.5 + 3 * len(frames), 4.2)
    from matplotlib.colors import PowerNorm

    grouped = report["groups"] < report["ids_seen"]
    kept = f"in {report['groups']} groups (hence a lower bound)" if grouped else "kept apart"
    figure.suptitle(
        "How much a token tells about another of its clip\n"
        f"{report['clips']} clips, {report['ids_seen']} ids {kept}; entropy {report['entropy']:.2f} nats",
        fontsize=11,
    )
    curves, *maps = figure.subplots(1, 1 + len(frames), width_ratios=[5.5, *[3] * len(frames)])
    plain_axes(curves)
    curves.set_xlabel("distance along h or w (cells)")
    curves.set_ylabel("mutual information (nats)")
    for dt, colour in zip(frames, COLOURS, strict=False):
        distances, means, errors = zip(*by_distance(report, dt), strict=True)
        curves.errorbar(
            distances, means, errors, marker="o", markersize=4, color=colour, label=frames_later(dt)
        )
    curves.xaxis.get_major_locator().set_params(integer=True)
    curves.legend(frameon=False)
    # The square root shows weak dependence, which is what the picture is about.
    highest = max(*(one["information"] for one in report["offsets"]), 1e-9)
    shade = PowerNorm(0.5, vmin=0, vmax=highest)
    for dt, axes in zip(frames, maps, strict=True):
        values = information_map(report, dt)
        tall, wide = (size // 2 for size in values.shape)
        drawn = axes.imshow(values, norm=shade, extent=(-wide - 0.5, wide + 0.5, tall + 0.5, -tall - 0.5))
        axes.set_title(frames_later(dt), fontsize=10)
        axes.set_xlabel("dw (cells)")
    maps[0].set_ylabel("dh (cells)")
    figure.colorbar(drawn, ax=maps, label="nats", shrink=0.7)
    return figure


def information_map(report: Mapping[str, Any], dt: int) -> NDArray[np.float64]:
    """Information at dt latent frames by (dh, dw), the offset (0, 0) in the middle; NaN if not measured."""
    found = {
        tuple(one["offset"][1:]): one["information"] for one in report["offsets"] if one["offset"][0] == dt
    }
    if dt == 0:
        found |= {(-dh, -dw): value for (dh, dw), value in found.items()}
    tall, wide = (max((abs(offset[axis]) for offset in found), default=0) for axis in (0, 1))
    values = np.full((2 * tall + 1, 2 * wide + 1), np.nan)
    for (dh, dw), value in found.items():
        values[dh + tall, dw + wide] = max(value, 0.0)
    return values


def frames_later(dt: int) -> str:
    """How far two tokens lie apart in time, in words."""
    return "same frame" if dt == 0 else f"{dt} frame{'s' if dt > 1 else ''} later"


if __name__ == "__main__":
    auto_cli(main, prog="python -m tools.token_dependency")

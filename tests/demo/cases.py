"""A page's data, hostile to whoever pastes it into HTML unseen."""

import numpy as np

from parvideo.demo import chart as page_chart
from parvideo.demo import page_data as page

HOSTILE = '<script>alert(1)</script> & "{{title}}"'


def moving_square(seed: int, frames: int = 9, size: int = 32) -> np.ndarray:
    """Two clips uint8 [2, T, H, W, 3] of a square that moves over a gradient; no two frames are equal."""
    rng = np.random.default_rng(seed)
    clips = np.zeros((2, frames, size, size, 3), dtype=np.uint8)
    clips[..., 2] = np.linspace(40, 120, size, dtype=np.uint8)
    for clip in clips:
        colour = rng.integers(120, 255, 3)
        top = rng.integers(4, size - 12)
        for index, frame in enumerate(clip):
            frame[top : top + 9, 2 * index : 2 * index + 9] = colour
    return clips


def region_groups(t: int, h: int, w: int, rh: int, rw: int) -> np.ndarray:
    """Step of every token [t, h, w] when rh x rw regions are generated in parallel."""
    region = np.arange(h)[:, None] // (h // rh) * rw + np.arange(w) // (w // rw)
    inside = np.arange(h)[:, None] % (h // rh) * (w // rw) + np.arange(w) % (w // rw)
    place = np.arange(t)[:, None, None] * (h // rh) * (w // rw) + inside
    return np.where(place == 0, region, place + rh * rw - 1)


def demo_page() -> page.PageData:
    columns = [
        page.ClipColumn("Real", "held out from training"),
        page.ClipColumn("Reconstructed", "the real clip, through the tokenizer"),
        page.ClipColumn("Generated 4x", "four regions in parallel"),
        page.ClipColumn("Generated 1x", "one token at a time"),
    ]
    names = ["red square, left", "green circle, up", HOSTILE, "HandstandPushups", "blue ring, zoom"]
    classes = [
        page.ClassClips(
            name, {column.name: moving_square(10 * row + place) for place, column in enumerate(columns)}
        )
        for row, name in enumerate(names)
    ]
    rng = np.random.default_rng(0)
    steps = range(10, 6010, 10)
    curve = [(step, 1.4 + 4 * np.exp(-step / 900) + rng.normal(0, 0.12)) for step in steps]
    other = [(step, 1.3 + 4.1 * np.exp(-step / 1000) + rng.normal(0, 0.12)) for step in steps]
    return page.PageData(
        title="parvideo demo",
        summary="A small tokenizer and two small transformers, trained on the shapes set by a CPU.",
        highlights=[("51", "steps per clip instead of 192"), ("3.4x", "faster than one token at a time")],
        conditions=[
            ("Data", "shapes set, 8 classes, 320 clips of 9x32x32"),
            ("Seed", "0"),
            ("CPU", "2 cores"),
        ],
        clips=page.ClipTable(columns, classes, fps=8),
        generators=[
            page.Generator("1x", region_groups(3, 8, 8, 1, 1), 16, 6.81, 212.4, 8.1, 0.84),
            page.Generator("4x", region_groups(3, 8, 8, 2, 2), 16, 2.02, 230.9, None, 0.81),
        ],
        comparison_note="Class accuracy: a classifier trained on real clips; chance is 1/8.",
        fvd_notice="Not comparable with published FVD: its features are of a small toy network.",
        charts=[
            page_chart.Chart(
                "Transformers",
                "cross-entropy (nats)",
                [page_chart.Curve("1x", other), page_chart.Curve("4x", curve)],
            ),
            page_chart.Chart("Tokenizer", "loss", [page_chart.Curve("reconstruction", curve[:50])]),
        ],
        results=[
            page.Result("PSNR", "27.10 dB", "22.40 dB", "held-out clips against copying the first frame")
        ],
        commands=[
            page.Command("More clips of one class", 'parvideo sample --model "runs/demo" --class "a < b"')
        ],
    )


def showcase() -> page.Showcase:
    """Two clips of a published model, of another length and rate than the page's own."""
    columns = [page.ClipColumn("Generated", "by a model that comes with the clone")]
    clips = page.ClassClips("Surfing", {"Generated": moving_square(99, frames=17, size=20)})
    figures = [page.Result("FVD of m-4x", "310.0 ± 9.1", "real against real 120.0", "2,048 clips")]
    return page.Showcase("6 clips in 4 s.", page.ClipTable(columns, [clips], fps=12.5), figures)

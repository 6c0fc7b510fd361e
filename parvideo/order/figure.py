"""An order to read and look at: its figures as text, its steps as a picture or an animation."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from parvideo.files import AnyPath, atomic_path
from parvideo.order import GenerationOrder

Colour = tuple[int, int, int]

MAX_FRAMES = 240
"""An animation of more steps than this shows several steps a frame."""

_PAPER, _INK, _SOFT, _EMPTY = (255, 255, 255), (29, 35, 41), (92, 102, 112), (233, 230, 225)
_ALONE, _TOGETHER, _NOW = (217, 138, 61), (63, 143, 136), (17, 24, 39)
_RAMP: tuple[Colour, ...] = ((253, 231, 164), (244, 162, 97), (214, 84, 92), (122, 44, 107), (36, 24, 66))
_MARGIN, _GAP, _HEAD, _FOOT, _LABEL = 20, 16, 44, 48, 18
_ANIMATION_MS, _FRAME_MS, _HOLD_MS = 12_000, 500, 2_000


@dataclass(frozen=True)
class GroupDistances:
    """How far apart the tokens lie that are generated in one step, over the steps of two tokens or more.

    Distances are in cells of the latent grid, the largest of the differences along t, h and w, so that 1 is
    a neighbour, diagonal ones included.

    Attributes:
        nearest: the smallest distance between two tokens of one step.
        typical: the mean over tokens of the distance to the nearest token of their step.
        farthest: the largest distance between two tokens of one step.
    """

    nearest: int
    typical: float
    farthest: int


def group_distances(order: GenerationOrder) -> GroupDistances | None:
    """Distances between tokens that are generated together; None where no two are."""
    nearest: list[int] = []
    farthest = 0
    for slots in order.step_slots:
        if len(slots) > 1:
            places = order.target_coords[slots.start : slots.stop]
            apart = (places[:, None] - places[None]).abs().amax(-1)
            farthest = max(farthest, int(apart.max()))
            apart.fill_diagonal_(torch.iinfo(apart.dtype).max)
            nearest += apart.amin(-1).tolist()
    if not nearest:
        return None
    return GroupDistances(min(nearest), sum(nearest) / len(nearest), farthest)


def phases(order: GenerationOrder) -> list[tuple[int, int]]:
    """Runs of steps that generate equally many tokens, in order: (number of steps, tokens in each).

    >>> from parvideo.order import OrderSpec
    >>> phases(OrderSpec(regions=(1, 4, 4)).build((5, 16, 16)))
    [(16, 1), (79, 16)]
    """
    return [
        (len(list(run)), size) for size, run in itertools.groupby(len(slots) for slots in order.step_slots)
    ]


def describe(order: GenerationOrder) -> list[str]:
    """The order in a few lines of text."""
    t, h, w = order.grid
    shown = [f"{_count(steps, 'step')} of {_count(size, 'token')}" for steps, size in phases(order)]
    if len(shown) > 8:
        shown = [*shown[:7], f"{len(shown) - 7} more phases"]
    lines = [
        f"grid            {t} x {h} x {w} = {_count(order.num_tokens, 'token')}",
        f"steps           {order.steps} ({order.num_tokens / order.steps:.2f} times fewer than tokens)",
        f"phases          {', then '.join(shown)}",
        f"attention       {order.attention} inside a group",
        f"transitions     {order.num_transitions} learned tokens",
    ]
    distances = group_distances(order)
    if distances is None:
        return [*lines, "distances       no two tokens are generated together"]
    return [
        *lines,
        f"distances       tokens generated together lie at least {distances.nearest} and at most "
        f"{distances.farthest} cells apart; to the nearest {distances.typical:.2f} on average",
    ]


def write_order(path: AnyPath, order: GenerationOrder) -> None:
    """Write the order as a still picture (.png) or an animation (.gif), by the suffix.

    Raises:
        ValueError: if the suffix is neither.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".png", ".gif"):
        raise ValueError(f"out is {path}; its name must end in .png (a picture) or .gif (an animation)")
    with atomic_path(path) as temporary:
        if suffix == ".png":
            draw_steps(order).save(temporary, "PNG")
            return
        first, *rest = animate(order)
        each = min(_FRAME_MS, max(20, _ANIMATION_MS // (len(rest) + 1)))
        durations = [*([each] * len(rest)), _HOLD_MS]
        first.save(temporary, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)


def draw_steps(order: GenerationOrder) -> Image.Image:
    """A picture of the latent frames; a cell's colour is the step in which its token is generated."""
    layout = _Layout.of(order)
    image, draw = layout.blank(f"Step in which each token is generated: {order.steps} steps", _FOOT)
    last = max(order.steps - 1, 1)
    numbered = layout.cell >= 22 and order.steps < 1000
    for step, group in enumerate(order.groups):
        fill = ramp(step / last)
        for index in group:
            box = layout.box(index)
            draw.rectangle(box, fill=fill)
            if numbered:
                middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
                ink = _INK if sum(fill) > 380 else _PAPER
                draw.text(middle, str(step + 1), fill=ink, font=_font(layout.cell * 0.42), anchor="mm")
    wide, floor = image.width - 2 * _MARGIN, image.height - _FOOT + 8
    for x in range(wide):
        draw.line((_MARGIN + x, floor, _MARGIN + x, floor + 8), fill=ramp(x / max(wide - 1, 1)))
    draw.text((_MARGIN, floor + 13), "step 1", fill=_SOFT, font=_font(12))
    draw.text((_MARGIN + wide, floor + 13), str(order.steps), fill=_SOFT, font=_font(12), anchor="ra")
    return image


def animate(order: GenerationOrder) -> Iterator[Image.Image]:
    """Frames of the order in time; the first is before any step, the last after all."""
    layout = _Layout.of(order)
    palette = _palette()
    stride = math.ceil(order.steps / MAX_FRAMES)
    sizes = [len(group) for group in order.groups]
    for done in [*range(0, order.steps, stride), order.steps]:
        tokens = sum(sizes[:done])
        title = f"step {done} of {order.steps}, {tokens} of {order.num_tokens} tokens"
        image, draw = layout.blank(title, _MARGIN)
        for step, group in enumerate(order.groups):
            fill = _ALONE if len(group) == 1 else _TOGETHER
            if step >= done:
                fill = _EMPTY
            elif step >= done - stride and done < order.steps:
                fill = _NOW
            for index in group:
                draw.rectangle(layout.box(index), fill=fill)
        yield image.quantize(palette=palette, dither=Image.Dither.NONE)


def ramp(share: float) -> Colour:
    """Colour of a step, from light (0, first) to dark (1, last)."""
    place = min(max(share, 0.0), 1.0) * (len(_RAMP) - 1)
    low = min(int(place), len(_RAMP) - 2)
    return _mixed(_RAMP[low], _RAMP[low + 1], place - low)


@dataclass(frozen=True)
class _Layout:
    """Where the cells lie: latent frames as panels in rows, each with a label above it."""

    grid: tuple[int, int, int]
    cell: int
    across: int

    @classmethod
    def of(cls, order: GenerationOrder) -> "_Layout":
        t, h, w = order.grid
        cell = max(4, min(28, 320 // max(h, w)))
        if (fitting := (1600 // t - _GAP) // w) >= 10:  # all frames in one row, smaller if need be
            cell = min(cell, fitting)
        across = min(t, max(1, 1600 // (w * cell + _GAP)))
        return cls(order.grid, cell, across)

    def blank(self, title: str, foot: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        t, h, w = self.grid
        rows = math.ceil(t / self.across)
        width = 2 * _MARGIN + self.across * (w * self.cell + _GAP) - _GAP
        height = _HEAD + rows * (_LABEL + h * self.cell + _GAP) - _GAP + foot + 4
        image = Image.new("RGB", (max(width, 420), height), _PAPER)
        draw = ImageDraw.Draw(image)
        draw.text((_MARGIN, 14), title, fill=_INK, font=_font(16))
        for frame in range(t):
            left, top = self._corner(frame)
            draw.text((left, top - 4), f"latent frame {frame}", fill=_SOFT, font=_font(12), anchor="ls")
        return image, draw

    def box(self, index: int) -> tuple[int, int, int, int]:
        """Corners, both inside, of the cell with this raster index."""
        _, h, w = self.grid
        left, top = self._corner(index // (h * w))
        x, y = left + index % w * self.cell, top + index // w % h * self.cell
        return x, y, x + self.cell - 2, y + self.cell - 2

    def _corner(self, frame: int) -> tuple[int, int]:
        _, h, w = self.grid
        row, column = divmod(frame, self.across)
        left = _MARGIN + column * (w * self.cell + _GAP)
        return left, _HEAD + _LABEL + row * (_LABEL + h * self.cell + _GAP)


def _palette() -> Image.Image:
    colours = [_EMPTY, _ALONE, _TOGETHER, _NOW]
    for text in (_INK, _SOFT):
        colours += [_mixed(_PAPER, text, level / 5) for level in range(6)]
    image = Image.new("P", (1, 1))
    image.putpalette([value for colour in colours for value in colour])
    return image


def _mixed(first: Sequence[int], second: Sequence[int], share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

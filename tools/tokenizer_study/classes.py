"""Ask what makes a class of the shapes set hard to a trained tokenizer: its colour, its motion, or its shape.

Clips are drawn of every colour, every motion and every shape, the rest as in one class. Most of these classes
the tokenizer was not trained on, so compare rows with each other, not with the held-out figures.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import Tensor

from parvideo.datasets.transforms import resize_and_crop
from parvideo.pixels import to_float
from parvideo.synthetic.folder import SyntheticVideo
from parvideo.synthetic.shapes import MAX_CLASSES, ShapesSettings, render_shapes_clip
from parvideo.tokenizer import CausalVideoTokenizer
from tools.tokenizer_study.training import measure

SHAPES = ("Square", "Disc", "Triangle", "Cross", "Ring", "Bar", "Diamond", "Star")
MOTIONS = ("Right", "Left", "Up", "Down", "Orbit", "Spin", "Pulse", "Swing")
COLOURS = ("Red", "Green", "Blue", "Yellow", "Magenta", "Cyan", "Orange", "White")


def study(
    start: Path,
    colour: str = "White",
    shape: str = "Star",
    motion: str = "Swing",
    frames: int = 9,
    size: int = 32,
    stride: int = 2,
    clips_per_class: int = 12,
) -> None:
    """Print PSNR, and that of copying the first frame, with one property of a class varied at a time.

    Args:
        start: what `python -m tools.tokenizer_study tiny --save` wrote.
        colour: of the class.
        shape: of the class.
        motion: of the class.
        frames: of a clip.
        size: of a frame.
        stride: source frames from one frame to the next.
        clips_per_class: clips drawn of each class, each of its own scene.
    """
    saved = torch.load(start, weights_only=True)
    tokenizer = CausalVideoTokenizer(**saved["config"])
    tokenizer.load_state_dict(saved["state"])
    settings = ShapesSettings(num_classes=MAX_CLASSES, groups=99)
    labels = {name: label for label, name in enumerate(settings.class_names)}
    print("| varied | class | PSNR | copying frame 0 | gain |\n|---|---|---|---|---|")
    variants = {
        "colour": [other + shape + motion for other in COLOURS],
        "motion": [colour + shape + other for other in MOTIONS],
        "shape": [colour + other + motion for other in SHAPES],
    }
    for varied, names in variants.items():
        for name in names:
            clips = _draw(settings, labels[name], clips_per_class, frames, size, stride)
            figures = measure(tokenizer, clips)
            psnr, copied = figures["psnr"], figures["psnr_copy_first"]
            print(f"| {varied} | {name} | {psnr:.2f} | {copied:.2f} | {psnr - copied:+.2f} |", flush=True)


def _draw(
    settings: ShapesSettings, label: int, count: int, frames: int, size: int, stride: int
) -> Iterator[Tensor]:
    for group in range(1, count + 1):
        video = render_shapes_clip(settings, SyntheticVideo(label, group, 1))
        yield to_float(resize_and_crop(video[: frames * stride : stride], size)[None])


if __name__ == "__main__":
    auto_cli(study, prog="python -m tools.tokenizer_study.classes")

"""Image files, read as clips: a still image is one frame, an animated GIF, WebP or PNG has its own times.

Pictures are taken as viewers show them: turned as EXIF says, 16 bits of grey scaled to 8, and what is
transparent on white. Of other files with several pictures (a phone's JPEG with its depth map, TIFF pages)
it is the first.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from parvideo.datasets.video_info import IMAGE, UnreadableVideoError, VideoInfo, constant_rate

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
ANIMATION_SUFFIXES = frozenset({".apng", ".gif"})
"""Of videos that Pillow reads; .webp and .png may be such too."""

_ANIMATED = {"GIF", "WEBP", "PNG"}
_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def is_image(path: Path) -> bool:
    """Whether a path is named like an image file; hidden files are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def is_pillows(path: Path) -> bool:
    """Whether a file is named like one that Pillow reads: a still or an animated image."""
    return path.suffix.lower() in IMAGE_SUFFIXES | ANIMATION_SUFFIXES


def probe_image(path: Path) -> VideoInfo:
    """Look into an image's header; an animated one is decoded once for the times of its frames.

    Raises:
        UnreadableVideoError: if it is no image.
    """
    try:
        with Image.open(path) as image:
            coding, mode = str(image.format).lower(), image.mode
            coded_width, coded_height = image.size
            numbers = _frame_numbers(image)
            turned = image.format != "TIFF" and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            times = [0.0]
            if len(numbers) > 1:
                for number in numbers:
                    image.seek(number)
                    image.load()  # WebP tells how long a frame is shown only then
                    times.append(times[-1] + _seconds(image))
            elif image.format == "TIFF":  # Pillow turns these by itself, once they are loaded
                image.load()
                coded_width, coded_height = image.size
    except _ERRORS as error:
        raise UnreadableVideoError(path, f"cannot be opened as an image ({error})") from error
    *times, end = times if len(times) > 1 else [0.0, 1.0]
    constant = constant_rate([*times, end], None, 0.001)  # the last one's time counts too
    height, width = (coded_width, coded_height) if turned else (coded_height, coded_width)
    return VideoInfo(
        frames=len(times),
        fps=constant or len(times) / end,
        height=height,
        width=width,
        container=IMAGE,
        codec=coding,
        pixel_format=mode,
        seekable=True,
        times=None if constant else tuple(times),
    )


def read_image(path: Path) -> Tensor:
    """Decode a still image, or the first frame of an animated one: RGB uint8 ``[1, H, W, 3]``.

    Raises:
        UnreadableVideoError: if it is no image, cut short, or of a form whose white is not known.
    """
    return torch.from_numpy(next(image_frames(path)))[None]


def read_image_frames(path: Path, indices: Sequence[int]) -> Tensor:
    """Frames of a still or animated image by number: RGB uint8 ``[T, H, W, 3]``.

    Raises:
        UnreadableVideoError: as :func:`read_image`, or if there is no such frame.
    """
    found: dict[int, NDArray[np.uint8]] = {}
    wanted, last, number = set(indices), max(indices), -1
    for number, frame in enumerate(image_frames(path)):
        if number in wanted:
            found[number] = frame
        if number == last:
            break
    if number < last:
        what = "is an image, of one frame" if number == 0 else f"has {number + 1} frames"
        raise UnreadableVideoError(path, f"{what}; frame {last} was asked for")
    return torch.from_numpy(np.stack([found[index] for index in indices]))


def image_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """All frames of a still or animated image, in order: RGB uint8 ``[H, W, 3]``.

    Raises:
        UnreadableVideoError: as :func:`read_image`.
    """
    try:
        with Image.open(path) as image:
            for number in _frame_numbers(image):
                image.seek(number)
                yield _shown(image)
    except _ERRORS as error:
        raise UnreadableVideoError(path, f"cannot be decoded as an image ({error})") from error


def _frame_numbers(image: Image.Image) -> range:
    """The frames that are shown; a PNG may begin with a picture for viewers that know no animation."""
    count = int(getattr(image, "n_frames", 1)) if image.format in _ANIMATED else 1
    return range(1 if count > 1 and image.info.get("default_image") else 0, count)


def _seconds(image: Image.Image) -> float:
    """How long a frame is shown; browsers take 10 ms and less for 100 ms, and so do makers of GIFs."""
    milliseconds = float(image.info.get("duration", 0))
    return (milliseconds if milliseconds > 10 else 100.0) / 1000


def _shown(image: Image.Image) -> NDArray[np.uint8]:
    """The picture as it is shown, as an array of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of palettes with transparency in bytes: they are laid on white here
        picture = ImageOps.exif_transpose(image)
        if picture.mode.startswith("I;16") or (picture.mode == "I" and image.format in ("PNG", "PPM")):
            grey = np.asarray(picture).astype(np.uint32)
            grey = ((grey.clip(0, 65535) * 255 + 32767) // 65535).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=-1)
        if picture.mode in ("I", "F"):
            raise ValueError(
                f"its mode is {picture.mode}, 32 bits whose white is not known; store 8 or 16 bits"
            )
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return np.array(picture.convert("RGB"))

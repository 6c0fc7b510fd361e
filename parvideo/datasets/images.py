"""An image file, read as a clip of one frame."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp"})


def is_image(path: Path) -> bool:
    """Whether a path is named like an image file; hidden files are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def probe_image(path: Path) -> tuple[int, int, str, str]:
    """Height, width, format and mode from an image's header; nothing is decoded.

    Raises:
        OSError: if it is no image.
    """
    with Image.open(path) as image:
        return image.height, image.width, str(image.format).lower(), image.mode


def read_image(path: Path) -> Tensor:
    """Decode an image as it is stored (a note on how to turn it is ignored): RGB uint8 ``[1, H, W, 3]``.

    Raises:
        OSError: if it is no image, or cut short.
    """
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))[None]

"""Files of clips as arrays, .npz or .npy: what they hold, read without the clips themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parvideo.arrays import npz_header, read_npy, read_npz


@dataclass(frozen=True)
class ClipListing:
    """What a file of clips says of them.

    Attributes:
        shape: of the clips together, ``[B, T, H, W, 3]``.
        indices: of each, 0 or more, if the file says; distinct over files, which the caller sees to.
        labels: class of each, -1 where unknown, if the file says.
    """

    shape: tuple[int, ...]
    indices: list[int] | None
    labels: list[int] | None


def list_clips(path: Path, class_count: int | None = None) -> ClipListing:
    """What a file of clips holds; the clips are neither read nor decompressed.

    Args:
        path: .npz with the array clips and perhaps labels and indices, or .npy.
        class_count: labels lie below it, if given.

    Raises:
        ValueError: naming the file, if it is damaged or holds something else than clips uint8
            ``[B, T, H, W, 3]`` with labels and indices ``[B]`` of whole numbers in range.
    """
    if path.suffix == ".npy":
        array = read_npy(path, mapped=True)
        return ClipListing(check_clips(path, array.shape, array.dtype), None, None)
    shape = check_clips(path, *npz_header(path, "clips"))
    numbers = read_npz(path, [], ["indices", "labels"])
    most = {"indices": 2**63, "labels": class_count or 2**63}
    least = {"indices": 0, "labels": -1}
    found = {
        name: _numbers(path, name, array, shape[0], least[name], most[name])
        for name, array in numbers.items()
    }
    return ClipListing(shape, found.get("indices"), found.get("labels"))


def check_clips(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """The shape of an array of clips, once it is known to be one.

    Raises:
        ValueError: naming the file, if it is none, or one of no clip.
    """
    if dtype != np.uint8 or len(shape) != 5 or shape[-1] != 3:
        raise ValueError(f"{path} holds {dtype} {list(shape)}; clips are uint8 [B, T, H, W, 3] in 0..255")
    if 0 in shape:
        raise ValueError(f"{path} holds no clip: its array is {list(shape)}")
    return shape


def _numbers(path: Path, name: str, array: NDArray[Any], count: int, least: int, most: int) -> list[int]:
    """The numbers of an array of whole numbers ``[count]`` in least..most-1."""
    if array.dtype.kind not in "iu" or array.shape != (count,):
        raise ValueError(
            f"{path}: {name} is {array.dtype} {list(array.shape)}; it must hold a whole number "
            f"(int64) for each of the {count} clips"
        )
    numbers: list[int] = array.tolist()
    for number in numbers:
        if not least <= number < most:
            meaning = " (or -1, unknown)" if least < 0 else ""
            raise ValueError(f"{path}: {name} holds {number}; {name} lie in 0..{most - 1}{meaning}")
    return numbers

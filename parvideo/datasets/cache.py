"""The pre-decoded cache: every video once more as one uint8 array of small frames, mapped into memory.

It holds what reading and resizing would give, bit for bit, and trades disk for time: a video takes
frames x height x width x 3 bytes.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parvideo.arrays import read_npy
from parvideo.datasets.identity import content_hash, content_hashes
from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_chunks
from parvideo.datasets.transforms import resize_and_crop
from parvideo.datasets.video_info import UnreadableVideoError
from parvideo.datasets.videos import VideoList, VideoRecord
from parvideo.files import AnyPath, atomic_path, check_settings, read_json, write_json
from parvideo.progress import Progress

SETTINGS = "cache.json"
FORMAT = 2
_CHUNK = 256  # frames decoded at once, so that a long video does not fill the memory


def build_cache(
    folder: AnyPath,
    videos: VideoList,
    size: int | tuple[int, int],
    workers: int = 4,
    show_progress: bool = False,
) -> dict[str, str]:
    """Decode, resize and store every video that the cache does not hold yet.

    A video's file appears whole or not at all: an interrupted call is completed by the next one. A video
    whose source has changed since it was stored is stored anew.

    Args:
        folder: of the cache.
        videos: what to store.
        size: pixels, as in :func:`resize_and_crop`.
        workers: videos worked on at once.
        show_progress: show a progress bar.

    Returns:
        id -> reason of the videos that cannot be read, which the cache therefore lacks.

    Raises:
        ValueError: if the folder is a cache of another size, or of an earlier format.
    """
    folder = Path(folder)
    settings = {"format": FORMAT, "size": _pair(size)}
    if (folder / SETTINGS).exists():
        _check(folder, size)
    else:
        write_json(folder / SETTINGS, settings)
    content_hashes([record.path for record in videos.records], workers)  # many at once, and then kept

    def store(record: VideoRecord) -> str | None:
        try:
            target = cached_path(folder, record)
            if not target.exists():
                _store(target, record.path, size)
        except UnreadableVideoError as error:
            return error.reason
        return None

    missing = videos.records

    with ThreadPoolExecutor(workers) as pool:
        made, count = pool.map(store, missing), len(missing)
        bar = Progress(made, title="caching", unit="video", total=count, hidden=not show_progress)
        reasons = {record.id: reason for record, reason in zip(missing, bar, strict=True)}
    return {name: reason for name, reason in reasons.items() if reason is not None}


class FrameCache:
    """Reads frames from a cache that :func:`build_cache` made."""

    def __init__(self, folder: AnyPath, size: int | tuple[int, int]) -> None:
        """Open a cache.

        Raises:
            ValueError: if there is none, or it is of another size.
        """
        self.folder = Path(folder)
        _check(self.folder, size)

    def read(self, record: VideoRecord, indices: Sequence[int]) -> Tensor:
        """Frames by number: uint8 ``[T, height, width, 3]``, as reading and resizing would give.

        Raises:
            UnreadableVideoError: if the cache does not hold the video as it is now, or has no such frame.
        """
        frames = self._open(record)
        if max(indices) >= len(frames):
            raise UnreadableVideoError(
                record.path, f"has {len(frames)} cached frames, not {max(indices) + 1}"
            )
        return torch.from_numpy(frames[list(indices)])

    def _open(self, record: VideoRecord) -> NDArray[np.uint8]:
        path = cached_path(self.folder, record)
        try:
            return read_npy(path, mapped=True)
        except FileNotFoundError as error:
            raise UnreadableVideoError(
                record.path, f"is not in the cache {self.folder}; build it again"
            ) from error
        except (OSError, ValueError) as error:
            raise UnreadableVideoError(record.path, f"is broken in the cache: {error}") from error


def cached_path(folder: Path, record: VideoRecord) -> Path:
    """Where a video's frames lie; the name has the source's checksum, so that a changed one is missed.

    Raises:
        UnreadableVideoError: if the source cannot be read.
    """
    try:
        content = content_hash(record.path)
    except OSError as error:
        raise UnreadableVideoError(record.path, f"cannot be read ({error})") from error
    return folder / f"{record.id}.{content[:16]}.npy"


def _store(target: Path, source: Path, size: int | tuple[int, int]) -> None:
    info = probe(source)
    total = info.frames
    header = {"descr": "|u1", "fortran_order": False, "shape": (total, *_pair(size), 3)}
    # Written, not mapped: a full disk is then an error, and not the end of the process.
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for frames in read_chunks(source, _CHUNK, info=info):
            file.write(resize_and_crop(frames, size).numpy().data)


def _check(folder: Path, size: int | tuple[int, int]) -> None:
    if not (folder / SETTINGS).is_file():
        raise ValueError(
            f"{folder} has no {SETTINGS}: it is no cache; build one with `parvideo data ... --cache`"
        )
    settings = read_json(folder / SETTINGS)
    if isinstance(settings, dict) and settings.get("format") == 1:
        raise ValueError(
            f"{folder} is a cache of an earlier parvideo, which knew a video by its size in bytes alone; "
            "build another with `parvideo data ... --cache`, and remove this one"
        )
    check_settings(folder, settings, {"format": FORMAT, "size": _pair(size)}, "a cache")


def _pair(size: int | tuple[int, int]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)

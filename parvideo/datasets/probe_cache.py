"""Looking into many videos at once, and only into those that were touched since the last look."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from parvideo.datasets.metadata_cache import kept
from parvideo.datasets.probing import probe
from parvideo.datasets.video_info import UnreadableVideoError, VideoInfo

_VERSION = 1  # of what probe finds out; another rule needs another number


def look_into(paths: Sequence[Path], workers: int = 4) -> list[VideoInfo | UnreadableVideoError]:
    """What :func:`probe` says of each file, or why it cannot be read.

    What was said is kept (:mod:`parvideo.datasets.metadata_cache`), so that another start does not open the
    files again, for as long as their size, times and inode are the same.

    Args:
        paths: of the files.
        workers: files looked into at once; decoders work outside Python's lock.
    """
    failures: dict[str, UnreadableVideoError] = {}

    def find_out(path: Path) -> str | None:
        try:
            return json.dumps(asdict(probe(path)))
        except UnreadableVideoError as error:
            failures[str(path)] = error
            return None

    kind = f"video {_VERSION}, PyAV {version('av')}, Pillow {version('pillow')}"
    found: list[VideoInfo | UnreadableVideoError] = []
    for path, text in zip(paths, kept(kind, paths, find_out, workers), strict=True):
        if text is not None:
            found.append(VideoInfo(**json.loads(text)))
        else:
            failure = failures[os.path.abspath(path)]
            found.append(UnreadableVideoError(path, failure.reason))
    return found

"""The identity of videos: what is in the files, whatever they are called and whenever they were copied.

Tokens, cached frames and reference features are recognised by it.
"""

from collections.abc import Sequence
from pathlib import Path

from parvideo.datasets.metadata_cache import kept
from parvideo.datasets.videos import VideoList
from parvideo.files import sha256_file, sha256_json

UNREADABLE = "unreadable"
"""Stands for the checksum of a file that cannot be read."""


def identity(videos: VideoList) -> str:
    """One checksum of a list of videos: their ids, labels and contents in order, and the class names."""
    hashes = content_hashes([record.path for record in videos.records])
    rows = [
        [record.id, record.label, content] for record, content in zip(videos.records, hashes, strict=True)
    ]
    return sha256_json({"videos": rows, "classes": videos.class_names})


def content_hash(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, computed once for as long as the file is not touched.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no file.
    """
    found = content_hashes([path])[0]
    return sha256_file(path) if found == UNREADABLE else found  # which raises what keeps it from being read


def content_hashes(paths: Sequence[Path], workers: int = 4) -> list[str]:
    """The checksums of many files; ``UNREADABLE`` for those that cannot be read.

    Args:
        paths: of the files.
        workers: files read at once; checksums are made outside Python's lock.
    """
    return [found or UNREADABLE for found in kept("sha256", paths, _read, workers)]


def _read(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except (OSError, ValueError):  # gone, or a pipe, on which reading could wait for ever
        return None

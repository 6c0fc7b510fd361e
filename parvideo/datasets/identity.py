"""The identity of videos: what is in the files, whatever they are called and whenever they were copied.

Tokens, cached frames and reference features are recognised by it. The checksum of a file is kept in the
user's cache folder with the file's size, times and inode, so that a second start reads no file again.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from parvideo.datasets.videos import VideoList
from parvideo.files import cache_folder, sha256_file, sha256_json

UNREADABLE = "unreadable"
"""Stands for the checksum of a file that cannot be read."""

_SETTLED = 2_000_000_000
"""Nanoseconds after which a file's times would show another change: FAT counts in steps of two seconds."""
_SELECT = "SELECT stamp, sha256 FROM files WHERE path = ?"
_AT_ONCE = 256  # checksums lost at most when a process is killed

log = logging.getLogger(__name__)


def identity(videos: VideoList) -> str:
    """One checksum of a list of videos: their ids, labels and contents in order, and the class names."""
    hashes = content_hashes([record.path for record in videos.records])
    rows = [
        [record.id, record.label, content] for record, content in zip(videos.records, hashes, strict=True)
    ]
    return sha256_json({"videos": rows, "classes": videos.class_names})


def content_hash(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, computed once for as long as the file is not touched.

    Cheap for a file that one process asks for again and again.

    Raises:
        OSError: if the file cannot be read.
    """
    found = content_hashes([path])[0]
    return sha256_file(path) if found == UNREADABLE else found  # which raises what keeps it from being read


def content_hashes(paths: Sequence[Path], workers: int = 4) -> list[str]:
    """The checksums of many files; ``UNREADABLE`` for those that cannot be read.

    Args:
        paths: of the files.
        workers: files read at once.
    """
    names = [os.path.abspath(path) for path in paths]
    stamps = {name: _stamp(name) for name in names}
    hashes = {
        name: known[1]
        for name, stamp in stamps.items()
        if (known := _seen.get(name)) is not None and known[0] == stamp
    }
    if len(hashes) < len(stamps):
        hashes |= _look_up({name: stamp for name, stamp in stamps.items() if name not in hashes})
    unknown = [(name, stamp) for name, stamp in stamps.items() if name not in hashes]
    with (
        ThreadPoolExecutor(workers) as pool,  # checksums are made outside Python's lock
        tqdm(total=len(unknown), desc="checksums", unit="file", disable=None, delay=2) as bar,
    ):
        for start in range(0, len(unknown), _AT_ONCE):
            part = unknown[start : start + _AT_ONCE]
            made = list(pool.map(_read, [name for name, _ in part]))
            now = time.time_ns()
            rows = []
            for (name, stamp), content in zip(part, made, strict=True):
                hashes[name] = content
                # Not kept: what changed while it was read, or may change again within a tick of its clock.
                if content != UNREADABLE and stamp == _stamp(name) and now - _changed(stamp) > _SETTLED:
                    rows.append((os.fsencode(name), stamp, content))
                    _seen[name] = (stamp, content)
            _keep(rows)
            bar.update(len(part))
    return [hashes[name] for name in names]


_seen: dict[str, tuple[str, str]] = {}
"""This process's own copy of what is kept: absolute path -> stamp and checksum."""


def _look_up(stamps: dict[str, str]) -> dict[str, str]:
    """The kept checksums of files that have not been touched since."""
    hashes = {}
    with _store() as store, contextlib.suppress(sqlite3.Error):  # a damaged store knows nothing
        if store is not None:
            for name, stamp in stamps.items():
                row = store.execute(_SELECT, (os.fsencode(name),)).fetchone()
                if row is not None and row[0] == stamp:
                    hashes[name] = row[1]
                    _seen[name] = (stamp, row[1])
    return hashes


def _stamp(name: str) -> str:
    """What changes when a file is written or replaced; empty if there is none.

    The time of change (ctime) is beyond the reach of programs that copy a file with its old times.
    """
    try:
        found = os.stat(name)
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _changed(stamp: str) -> int:
    return max(map(int, stamp.split()[1:3]))


def _read(name: str) -> str:
    try:
        return sha256_file(Path(name))
    except (OSError, ValueError):  # a pipe is no file
        return UNREADABLE


@contextlib.contextmanager
def _store() -> Iterator[sqlite3.Connection | None]:
    """The kept checksums; None where they cannot be kept, which costs time and nothing else."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        store = sqlite3.connect(folder / "checksums.sqlite", timeout=60)
    except (OSError, sqlite3.Error) as error:
        log.info("checksums are not kept: %s cannot be written (%s)", folder, error)
        yield None
        return
    try:
        try:
            with store:
                store.execute(
                    "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, stamp TEXT, sha256 TEXT)"
                )
        except sqlite3.Error as error:
            log.info("checksums are not kept: %s (%s)", folder, error)
            yield None
        else:
            yield store
    finally:
        store.close()


def _keep(rows: list[tuple[bytes, str, str]]) -> None:
    with _store() as store:
        if store is None or not rows:
            return
        try:
            with store:
                store.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            log.info("checksums are not kept: %s", error)

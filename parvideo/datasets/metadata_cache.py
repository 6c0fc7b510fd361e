"""What is costly to find out about a file, kept for as long as the file is not touched.

Facts lie in the user's cache folder, beside the size, times and inode that the file had. Where nothing can be
kept (a read-only home), each start finds out anew, and nothing else changes.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from parvideo.files import cache_folder
from parvideo.progress import Progress

_SETTLED = 2_000_000_000
"""Nanoseconds after which a file's times would show another change: FAT counts in steps of two seconds."""
_AT_ONCE = 256  # facts lost at most when a process is killed
_SELECT = "SELECT stamp, value FROM facts WHERE kind = ? AND path = ?"

_seen: dict[tuple[str, str], tuple[str, str]] = {}
"""This process's own copy: kind and absolute path -> stamp and value."""

log = logging.getLogger(__name__)


def kept(
    kind: str, paths: Sequence[Path], find_out: Callable[[Path], str | None], workers: int = 4
) -> list[str | None]:
    """What ``find_out`` says of each file, asked only for files that were touched since it last said so.

    Cheap for a file that one process asks about again and again.

    Args:
        kind: name of the fact, with a version: another way to find out needs another name.
        paths: of the files.
        find_out: gives the fact as text, or None where there is none, which is not kept; called from threads.
        workers: files looked into at once.

    Raises:
        Exception: what ``find_out`` raises.
    """
    names = [os.path.abspath(path) for path in paths]
    stamps = {name: _stamp(name) for name in names}
    values: dict[str, str | None] = {
        name: _seen[kind, name][1]
        for name, stamp in stamps.items()
        if _seen.get((kind, name), ("",))[0] == stamp
    }
    if len(values) < len(stamps):
        values |= _look_up(kind, {name: stamp for name, stamp in stamps.items() if name not in values})
    unknown = [(name, stamp) for name, stamp in stamps.items() if name not in values]
    if not unknown:
        return [values[name] for name in names]
    with (
        ThreadPoolExecutor(workers) as pool,
        Progress(title=f"looking into files ({kind})", unit="file", total=len(unknown), delay=2) as bar,
    ):
        for start in range(0, len(unknown), _AT_ONCE):
            part = unknown[start : start + _AT_ONCE]
            made = list(pool.map(find_out, [Path(name) for name, _ in part]))
            now = time.time_ns()
            rows = []
            for (name, stamp), value in zip(part, made, strict=True):
                values[name] = value
                # Not kept: what changed while it was read, or may change again within a tick of its clock.
                if value is not None and stamp == _stamp(name) and now - _changed(stamp) > _SETTLED:
                    rows.append((kind, os.fsencode(name), stamp, value))
                    _seen[kind, name] = (stamp, value)
            _keep(rows)
            bar.update(len(part))
    return [values[name] for name in names]


def _stamp(name: str) -> str:
    """What changes when a file is written or replaced; "none" if there is no file.

    The time of change (ctime) is beyond the reach of programs that copy a file with its old times.
    """
    try:
        found = os.stat(name)
    except OSError:
        return "none"
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _changed(stamp: str) -> int:
    return time.time_ns() if stamp == "none" else max(map(int, stamp.split()[1:3]))


def _look_up(kind: str, stamps: dict[str, str]) -> dict[str, str]:
    """The kept facts of files that have not been touched since."""
    values = {}
    with _store() as store, contextlib.suppress(sqlite3.Error):  # a damaged store knows nothing
        if store is not None:
            for name, stamp in stamps.items():
                row = store.execute(_SELECT, (kind, os.fsencode(name))).fetchone()
                if row is not None and row[0] == stamp:
                    values[name] = row[1]
                    _seen[kind, name] = (stamp, row[1])
    return values


def _keep(rows: list[tuple[str, bytes, str, str]]) -> None:
    if not rows:
        return
    with _store() as store:
        if store is not None:
            try:
                with store:
                    store.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)
            except sqlite3.Error as error:
                log.info("nothing is kept of files: %s", error)


@contextlib.contextmanager
def _store() -> Iterator[sqlite3.Connection | None]:
    """The kept facts; None where they cannot be kept."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        store = sqlite3.connect(folder / "files.sqlite", timeout=60)
    except (OSError, sqlite3.Error) as error:
        log.info("nothing is kept of files: %s cannot be written (%s)", folder, error)
        yield None
        return
    try:
        try:
            with store:
                store.execute(
                    "CREATE TABLE IF NOT EXISTS facts "
                    "(kind TEXT, path BLOB, stamp TEXT, value TEXT, PRIMARY KEY (kind, path))"
                )
        except sqlite3.Error as error:
            log.info("nothing is kept of files: %s (%s)", folder, error)
            yield None
        else:
            yield store
    finally:
        store.close()

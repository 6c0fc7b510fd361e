"""What timing found out, kept in the user's cache folder so that every run on a machine chooses alike.

Kernels differ in rounding. If each process timed for itself, two runs with one seed could choose
differently, and in the last bits compute differently; so what was found first is what all later ones, and
those that run at the same time, go by.
"""

import json
import logging
import math
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from parvideo.files import cache_folder

Times = dict[str, float]
"""Way -> seconds a call; empty where there was no time to find out, which later runs go by as well."""

FILENAME = "timings.sqlite"
_TABLE = "CREATE TABLE IF NOT EXISTS timings (key TEXT PRIMARY KEY, times TEXT NOT NULL)"
_PUT = "INSERT OR REPLACE INTO timings VALUES (?, ?)"

log = logging.getLogger(__name__)


def timings_path() -> Path:
    """The file; removing it has everything timed anew."""
    return cache_folder() / FILENAME


def look_up(asked: Mapping[str, Collection[str]]) -> dict[str, Times]:
    """The kept times of those keys that have any; ``asked`` says which ways there are for each.

    What is damaged, or about other ways, is not trusted: it counts as not kept.
    """
    try:
        with _store() as store:
            return {
                key: times for key, ways in asked.items() if (times := _get(store, key, ways)) is not None
            }
    except (OSError, sqlite3.Error) as error:
        log.info("no timings were kept: %s (%s)", timings_path(), error)
        return {}


def keep(found: Mapping[str, Times], asked: Mapping[str, Collection[str]]) -> dict[str, Times]:
    """Keep what was found, and return what counts: where another process was first, what that one found.

    Args:
        found: key -> times.
        asked: as of `look_up`.
    """
    for _ in range(2):
        try:
            with _store() as store:
                store.execute("BEGIN IMMEDIATE")  # others wait, and then see what stands
                counts = {}
                for key, times in found.items():
                    standing = _get(store, key, asked[key])
                    counts[key] = times if standing is None else standing
                    if standing is None:
                        store.execute(_PUT, (key, json.dumps(times)))
                store.commit()
                return counts
        except sqlite3.OperationalError as error:  # locked for long, a full disk, a read-only folder
            reason: Exception = error
            break
        except sqlite3.DatabaseError as error:  # no database, or a broken one: it holds nothing of worth
            reason = error
            log.warning("%s is damaged (%s); it is made anew", timings_path(), error)
            try:
                timings_path().unlink(missing_ok=True)
            except OSError as failure:
                reason = failure
                break
        except OSError as error:
            reason = error
            break
    log.warning(
        "timings of kernels cannot be kept in %s (%s): another run may choose other kernels and differ in "
        "rounding; engine='cpu_packed' does not choose by timing",
        timings_path(),
        reason,
    )
    return dict(found)


@contextmanager
def _store() -> Iterator[sqlite3.Connection]:
    timings_path().parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(timings_path(), timeout=60, isolation_level=None)) as store:
        store.execute(_TABLE)
        yield store


def _get(store: sqlite3.Connection, key: str, ways: Collection[str]) -> Times | None:
    row = store.execute("SELECT times FROM timings WHERE key = ?", (key,)).fetchone()
    try:
        times = json.loads(row[0]) if row is not None else None
    except (TypeError, ValueError, RecursionError):
        return None
    if not isinstance(times, dict) or (times and set(times) != set(ways)):
        return None
    sound = all(isinstance(t, float) and math.isfinite(t) and t > 0 for t in times.values())
    return times if sound else None

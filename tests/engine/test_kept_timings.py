"""Timings: the first to be kept count; what is damaged or about other ways is not trusted."""

import json
import sqlite3
from pathlib import Path

import pytest

from parvideo.engine.kept_timings import keep, look_up, timings_path

ASKED = {"down": ["plain", "packed"], "qkv": ["plain", "packed"]}
FOUND = {"plain": 2e-3, "packed": 1e-3}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARVIDEO_CACHE", str(tmp_path))


def test_what_was_found_first_counts_for_all() -> None:
    assert look_up(ASKED) == {}
    assert keep({"down": FOUND, "qkv": {}}, ASKED) == {"down": FOUND, "qkv": {}}
    other = {"plain": 1e-3, "packed": 2e-3}
    assert keep({"down": other, "qkv": other}, ASKED) == {"down": FOUND, "qkv": {}}  # as of another process
    assert look_up(ASKED) == {"down": FOUND, "qkv": {}}


DAMAGED = [
    "",
    "null",
    "[]",
    '{"plain": 1.0}',
    '{"plain": 1, "packed": "x"}',
    '{"plain": -1.0, "packed": 1.0}',
    '{"plain": NaN, "packed": 1.0}',
    '{"plain": 1.0, "packed": 2.0, "native": 1e-9}',
    "[" * 100_000,
]


@pytest.mark.parametrize("damaged", DAMAGED, ids=range(len(DAMAGED)))
def test_what_is_not_sound_is_not_trusted_and_made_anew(damaged: str) -> None:
    keep({"down": FOUND}, ASKED)
    with sqlite3.connect(timings_path()) as store:
        store.execute("UPDATE timings SET times = ?", (damaged,))
    assert look_up(ASKED) == {}
    assert keep({"down": FOUND}, ASKED) == {"down": FOUND}
    assert look_up(ASKED) == {"down": FOUND}


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(90)])
def test_a_file_that_is_no_database_is_made_anew(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    timings_path().write_bytes(content)
    assert look_up(ASKED) == {}
    assert keep({"down": FOUND}, ASKED) == {"down": FOUND}
    assert look_up(ASKED) == {"down": FOUND}
    assert "damaged" in caplog.text


def test_where_nothing_can_be_kept_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    timings_path().mkdir(parents=True)
    assert look_up(ASKED) == {}
    assert keep({"down": FOUND}, ASKED) == {"down": FOUND}
    assert "cannot be kept" in caplog.text
    assert "cpu_packed" in caplog.text


def test_times_are_plain_to_read() -> None:
    keep({"down": FOUND}, ASKED)
    with sqlite3.connect(timings_path()) as store:
        rows = store.execute("SELECT key, times FROM timings").fetchall()
    assert [(key, json.loads(times)) for key, times in rows] == [("down", FOUND)]

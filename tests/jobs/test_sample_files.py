"""Sample files: what is shown of many clips, what a killed run leaves, and the end by a signal."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parvideo.jobs.sample_files import Clips, exit_on_sigterm, remove_partial_files


def clips(subjects: int, num: int, names: list[str] | None = None) -> Clips:
    anything: Any = SimpleNamespace()
    names = names or [str(subject) for subject in range(subjects)]
    return Clips(list(range(subjects)), names, num, anything, None, 1, None, 8.0, anything)


@pytest.mark.parametrize(
    ("subjects", "num", "most"), [(3, 4, 6), (10, 5, 4), (2, 1, 64), (1, 9, 5), (3, 3, 0)]
)
def test_shown_clips_cover_the_subjects_evenly(subjects: int, num: int, most: int) -> None:
    made = clips(subjects, num)
    shown = made.shown(most)
    assert len(shown) == len(set(shown)) <= most
    assert set(shown) <= set(range(len(made)))
    counts = [sum(index // num == subject for index in shown) for subject in range(subjects)]
    assert len({count for count in counts if count}) <= 1
    if most >= subjects:
        assert all(counts)


def test_a_videos_name_fits_a_file_system(tmp_path: Path) -> None:
    path = clips(1, 2, ["a/b" + "ü" * 300]).video(tmp_path, 1)
    assert path.parent == tmp_path
    assert len(os.fsencode(path.name)) < 200
    path.touch()


def test_only_half_written_files_are_removed(tmp_path: Path) -> None:
    kept = {"clips-00000.npz", "00000-A.mp4", ".hidden.json", "sample.json"}
    for name in kept | {".clips-00001-abcdefgh.npz", ".00001-A-abcdefgh.mp4", ".contact-sheet-x.webp"}:
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_signal_to_end_runs_what_tidies_up() -> None:
    before, tidied = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with exit_on_sigterm():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                tidied.append(True)

    with pytest.raises(SystemExit) as leaving:
        work()
    assert (leaving.value.code, tidied) == (128 + signal.SIGTERM, [True])
    assert signal.getsignal(signal.SIGTERM) is before

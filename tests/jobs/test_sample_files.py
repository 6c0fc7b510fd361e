"""Sample files: what is shown of many clips, what a killed run leaves, and the end by a signal."""

import gc
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from parvideo.jobs.sample_files import Clips, exit_on_sigterm, remove_partial_files
from parvideo.pipeline import VideoPipeline
from tests.jobs.cases import arrays, contents, sample


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


def test_what_a_killed_run_left_is_put_right(generator_folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"num": 4, "clips_per_file": 5, "batch_size": 5}
    sample(generator_folder, tmp_path, **settings)
    before = contents(tmp_path)
    (tmp_path / "00007-Bowling.mp4").unlink()
    (tmp_path / "contact-sheet.webp").unlink()
    (tmp_path / ".clips-00001-ab12.npz").write_bytes(b"half")
    sample(generator_folder, tmp_path, **settings)
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


def test_sigterm_leaves_no_half_written_file(
    generator_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGTERM)

    def stopped(path: Path, **arrays: np.ndarray) -> None:
        Path(path).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", stopped)
        with pytest.raises(SystemExit) as leaving:
            sample(generator_folder, tmp_path)
    assert leaving.value.code == 143
    assert {path.name for path in tmp_path.iterdir()} == {"sample.json", "clips.json"}
    assert signal.getsignal(signal.SIGTERM) == handler
    sample(generator_folder, tmp_path)
    assert len(arrays(tmp_path)) == 1


def test_previews_are_spread_and_may_be_added_later(generator_folder: Path, tmp_path: Path) -> None:
    def filmed() -> list[str]:
        return sorted(path.name for path in tmp_path.glob("*.mp4"))

    sample(generator_folder, tmp_path, num=4, previews=0)
    assert filmed() == []
    assert (tmp_path / "contact-sheet.webp").is_file()
    sample(generator_folder, tmp_path, num=4, previews=2)
    assert filmed() == ["00000-Archery.mp4", "00004-Bowling.mp4"]
    sample(generator_folder, tmp_path, num=4, previews=7)
    assert [name[:5] for name in filmed()] == ["00000", "00001", "00004", "00005", "00008", "00009"]
    sample(generator_folder, tmp_path, num=4)
    assert len(filmed()) == 12


def test_the_batch_is_halved_when_cuda_runs_out(
    generator_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sample(generator_folder, tmp_path / "whole", num=3, clips_per_file=4, batch_size=2)
    sizes = []
    make = Clips.make

    def short(self: Clips, pipeline: VideoPipeline, indices: Sequence[int], bar: Any) -> torch.Tensor:
        sizes.append(len(indices))
        if len(indices) > 2:
            bar.update(0.5)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return make(self, pipeline, indices, bar)

    monkeypatch.setattr(Clips, "make", short)
    sample(generator_folder, tmp_path / "short", num=3, clips_per_file=4, batch_size=8)
    assert sizes == [8, 4, 2, 2, 2, 2, 1]
    assert "generating 2 clips" in capsys.readouterr().err
    for a, b in zip(arrays(tmp_path / "whole"), arrays(tmp_path / "short"), strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_clips_in_memory_do_not_grow_with_their_number(
    generator_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, held = VideoPipeline.decode, 0

    def counting(*arguments: Any) -> torch.Tensor:
        nonlocal held
        made = decode(*arguments)
        clips = [t for t in gc.get_objects() if type(t) is torch.Tensor and t.shape[-4:] == made.shape[1:]]
        sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in clips}
        held = max(held, sum(sizes.values()) // made[0].nbytes)
        return made

    monkeypatch.setattr(VideoPipeline, "decode", counting)
    most = []
    for num in (4, 12):
        gc.collect()  # what earlier tests left
        held = 0
        sample(generator_folder, tmp_path / str(num), num=num, clips_per_file=4, batch_size=4, previews=2)
        most.append(held)
    assert most[0] == most[1] <= 2 * 4  # two files' clips; there are 12 and 36 in all

"""Files of clips: what they hold is checked before any clip is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.npyio import NpzFile

from parvideo.evaluation.sources import SavedClips


def clip_file(path: Path, **arrays: Any) -> Path:
    clips = np.random.default_rng(0).integers(0, 256, (3, 9, 32, 32, 3), dtype=np.uint8)
    np.savez_compressed(path, **{"clips": clips, **arrays})
    return path


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.array([0.0, 1.0, 1.0])}, "labels is float64"),
        ({"labels": np.array([0, np.nan, 1])}, "labels is float64"),
        ({"labels": np.array([[0], [1], [0]])}, r"labels is int64 \[3, 1\]"),
        ({"labels": np.array([True, False, True])}, "labels is bool"),
        ({"labels": np.array([0, 1])}, r"labels is int64 \[2\]"),
        ({"labels": np.array(0)}, r"labels is int64 \[\]"),
        ({"labels": np.array([0, 1, 2])}, r"labels holds 2; labels lie in 0..1 \(or -1, unknown\)"),
        ({"labels": np.array([0, -2, 1])}, "labels holds -2"),
        ({"labels": np.array(["a", "b", "c"])}, "labels is <U1"),
        ({"indices": np.array([0.0, 1.0, 2.0])}, "indices is float64"),
        ({"indices": np.array([-1, 0, 1])}, "indices holds -1"),
        ({"indices": np.array([0, 1, 2**63], np.uint64)}, "indices holds 9223372036854775808"),
        ({"indices": np.array([4, 4, 5])}, "repeats index 4"),
        ({"clips": np.zeros((0, 9, 32, 32, 3), np.uint8)}, "holds no clip"),
        ({"clips": np.zeros((3, 9, 32, 32, 3), bool)}, "holds bool"),
    ],
)
def test_labels_and_indices_of_arrays_are_checked(tmp_path: Path, arrays: Any, message: str) -> None:
    path = clip_file(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=message) as raised:
        SavedClips(tmp_path, class_count=2)
    assert str(path) in str(raised.value)


def test_whole_numbers_of_any_type_are_labels(tmp_path: Path) -> None:
    clip_file(
        tmp_path / "a.npz", labels=np.array([1, -1, 0], np.int8), indices=np.array([7, 5, 6], np.uint64)
    )
    (batch,) = SavedClips(tmp_path, class_count=2).batches([5, 6, 7], 3)
    assert batch.labels.tolist() == [-1, 0, 1]


def test_clips_are_counted_without_being_decompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip_file(tmp_path / "a.npz", labels=np.array([0, 1, 0]))
    seen: list[str] = []
    get = NpzFile.__getitem__
    monkeypatch.setattr(NpzFile, "__getitem__", lambda file, name: seen.append(name) or get(file, name))
    source = SavedClips(tmp_path)
    assert len(source.ids) == 3
    assert seen == ["labels"]
    next(source.batches([0], 1))
    assert seen == ["labels", "clips"]

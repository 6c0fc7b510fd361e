"""Arrays on disk: whatever is wrong with the file, one sentence names it."""

import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from parvideo.arrays import read_npy, read_npz


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "clips.npz"
    rng = np.random.default_rng(0)
    np.savez_compressed(path, clips=rng.integers(0, 256, (4, 999), dtype=np.uint8), labels=np.arange(4))
    return path


def test_arrays_come_back(npz: Path) -> None:
    found = read_npz(str(npz), ["clips"], ["labels", "indices"])
    assert found.keys() == {"clips", "labels"}
    assert found["clips"].shape == (4, 999)
    np.save(npz.with_suffix(".npy"), found["clips"])
    for mapped in (False, True):
        assert np.array_equal(read_npy(npz.with_suffix(".npy"), mapped), found["clips"])


def test_another_machines_byte_order_and_fortrans_axes_are_the_same_numbers(tmp_path: Path) -> None:
    array = np.arange(6, dtype=">i8").reshape(2, 3)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    np.savez(tmp_path / "a.npz", labels=array)
    for found in (read_npy(tmp_path / "a.npy"), read_npz(tmp_path / "a.npz", ["labels"])["labels"]):
        assert found.dtype == np.int64
        assert found.tolist() == array.tolist()


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_named(npz: Path, part: float) -> None:
    whole = npz.read_bytes()
    npz.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match="clips.npz"):
        read_npz(npz, ["clips"])
    np.save(npz.with_suffix(".npy"), np.zeros(999))
    whole = npz.with_suffix(".npy").read_bytes()
    npz.with_suffix(".npy").write_bytes(whole[: int(part * len(whole))])
    for mapped in (False, True):
        with pytest.raises(ValueError, match="clips.npy"):
            read_npy(npz.with_suffix(".npy"), mapped)


def test_a_damaged_file_is_named_wherever_the_damage_is(npz: Path) -> None:
    whole = npz.read_bytes()
    for place in range(0, len(whole), 29):
        npz.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):  # alone; some places hold nothing that counts
            read_npz(npz, ["clips", "labels"])


def test_python_objects_are_not_loaded(tmp_path: Path) -> None:
    ragged = np.array([np.zeros(2), None], dtype=object)
    np.save(tmp_path / "a.npy", ragged)
    np.savez(tmp_path / "a.npz", clips=ragged)
    with pytest.raises(ValueError, match="a.npy holds Python objects"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="a.npz holds Python objects"):
        read_npz(tmp_path / "a.npz", ["clips"])


def test_other_files_under_the_name_are_told(tmp_path: Path) -> None:
    (tmp_path / "page.npy").write_text("<!DOCTYPE html>")
    np.save(tmp_path / "swapped.npy", np.zeros(3))
    (tmp_path / "swapped.npy").rename(tmp_path / "swapped.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("clips", "no array")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(3))
        archive.writestr("videos.npy", buffer.getvalue())
    with pytest.raises(ValueError, match="page.npy"):
        read_npy(tmp_path / "page.npy")
    for name in ("swapped", "text"):
        with pytest.raises(ValueError, match=f"{name}.npz"):
            read_npz(tmp_path / f"{name}.npz", ["clips"])
    with pytest.raises(ValueError, match="other.npz.* no array `clips`; it has videos"):
        read_npz(tmp_path / "other.npz", ["clips"])


def test_a_header_that_promises_more_than_memory_holds_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3)))
    path.write_bytes(path.read_bytes().replace(b"(2, 3)", b"(2,8**9"[:6]))
    with pytest.raises(ValueError, match="a.npy"):
        read_npy(path)
    np.save(path, np.zeros((11111111, 0, 33333333)))
    path.write_bytes(path.read_bytes().replace(b"(11111111, 0, 33333333)", b"(11111111, 9, 33333333)"))
    with pytest.raises(ValueError, match="a.npy"):
        read_npy(path)


def test_folders_and_missing_files_are_errors_of_files(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_npz(tmp_path, ["clips"])
    with pytest.raises(FileNotFoundError):
        read_npy(tmp_path / "none.npy")

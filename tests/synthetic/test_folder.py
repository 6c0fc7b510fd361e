"""Folders of synthetic videos are completed, and others left alone."""

from pathlib import Path

import pytest

from parvideo.datasets.videos import load_videos
from parvideo.synthetic.shapes import (
    ShapesSettings,
    write_shapes_data,
)

SETTINGS = ShapesSettings(num_classes=3, groups=4, clips_per_group=2, frames=30)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "toy"
    write_shapes_data(path, SETTINGS)
    return path


def test_an_interrupted_folder_is_completed(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "toy"
    write_shapes_data(out, SETTINGS)
    videos = list(SETTINGS.videos())
    kept = (out / videos[0]).stat().st_mtime_ns
    (out / videos[5]).unlink()
    (out / videos[9]).parent.joinpath(".v_half-x.avi").write_bytes(b"left by a killed run")
    write_shapes_data(out, SETTINGS)
    assert (out / videos[0]).stat().st_mtime_ns == kept
    assert all((out / name).read_bytes() == (root / name).read_bytes() for name in videos)
    assert len(load_videos(out, "all")) == len(videos)


def test_another_setting_or_a_foreign_folder_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed .0, now 7"):
        write_shapes_data(root, ShapesSettings(num_classes=3, groups=4, clips_per_group=2, frames=30, seed=7))
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="holds other files"):
        write_shapes_data(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match="groups is 1"):
        ShapesSettings(groups=1)
    with pytest.raises(ValueError, match="even"):
        ShapesSettings(height=33)

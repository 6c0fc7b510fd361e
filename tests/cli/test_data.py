"""`parvideo data ucf101`: a summary, a manifest, and a failure when something is wrong."""

import json
from pathlib import Path

import pytest

from parvideo.cli.data import data
from parvideo.synthetic.shapes import ShapesSettings, write_shapes_data


def test_it_says_what_is_there_and_fails_when_something_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "toy"
    write_shapes_data(root, ShapesSettings(2, 3, 2, frames=26))
    data("ucf101", root=root, frames=9)
    out = capsys.readouterr().out
    assert "12 videos of 2 of 2 classes, 6 to 6 a class" in out
    assert "64x48 pixels; 25 frames a second; 26 to 26 frames" in out
    manifest = json.loads((root / "manifest.json").read_text())
    assert (len(manifest["videos"]), manifest["problems"]) == (12, [])
    assert f"data {manifest['hash'][:12]}" in out

    next(root.glob("GreenDiscLeft/*.avi")).write_bytes(b"")
    with pytest.raises(ValueError, match="has problems: 1 videos cannot be read: GreenDiscLeft/v_"):
        data("ucf101", root=root, frames=9)
    assert len(json.loads((root / "manifest.json").read_text())["unreadable"]) == 1


def test_an_absent_folder_says_where_to_get_the_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"www\.crcv\.ucf\.edu"):
        data("ucf101", root=tmp_path / "absent")


def test_a_manifest_that_cannot_be_written_is_told_before_the_videos_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "toy"
    write_shapes_data(root, ShapesSettings(2, 3, 2, frames=26))
    for target in (root, root / "ucfTrainTestlist" / "classInd.txt" / "manifest.json"):
        with pytest.raises((IsADirectoryError, NotADirectoryError)):
            data("ucf101", root=root, frames=9, manifest=target)
    assert "videos" not in capsys.readouterr().out

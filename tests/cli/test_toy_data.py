"""`parvideo toy-data`: writes a set, says so, and completes it when called again."""

import json
from pathlib import Path
from typing import Literal

import pytest

from parvideo.cli.toy_data import toy_data
from parvideo.datasets.reading import read_frames
from parvideo.datasets.videos import load_videos


def test_it_writes_the_set_and_goes_on_after_an_interruption(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "toy"
    toy_data(out, num_classes=2, groups=2, clips_per_group=1, frames=5)
    assert capsys.readouterr().out == f"4 videos of 2 classes in {out}\n"
    assert (len(load_videos(out, "train")), len(load_videos(out, "test"))) == (2, 2)
    next(out.glob("RedSquareRight/*.avi")).unlink()
    toy_data(out, num_classes=2, groups=2, clips_per_group=1, frames=5)
    assert len(load_videos(out, "all")) == 4
    with pytest.raises(ValueError, match="frames .5, now 6"):
        toy_data(out, num_classes=2, groups=2, clips_per_group=1, frames=6)


@pytest.mark.parametrize(("preset", "name"), [("demo", "shapes"), ("bench", "objects")])
def test_a_set_has_two_names(
    tmp_path: Path, preset: Literal["demo", "bench"], name: Literal["shapes", "objects"]
) -> None:
    for asked in (preset, name):  # the second call finds the first one's set complete, or would refuse it
        toy_data(tmp_path, preset=asked, num_classes=1, groups=2, clips_per_group=1, frames=5)
    written = json.loads((tmp_path / "toy_data.json").read_text())
    assert written.get("preset", "demo") == preset


def test_the_objects_set_may_have_a_plain_background_and_the_shapes_set_not(tmp_path: Path) -> None:
    toy_data(
        tmp_path / "plain", preset="bench", num_classes=1, groups=2, clips_per_group=1, frames=5, contrast=0
    )
    frames = read_frames(next((tmp_path / "plain").glob("*/*.avi")), range(1))
    corner = frames[0, :8, :8].float()
    assert float(corner.std(dim=(0, 1)).max()) < 2  # MPEG-4's error alone
    with pytest.raises(ValueError, match="only the objects set"):
        toy_data(tmp_path / "demo", contrast=0.5)

"""`parvideo toy-data`: writes a set, says so, and completes it when called again."""

from pathlib import Path

import pytest

from parvideo.commands.toy_data import toy_data
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
    with pytest.raises(ValueError, match="frames 5 and not 6"):
        toy_data(out, num_classes=2, groups=2, clips_per_group=1, frames=6)

"""`parvideo evaluate`, `fvd-stats` and `compare-reports`: a report as a file and as a table."""

from pathlib import Path

import numpy as np
import pytest

from parvideo.cli import main
from parvideo.files import read_json
from parvideo.metrics.extractors.small_i3d import SmallI3D, SmallI3DExtractor


def test_from_videos_to_reports_that_compare_or_do_not(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SmallI3DExtractor(SmallI3D(2, width=1), frames=9, size=16).save(tmp_path / "net")
    real = ["--real", str(toy_folder), "--features", str(tmp_path / "net"), "--workers", "0"]
    form = ["--frames", "9", "--size", "16", "--real-count", "0", "--fake-count", "6"]
    for name in "ab":
        (tmp_path / name).mkdir()
        clips = np.random.default_rng(ord(name)).integers(0, 256, (6, 9, 16, 16, 3), dtype=np.uint8)
        np.save(tmp_path / name / "clips.npy", clips)
        clips_of = ["--clips", str(tmp_path / name), "--out", str(tmp_path / f"{name}.json")]
        assert main(["evaluate", *real, *form, *clips_of]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith("FVD ")
        assert shown.strip() == (tmp_path / f"{name}.txt").read_text().strip()
    assert main(["fvd-stats", *real, *form, "--out", str(tmp_path / "ref.npz")]) == 0
    assert str(tmp_path / "ref.npz") in capsys.readouterr().out
    again = ["--clips", str(tmp_path / "b"), "--reference", str(tmp_path / "ref.npz")]
    assert main(["evaluate", *real, *form, *again, "--out", str(tmp_path / "c.json")]) == 0
    assert read_json(tmp_path / "c.json")["fvd"] == pytest.approx(read_json(tmp_path / "b.json")["fvd"])
    assert not (tmp_path / "c-features/real-0").exists()
    capsys.readouterr()
    assert main(["compare-reports", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert "a.json" in capsys.readouterr().out
    other = ["--clips", str(tmp_path / "a"), "--out", str(tmp_path / "d.json"), "--stride", "2"]
    assert main(["evaluate", *real, *form, *other]) == 0
    assert main(["compare-reports", str(tmp_path / "a.json"), str(tmp_path / "d.json")]) == 2
    assert "protocols differ" in capsys.readouterr().err

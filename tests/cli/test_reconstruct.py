"""`parvideo reconstruct`: the job's figures as a table, one line for a mistake."""

from pathlib import Path

import pytest

from parvideo.cli import main
from parvideo.files import read_json


def test_the_figures_of_each_video_are_shown(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(map(str, toy_folder.glob("*/*.avi")))[:2]
    words = ["--tokenizer", str(tokenizer_folder), "--out", str(tmp_path / "out"), "--frames", "3"]
    assert main(["reconstruct", *files, *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = read_json(tmp_path / "out" / "reconstruct.json")
    assert [line.split()[0] for line in lines[1:]] == list(rows)
    for line, row in zip(lines[1:], rows.values(), strict=True):
        assert line.split()[1] == f"{row['psnr']:.2f}"
        assert line.split()[-1] == f"{row['motion_ratio']:.2f}"
    assert main(["reconstruct", "none.avi", *words]) == 2
    assert "none.avi" in capsys.readouterr().err

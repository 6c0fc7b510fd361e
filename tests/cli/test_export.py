"""`parvideo export`: a line where it went well, and nothing overwritten."""

from pathlib import Path

import pytest

from parvideo.cli import main
from parvideo.jobs import export as job


def test_options_reach_the_job_and_its_line_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    monkeypatch.setattr(job, "export", lambda *given: seen.append(given) or "written")
    words = ["--run", "a", "--out", "b", "--weights", "raw", "--checkpoint", "c", "--dtype", "bfloat16"]
    assert main(["export", *words, "--tokenizer", "d"]) == 0
    assert seen == [(Path("a"), Path("b"), "raw", Path("c"), "bfloat16", Path("d"))]
    assert capsys.readouterr().err == "written\n"


def test_nothing_is_overwritten(
    generator_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--run", str(tmp_path), "--out", str(generator_folder / "model")]) == 2
    error = capsys.readouterr().err
    assert "there is a model already in" in error
    assert str(generator_folder / "model") in error

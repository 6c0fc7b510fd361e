"""`parvideo bench`: what is asked for on the command line is measured and written."""

from pathlib import Path

import pytest

from parvideo.cli import main
from parvideo.files import read_json

TINY = {
    "dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "codebook_size": 64,
    "grid": "2,4,4",
    "repeats": 1,
    "tokenizer": "none",
}


def test_options_are_the_reports_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parvideo.benchmark.timing.SUMMED", 100_000)
    options = {name.replace("_", "-"): value for name, value in TINY.items()}
    words = [f"--{name}={value}" for name, value in options.items()]
    words += ["--regions=1,2,2", "--regions=1,1,1", "--no-plain", "--steps-limit=3"]
    assert main(["bench", *words, f"--out={tmp_path / 'bench.json'}"]) == 0
    report = read_json(tmp_path / "bench.json")
    assert [(row["order"], row["contender"]) for row in report["results"]] == [
        ("4x", "engine"),
        ("1x", "engine"),
    ]
    settings = report["settings"]
    assert (settings["dim"], settings["layers"], settings["vocabulary"]) == (16, 1, 64)
    assert (settings["grid"], settings["steps_limit"]) == ([2, 4, 4], 3)
    assert f"written {tmp_path / 'bench.json'}" in capsys.readouterr().out

"""`parvideo bench`: what is asked for on the command line is measured and written."""

from pathlib import Path

import pytest

from parvideo.cli import main
from parvideo.cli.bench import bench
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": "5,16"}, "grid is '5,16'"),
        ({"clock": "cpu", "threads": 2}, "clock cpu counts one thread's time"),
        ({"batch_size": 0}, "batch_size is 0; it must be 1 or more"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"dim": -1}, "dim is -1"),
        ({"steps_limit": -1}, "steps_limit is -1; it must be 0 or more"),
    ],
)
def test_bad_requests_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench(**{**TINY, "regions": ["1,1,1"], **changes})  # type: ignore[arg-type]

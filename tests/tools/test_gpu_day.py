"""gpu_day ends every stage, keeps what it has found, and goes on with what is missing."""

import importlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import gpu_day
from tools.gpu_stages.__main__ import HOMES
from tools.gpu_stages.record import Record

STAGE = """
import json, os, subprocess, sys, time
from pathlib import Path
name, out = sys.argv[1], Path(sys.argv[3])
path = out / "stages" / f"{name}.json"
with (out / "begun.txt").open("a") as begun:
    begun.write(name + "\\n")
path.write_text(json.dumps({"status": "RUNNING", "reason": "", "results": {"half": 1}}))
if name == "hangs":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (out / "child.txt").write_text(str(child.pid))
    time.sleep(600)
if name == "dies":
    print("why it died")
    os._exit(3)
path.write_text(json.dumps({"status": "PASS", "reason": "well", "results": {}, "table": ["a | table"]}))
"""


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A day of three stages, of which one hangs and one dies."""
    script = tmp_path / "stage.py"
    script.write_text(STAGE)
    monkeypatch.setattr(gpu_day, "RUNNER", (str(script),))
    stages = [
        gpu_day.Stage(name, 3.0 if name == "hangs" else 60.0, name) for name in ("hangs", "dies", "passes")
    ]
    monkeypatch.setattr(gpu_day, "STAGES", tuple(stages))
    monkeypatch.setattr(gpu_day, "ON_CPU", 1.0)
    return tmp_path / "out"


def run(out: Path, *more: str) -> int:
    return gpu_day.main(["--out", str(out), "--device", "cpu", "--tiny", *more])


def begun(out: Path) -> list[str]:
    return (out / "begun.txt").read_text().split()


def gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_stage_that_hangs_or_dies_stops_no_other_and_is_made_again_only_when_asked(
    day: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(day) == 1
    assert begun(day) == ["hangs", "dies", "passes"]
    found = json.loads((day / "gpu_day.json").read_text())
    assert [found[name]["status"] for name in begun(day)] == ["FAIL", "FAIL", "PASS"]
    assert found["hangs"]["reason"] == "was ended after its limit of 3 s"
    assert found["hangs"]["results"] == {"half": 1}  # what it had found is kept
    assert found["dies"]["reason"] == "died with exit status 3: why it died"
    child = int((day / "child.txt").read_text())
    for _ in range(100):
        if gone(child):
            break
        time.sleep(0.1)
    assert gone(child), "what a stage has started is ended with it"
    summary = (day / "summary.md").read_text()
    assert "| dies | FAIL |" in summary
    assert "a | table" in summary
    assert run(day) == 1
    assert len(begun(day)) == 3  # all had an end
    (day / "stages" / "passes.json").write_text('{"status": "RUNNING"')  # the machine was taken away
    assert run(day) == 1
    assert begun(day)[3:] == ["passes"]
    assert run(day, "--stages", "dies") == 1
    assert begun(day)[4:] == ["dies"]
    capsys.readouterr()
    assert run(day, "--minutes", "0.001", "--retry") == 1
    assert len(begun(day)) == 5
    assert "dies           not begun: 0.001 minutes are over" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "cuda"], "was begun with"),
        (["--device", "cpu", "--tiny", "--stages", "dies,none"], "there is no stage none; there are hangs"),
        (["--device", "cpu"], "--device cpu needs --tiny"),
        (["--device", "cpu", "--tiny", "--minutes", "0"], "minutes is 0.0; it must be positive"),
    ],
)
def test_what_cannot_be_is_refused(
    day: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    day.mkdir()
    (day / "settings.json").write_text('{"device": "cpu", "tiny": true}')
    with pytest.raises(SystemExit) as caught:
        gpu_day.main(["--out", str(day), *words])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_checks_decide_and_nan_passes_none(tmp_path: Path) -> None:
    record = Record(tmp_path, "a", "cpu", True)
    assert json.loads(record.path.read_text())["status"] == "RUNNING"
    record.check("enough", 2.0, least=1, most=2)
    record.check("there", [1])
    record.floor("speed", 0.0, least=100)
    record.conclude("fine")
    assert json.loads(record.path.read_text())["status"] == "PASS"
    record.check("a number", math.nan, most=1)
    record.check("nothing", "")
    record.conclude("fine")
    found = json.loads(record.path.read_text())
    assert (found["status"], found["reason"]) == ("FAIL", "a number, nothing (fine)")
    on_gpu = Record(tmp_path, "b", "cuda", False)
    on_gpu.floor("speed", 99.0, least=100)
    on_gpu.conclude("")
    assert json.loads(on_gpu.path.read_text())["status"] == "FAIL"
    on_gpu.note(x=1)
    assert record.earlier("b") == {"x": 1}
    assert record.earlier("c") == {}


def test_every_stage_is_there() -> None:
    assert {stage.name for stage in gpu_day.STAGES} == set(HOMES)
    for name, home in HOMES.items():
        assert callable(getattr(importlib.import_module(f"tools.gpu_stages.{home}"), name))


def test_the_command_needs_nothing_but_python() -> None:
    """It says what is missing where nothing is installed; by its path as by its name."""
    for words in (["tools/gpu_day.py"], ["-m", "tools.gpu_day"]):
        done = subprocess.run(
            [sys.executable, "-S", "-E", *words, "--help"],
            cwd=gpu_day.ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "110"},
        )
        assert done.stdout.startswith("usage: python -m tools.gpu_day")
        assert "pip download" in done.stdout


def test_a_stage_of_the_real_thing(tmp_path: Path) -> None:
    assert run(tmp_path, "--stages", "ceilings") == 1  # the others are missing
    found = json.loads((tmp_path / "gpu_day.json").read_text())
    assert list(found) == ["ceilings"]
    assert found["ceilings"]["status"] == "PASS"
    assert found["ceilings"]["results"]["bfloat16"]["bandwidth"] > 0


@pytest.mark.slow
def test_every_stage_passes_small_on_a_cpu(tmp_path: Path) -> None:
    status = run(tmp_path, "--minutes", "60")
    found = json.loads((tmp_path / "gpu_day.json").read_text())
    ends = {name: (entry["status"], entry["reason"]) for name, entry in found.items()}
    assert set(ends) == set(HOMES)
    assert all(end in ("PASS", "SKIP") and reason for end, reason in ends.values()), ends
    assert status == 0

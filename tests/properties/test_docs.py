"""The examples of docs/fvd.md are run, or at least parsed where they would take hours."""

import importlib
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from parvideo.cli import COMMANDS, parse_arguments
from parvideo.metrics.extractors.inception_i3d import InceptionI3d

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "fvd.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = blocks("python")
    torch.manual_seed(0)
    save_file(InceptionI3d().state_dict(), tmp_path / "i3d.safetensors")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "real.npy", rng.integers(0, 256, (2, 9, 32, 32, 3), dtype=np.uint8))
    (tmp_path / "samples").mkdir()
    np.savez(
        tmp_path / "samples/clips-00000.npz", clips=rng.integers(0, 200, (2, 9, 32, 32, 3), dtype=np.uint8)
    )
    (tmp_path / "example.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    there = runpy.run_path("example.py")
    assert there["metric"].compute().dtype == torch.float64
    assert "real_count=2, fake_count=2" in capsys.readouterr().out


def commands() -> list[str]:
    lines = [line for block in blocks("") for line in block.splitlines()]
    # The options of fit are those of the classes that its configs name: tests/properties/test_configs.py.
    return [line for line in lines if line.startswith("parvideo ") and not line.startswith("parvideo fit ")]


@pytest.mark.parametrize("line", commands())
def test_the_commands_take_their_options(line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    function = getattr(importlib.import_module(COMMANDS[name]), name.replace("-", "_"))
    positional, options = parse_arguments(name, function, words)
    assert positional or options


def test_the_one_liner_prints_every_field_of_a_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r'`python -c "(.*?)"`', TEXT)
    exec(code, {})
    assert "clip_policy='non-overlapping'" in capsys.readouterr().out


def test_there_are_commands_to_try() -> None:
    assert {line.split()[1] for line in commands()} >= {"evaluate", "compare-reports", "fvd-stats"}

"""Cells: every one is measured once, and an interrupted run goes on; no test asserts a time."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from parvideo.benchmark import cells
from parvideo.benchmark.report import Settings
from tests.benchmark.test_report import TINY

SETTINGS: Settings = dataclasses.replace(TINY, steps_limit=2)


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("parvideo.benchmark.timing.SUMMED", 100_000)
    monkeypatch.setattr(cells, "thread_counts", lambda: [1])
    monkeypatch.setattr(cells, "DTYPES", ("float32",))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_cell_is_measured_once_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, shown = tmp_path / "cells.json", []
    report = cells.run_cells(SETTINGS, out, shown.append)
    assert [(cell["batch"], cell["order"]) for cell in report["cells"]] == [
        (1, "1x"),
        (1, "4x"),
        (8, "1x"),
        (8, "4x"),
    ]
    for cell in report["cells"]:
        assert cell["ratios"] == {"plain loop": cell["seconds"]["plain loop"] / cell["seconds"]["engine"]}
        assert 0 < cell["roofline"] <= cell["roofline_with_cache"]
        assert any(f"{cell['ratios']['plain loop']:.2f}x" in line for line in shown)
    assert any("1 threads, float32, gate and up" in line and "plain" in line for line in shown)
    held = json.loads(out.read_text())
    assert len(held["cells"]) == 4
    held["cells"].pop()
    out.write_text(json.dumps(held))
    measured: list[str] = []
    whole = cells.measure_cell
    monkeypatch.setattr(cells, "measure_cell", lambda *a: (measured.append(a[2].name), whole(*a))[1])
    again = cells.run_cells(SETTINGS, out, shown.append)
    assert len(measured) == 1
    assert again["cells"][:3] == held["cells"]


def test_cells_of_other_settings_are_not_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "cells.json"
    for content in ({"machine": {}, "settings": {}, "cells": []}, []):
        out.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="another|damaged"):
            cells.run_cells(SETTINGS, out, print)

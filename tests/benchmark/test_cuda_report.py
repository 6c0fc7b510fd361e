"""The report of `parvideo bench --device cuda`, on a CPU: whole, and its sums are right."""

import dataclasses
import json

import pytest

from parvideo.benchmark.cuda_report import run_on_gpu
from tests.benchmark.cases import TINY


def test_the_report_of_the_command_is_whole() -> None:
    settings = dataclasses.replace(TINY, classes=4, steps_limit=0, plain=False, tokenizer="tiny")
    shown: list[str] = []
    report = run_on_gpu(settings, [2], ["float32"], shown.append, device="cpu")
    assert [row["order"] for row in report["results"]] == ["1x", "4x"]
    assert report["results"][0]["plain_seconds"] is None
    ends = report["tokenizer"]["end_to_end"]
    for row, end in zip(report["results"], ends, strict=True):
        assert end["seconds"] == pytest.approx(row["seconds"] + report["tokenizer"]["decode_seconds"]["2"])
        assert 0 < end["decoding"] < 1
    assert any("ceilings" in text for text in shown)
    json.dumps(report)

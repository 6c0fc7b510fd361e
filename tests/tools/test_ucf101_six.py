"""The six classes' chain: figures are the reports', ratios are paired, and it runs from end to end."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from parvideo.evaluation.report import read_report
from parvideo.files import read_json
from parvideo.pretrained.folder import fingerprint
from tools.ucf101_six.__main__ import publish, run
from tools.ucf101_six.chain import Chain, Sizes
from tools.ucf101_six.report import against, render

ROOT = Path(__file__).parents[2]


def test_ratios_are_paired_by_seed() -> None:
    """Seeds that are all higher by a tenth differ by a tenth without error, however far apart they are."""
    assert against([110.0, 220.0, 330.0], [100.0, 200.0, 300.0]) == "+10% (+10% to +10%)"
    mean, low, high = (int(word) for word in re.findall(r"[+-]\d+", against([110.0, 90.0], [100.0, 100.0])))
    assert low < mean < high
    assert mean == round(100 * math.expm1((math.log(1.1) + math.log(0.9)) / 2))
    assert against([150.0], [100.0]) == "+50%"  # one seed says nothing of its error


def test_the_page_says_what_was_measured() -> None:
    results = read_json(ROOT / "docs" / "ucf101_six.json")
    assert render(results).strip() in (ROOT / "docs" / "ucf101_six.md").read_text()


def test_the_model_that_comes_with_the_clone_scores_what_the_page_says() -> None:
    report = read_report(ROOT / "data" / "models" / "ucf101-six-4x" / "report.json")
    rows = read_json(ROOT / "docs" / "ucf101_six.json")["rows"]
    assert report["fvd"] == next(row["fvd"][0] for row in rows if row["order"] == "1x2x2")


@pytest.mark.slow
def test_the_whole_chain_at_a_small_size(
    shared_folder: Path, real_i3d: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = shared_folder / "data" / "ucf101_six" / "UCF-101"
    sizes = Sizes((0,), clips=12, real_clips=12, steps=3, timed_rounds=1, accelerator="cpu", i3d=real_i3d)
    chain = Chain(views=1, decoder=None)
    run(data, tmp_path, chain, sizes)
    results = read_json(tmp_path / "results.json")
    assert [row["order"] for row in results["rows"]] == ["1x1x1", "1x2x2", "1x4x4", "dyadic-64"]
    assert [row["steps"] for row in results["rows"]] == [1280, 323, 95, 26]
    for row in results["rows"]:
        report = read_report(tmp_path / "reports" / row["model"] / f"{row['order']}-seed0.json")
        assert row["fvd"] == [report["fvd"]]
        assert row["accuracy"] == [report["class_accuracy"]["generated"]["accuracy"]]
        assert report["generated"].get("order", "1x2x2") == row["order"]  # the model's main one is not named
    capfd.readouterr()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    run(data, tmp_path, chain, sizes)  # nothing is done again
    assert "done before" in capfd.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    with pytest.raises(ValueError, match="tokens"):
        run(data, tmp_path, Chain(views=2, decoder=None), sizes)
    given = tmp_path / "given"
    publish(tmp_path, data, given, limits=("It has hardly been trained.",))
    assert fingerprint(given) == fingerprint(tmp_path / "models" / "any")
    assert read_report(given / "report.json")["fvd"] == results["rows"][1]["fvd"][0]
    assert "It has hardly been trained." in (given / "README.md").read_text()
    with np.load(given / "preview.npz") as preview:
        assert preview["clips"].shape == (6, 1, 64, 64, 3)
        assert preview["labels"].tolist() == list(range(6))
    with pytest.raises(FileExistsError, match="given"):
        publish(tmp_path, data, given)

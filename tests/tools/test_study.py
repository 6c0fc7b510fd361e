"""The study: its statistics, its plan's errors, and a whole tiny study that is stopped and goes on."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonargparse import ArgumentParser
from scipy import stats

from parvideo.order import OrderSpec
from parvideo.synthetic.objects import ObjectsSettings
from tools.order_study import config, job, report
from tools.plotting import save_figure

TOOLS = Path(__file__).parents[2] / "tools"
DOCS = TOOLS.parent / "docs"


def plain() -> object:
    return report.Figure("FVD", lambda one: one.fvd)


def measured(row: str, fvds: list[float]) -> list[object]:
    return [
        report.Measured(row, seed, 1.0, 5, 1.0, fvd, 0.5, 0.5, 0.5, 1.0, 1.0, {})
        for seed, fvd in enumerate(fvds)
    ]


def test_a_difference_is_the_paired_t_interval() -> None:
    a, b = [3.0, 5.5, 4.0, 6.0], [2.0, 4.0, 3.5, 4.0]
    found = report.difference(measured("a", a), measured("b", b), plain())
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.distinct == (stats.ttest_rel(a, b).pvalue < 0.05)


def test_a_relative_difference_is_in_percent_of_the_row_that_is_subtracted() -> None:
    figure = report.Figure("FVD", lambda one: one.fvd, relative=True)
    found = report.difference(measured("a", [1.0, 6.0]), measured("b", [2.0, 4.0]), figure)
    assert found.mean == pytest.approx(0.0)  # half as much, and half as much again
    assert found.unit == "%"


def test_a_difference_claims_nothing_of_one_seed() -> None:
    assert not report.difference(measured("a", [9.0]), measured("b", [1.0]), plain()).distinct


def test_pairs_must_be_of_the_same_seeds() -> None:
    with pytest.raises(ValueError, match="seeds"):
        report.difference(measured("a", [1.0, 2.0]), measured("b", [1.0]), plain())


def test_the_picture_puts_the_faster_left_and_the_better_lower() -> None:
    points = [report.Point("fast & bad", 1.0, 0.1, 20.0, 1.0), report.Point("slow", 1.0, 1.0, 10.0, 0.5)]
    (axes,) = report.draw_points(points).axes
    (drawn,) = axes.containers
    values = drawn.lines[0].get_xydata()
    np.testing.assert_allclose(values, [[0.1, 20.0], [1.0, 10.0]])
    fast, slow = axes.transData.transform(values)
    assert fast[0] < slow[0]
    assert fast[1] > slow[1]
    assert {text.get_text() for text in axes.texts} == {"fast & bad", "slow"}


def test_the_picture_in_the_docs_is_that_of_the_results_beside_it(tmp_path: Path) -> None:
    results = json.loads((DOCS / "study.json").read_text())
    measured = [report.Measured(**row) for row in results["measured"]]
    times = {row["row"]: report.Timed(**row) for row in results["times"]}
    points = report.points(measured, times)
    assert {point.name for point in points} == set(times)
    save_figure(report.draw_points(points), tmp_path / "picture.svg")
    drawn = re.findall(r">([^<>]+)</text>", (tmp_path / "picture.svg").read_text())
    shown = re.findall(r">([^<>]+)</text>", (DOCS / "pictures" / "quality-against-time.svg").read_text())
    assert set(shown) == set(drawn) >= set(times)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"clips": 0}, "clips is 0"),
        ({"read_clips": 999}, "read_clips is 999"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"compare": [("1x", "4x")]}, "compare names '4x'"),
        ({"clock": "cpu", "threads": 2}, "threads is 2"),
        ({"classifier_steps": 0}, "classifier_steps is 0"),
    ],
)
def test_a_plan_that_cannot_be_is_named(change: dict[str, object], named: str) -> None:
    plan = config.StudyConfig(ObjectsSettings(), 17, 32, Path("t"), Path("g"), [config.Arm("1x")])
    with pytest.raises(ValueError, match=named):
        replace(plan, **change)


def test_rows_are_named_by_their_orders_whatever_these_are() -> None:
    """All four decode with regions of 1 x 1 x 1 or 1 x 4 x 4: the product of regions told none apart."""
    orders = [
        OrderSpec(),
        OrderSpec(grouping="dyadic", most=64),
        OrderSpec(regions=(1, 4, 4)),
        OrderSpec(regions=(1, 4, 4), one_by_one=True),
    ]
    arm = config.Arm("any", orders[0], orders[1:])
    assert list(arm.rows) == [
        "any at 1x1x1",
        "any at dyadic-64",
        "any at 1x4x4",
        "any at 1x4x4-one-by-one",
    ]
    assert list(arm.rows.values()) == orders
    with pytest.raises(ValueError, match="give none twice"):
        config.Arm("any", orders[0], [orders[0]])


def test_a_study_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"judge_steps": 400}))
    with pytest.raises(ValueError, match=r"study\.json is of another version .*judge_steps"):
        job.read_study(tmp_path)


@pytest.mark.parametrize("name", ["reduced", "full"])
def test_the_plans_are_sound(name: str) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(config.StudyConfig, "study")
    given = yaml.safe_load((TOOLS.parent / "configs" / "order_study" / f"{name}.yaml").read_text())
    plan = parser.instantiate(parser.parse_object(given))["study"]
    steps = {name: spec.build((5, 8, 8)).steps for name, spec in plan.rows.items()}
    assert (steps["1x"], steps["4x"], steps["16x"]) == (320, 83, 35)
    assert steps["space-time-20x"] == steps["adjacent-16x"] == steps["any at 1x4x4"] == 35
    assert len(plan.seeds) >= 3
    for path in (plan.tokenizer, plan.generator):
        assert (TOOLS.parent / path).is_file()


def tiny_plan(folder: Path) -> Path:
    """A study of two arms in seconds, its configs made from the reduced study's."""
    configs = TOOLS.parent / "configs" / "order_study"
    for part, steps in (("tokenizer", 6), ("generator", 4)):
        settings = yaml.safe_load((configs / f"{part}_reduced.yaml").read_text())
        settings["trainer"] |= {"max_steps": steps, "val_check_interval": steps, "accelerator": "cpu"}
        settings["checkpoint_every"] = 2
        (folder / f"{part}.yaml").write_text(yaml.safe_dump(settings))
    plan = yaml.safe_load((configs / "reduced.yaml").read_text())["study"]
    plan |= {
        "data": {"num_classes": 2, "groups": 2, "clips_per_group": 2},
        "tokenizer": str(folder / "tokenizer.yaml"),
        "generator": str(folder / "generator.yaml"),
        "classifier_steps": 2,
        "classifier_clips": 16,
        "reference_clips": 16,
        "clips": 4,
        "read_clips": 2,
        "batch_size": 4,
        "guidance": [1.0],
        "seeds": [0],
        "timed_rounds": 1,
        "timed_clips": 1,
        "arms": [arm for arm in plan["arms"] if arm["name"] in ("16x", "any")],
        "compare": [["any at 1x4x4", "16x"]],
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump({"study": plan}))
    return folder / "plan.yaml"


def run(plan: Path, out: Path, stop_after: str | None = None) -> None:
    """Run a study; kill it once the file ``stop_after`` is there."""
    words = [sys.executable, "-m", "tools.order_study", "run", "--config", str(plan), "--out", str(out)]
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    while stop_after is not None and process.poll() is None:
        if (out / stop_after).exists():
            process.kill()
            process.wait()
            return
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_figures(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    run(plan, tmp_path / "whole")
    for moment in ("tokenizer/checkpoints", "references.json", "results"):
        run(plan, tmp_path / "stopped", moment)
    run(plan, tmp_path / "stopped")
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "stopped")]
    rows = {(row["row"], row["guidance"]) for row in results[0]["measured"]}
    assert rows == {("16x", 1.0), ("any at 1x1x1", 1.0), ("any at 1x2x2", 1.0), ("any at 1x4x4", 1.0)}
    for a, b in zip(results[0]["measured"], results[1]["measured"], strict=True):
        assert a.pop("fvd") == pytest.approx(b.pop("fvd"), rel=1e-6)
        assert a == b
    assert all(np.isfinite(row["transformer"]) and row["transformer"] > 0 for row in results[1]["times"])
    assert "| any at 1x2x2 | 83 |" in (tmp_path / "stopped" / "report.md").read_text()

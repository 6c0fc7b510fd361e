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
from parvideo.training.cli import FitCLI
from parvideo.training.generator import GeneratorModule
from tools.order_study import __main__ as tool
from tools.order_study import config, differences, job, picture, report, results

TOOLS = Path(__file__).parents[2] / "tools"
DOCS = TOOLS.parent / "docs"


def measured(row: str, fvds: list[float], budget: int | None = None) -> list[config.Measured]:
    return [
        config.Measured(row, seed, 1.0, 5, fvd / 10, fvd, 0.5, 0.5, 0.5, 1.0, 1.0, {}, budget)
        for seed, fvd in enumerate(fvds)
    ]


def test_a_difference_is_the_paired_t_interval() -> None:
    a, b = [3.0, 5.5, 4.0, 6.0], [2.0, 4.0, 3.5, 4.0]
    plain = differences.Figure("FVD", lambda one: one.fvd)
    found = differences.difference(measured("a", a), measured("b", b), plain)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.distinct == (stats.ttest_rel(a, b).pvalue < 0.05)
    assert (found.pairs, found.agree) == (4, 4)


def test_a_relative_difference_is_the_geometric_mean_of_the_ratios() -> None:
    found = differences.difference(measured("a", [1.0, 8.0]), measured("b", [2.0, 4.0]), differences.FVD)
    assert found.mean == pytest.approx(0.0)  # half as much, and twice as much
    assert found.unit == "%"
    assert (1 + found.low / 100) * (1 + found.high / 100) == pytest.approx(1.0)


def test_a_difference_claims_nothing_of_one_seed() -> None:
    found = differences.difference(measured("a", [9.0]), measured("b", [1.0]), differences.FVD)
    assert not found.distinct
    assert found.found == "higher in 1 of 1 pairs; one seed has no error"


def test_pairs_are_of_the_same_budget_and_seed() -> None:
    a = measured("a", [1.0, 2.0], 10) + measured("a", [5.0], 20)
    b = measured("b", [2.0], 10) + measured("b", [9.0, 7.0], 20)
    found = differences.difference(a, b, differences.LOSS)
    assert (found.pairs, found.budgets, found.agree) == (2, [10, 20], 2)
    assert found.mean == pytest.approx((-0.1 - 0.4) / 2)
    with pytest.raises(ValueError, match="budgets and seeds"):
        differences.difference(measured("a", [1.0], 10), measured("b", [1.0], 20), differences.LOSS)


def test_what_changes_with_the_budget_does_not_widen_a_pooled_interval() -> None:
    a, b = [3.0, 5.5, 4.0], [2.0, 4.0, 3.5]

    def pooled(shift: float) -> differences.Difference:
        later = measured("a", [x + shift for x in a], 20)
        return differences.difference(
            measured("a", a, 10) + later, measured("b", b, 10) + measured("b", b, 20), differences.LOSS
        )

    alone = differences.difference(measured("a", a), measured("b", b), differences.LOSS)
    near, far = pooled(0.0), pooled(50.0)
    assert far.mean - near.mean == pytest.approx(2.5)
    assert far.high - far.low == pytest.approx(near.high - near.low)
    assert near.high - near.low < alone.high - alone.low
    assert near.mean == pytest.approx(alone.mean)


def test_a_pooled_interval_holds_the_truth_in_95_percent_of_studies() -> None:
    """Three budgets with differences of their own and three seeds: their mean is what is estimated."""
    generator = np.random.default_rng(0)
    truth = np.array([1.0, 3.0, 0.5])
    held = []
    for _ in range(1500):
        a = [
            one
            for budget, mean in enumerate(truth, 1)
            for one in measured("a", list(10 * (mean + generator.normal(size=3))), budget)
        ]
        b = [one for budget in (1, 2, 3) for one in measured("b", [0.0] * 3, budget)]
        found = differences.difference(a, b, differences.LOSS)
        held.append(found.low <= truth.mean() <= found.high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_claims_are_pooled_first_and_then_of_each_budget() -> None:
    rows = [
        *(measured("a", [3.0, 4.0], 10) + measured("a", [2.0, 2.5], 20)),
        *(measured("b", [2.0, 3.5], 10) + measured("b", [1.0, 1.2], 20)),
    ]
    found = differences.claimed([("a", "b"), ("a", "c")], [1.0, 2.0], rows)  # c and scale 2 are yet to come
    losses = [one for one in found if one.figure == differences.LOSS.name]
    assert [one.budgets for one in losses] == [[10, 20], [10], [20]]
    assert {one.guidance for one in found} == {1.0}
    assert {(one.a, one.b) for one in found} == {("a", "b")}


@pytest.mark.parametrize(("limit", "verdict"), [(0.4, "met"), (0.2, "open"), (0.0, "missed")])
def test_a_goal_is_met_if_the_whole_interval_at_the_longest_budget_is_within_it(
    limit: float, verdict: str
) -> None:
    rows = [
        *(measured("a", [90.0, 90.0, 90.0], 10) + measured("a", [3.0, 4.0, 5.0], 20)),
        *(measured("b", [10.0, 10.0, 10.0], 10) + measured("b", [1.0, 2.2, 2.8], 20)),
    ]
    goals = [config.Goal("a", "b", "loss", limit), config.Goal("a", "c", "loss", limit)]
    (found,) = differences.verdicts(goals, [1.0], rows)
    assert found.difference.budgets == [20]
    assert found.verdict == verdict


def test_the_picture_puts_the_faster_left_and_the_better_lower() -> None:
    points = [
        picture.Point("fast & bad", "", 100, 10, 20.0, 1.0),
        picture.Point("slow", "", 100, 40, 10.0, 0.5),
        picture.Point("any at 1x1x1", "any", 100, 40, 12.0, 0.5),
        picture.Point("any at 1x4x4", "any", 100, 10, 15.0, 0.5),
        picture.Point("longer", "", 900, 10, 7.0, 0.5),
    ]
    figure = picture.draw_points(points, 2.0)
    short, long = figure.axes
    assert [axes.get_title(loc="left") for axes in (short, long)] == [
        "100 training steps",
        "900 training steps",
    ]
    family, alone = short.containers
    np.testing.assert_allclose(family.lines[0].get_xydata(), [[10, 15.0], [40, 12.0]])  # joined by steps
    fast, slow = short.transData.transform(alone.lines[0].get_xydata())
    assert fast[0] < slow[0]
    assert fast[1] > slow[1]
    assert {text.get_text() for text in short.texts} == {"fast & bad", "slow"}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["any"]


def test_the_docs_hold_the_report_and_the_picture_of_the_results_beside_them(tmp_path: Path) -> None:
    found = results.read_results(DOCS / "study.json")
    assert report.report_text(found) in (DOCS / "study.md").read_text()
    report.draw(found, tmp_path / "picture.svg")
    texts = [
        set(re.findall(r">([^<>]+)</text>", path.read_text()))
        for path in (tmp_path / "picture.svg", DOCS / "pictures" / report.PICTURE)
    ]
    assert texts[0] == texts[1]


def test_a_page_takes_the_report_in_below_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Conclusions.\n\n<!-- report -->\n\nAn older report.\n")
    tool.show(DOCS / "study.json", page=page)
    text = report.report_text(results.read_results(DOCS / "study.json"))
    assert page.read_text() == f"Conclusions.\n\n<!-- report -->\n\n{text}\n"
    page.write_text("No line.")
    with pytest.raises(ValueError, match="has no line <!-- report -->"):
        tool.show(DOCS / "study.json", page=page)
    assert page.read_text() == "No line."


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = results.read_results(DOCS / "study.json")
    (tmp_path / "results.json").write_text(json.dumps(found.to_dict()))
    assert results.read_results(tmp_path / "results.json") == found
    (tmp_path / "results.json").write_text(json.dumps({"study": {"judge_steps": 4}}))
    with pytest.raises(ValueError, match=r"results\.json holds no results that this version can read"):
        results.read_results(tmp_path / "results.json")


def test_jobs_are_begun_with_the_short_budgets_and_seed_after_seed() -> None:
    arms = [config.Arm("a", budgets=[10, 30]), config.Arm("b", budgets=[10])]
    plan = config.StudyConfig(ObjectsSettings(), 17, 32, Path("t"), Path("g"), arms, seeds=[0, 1])
    assert [job.name for job in plan.jobs] == [
        "a-10steps-seed0",
        "b-10steps-seed0",
        "a-10steps-seed1",
        "b-10steps-seed1",
        "a-30steps-seed0",
        "a-30steps-seed1",
    ]
    assert config.Job(config.Arm("a"), None, 2).name == "a-seed2"  # as of folders begun before


def test_an_arm_sets_nothing_that_it_does_not_change() -> None:
    """So that folders begun before something could be set go on."""
    assert set(config.order_arguments(config.Arm("a"))) == {"order", "more_orders", "target_positions"}
    changes = {
        "query_positions": "target",
        "order_weights": {"1x1x1": 2.0, "1x4x4": 1.0},
        "distillation": 0.5,
    }
    changed = config.order_arguments(config.Arm("a", **changes))
    assert {name: changed[name] for name in changes} == changes
    assert "order_embedding" not in changed


def test_everything_that_an_arm_sets_reaches_its_training(tmp_path: Path) -> None:
    arm = config.Arm(
        "any",
        OrderSpec(),
        [OrderSpec(grouping="dyadic", most=16)],
        target_positions=True,
        query_positions="target",
        order_weights={"1x1x1": 3.0, "dyadic-16": 1.0},
        order_embedding=True,
        distillation=0.5,
        budgets=[3000],
    )
    generator = TOOLS.parent / "configs" / "order_study" / "generator_sharper.yaml"
    plan = config.StudyConfig(ObjectsSettings(), 17, 32, Path("t"), generator, [arm])
    run = FitCLI(job.fit_arguments(plan, tmp_path, plan.jobs[1]))
    module = run.model
    assert isinstance(module, GeneratorModule)
    assert module.order_specs == (arm.order, *arm.more_orders)
    assert (module.order_weights, module.distillation, module.teacher) == ([3.0, 1.0], 0.5, 0)
    settings = module.transformer_settings
    assert (settings["target_position_embedding"], settings["query_positions"]) == (True, "target")
    assert settings["order_names"] == ["1x1x1", "dyadic-16"]
    assert (run.trainer.max_steps, run.datamodule.seed, plan.jobs[1].seed) == (3000, 1, 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"clips": 0}, "clips is 0"),
        ({"read_clips": 999}, "read_clips is 999"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"compare": [("1x", "4x")]}, "compare names '4x'"),
        ({"goals": [config.Goal("1x", "4x", "fvd", 10.0)]}, "goals names '4x'"),
        ({"clock": "cpu", "threads": 2}, "threads is 2"),
        ({"classifier_steps": 0}, "classifier_steps is 0"),
        (
            {"arms": [config.Arm("a", budgets=[1]), config.Arm("b", budgets=[2])], "compare": [("a", "b")]},
            "a and b, which have no budget in common",
        ),
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


def read_plan(name: str) -> config.StudyConfig:
    parser = ArgumentParser()
    parser.add_class_arguments(config.StudyConfig, "study")
    given = yaml.safe_load((TOOLS.parent / "configs" / "order_study" / f"{name}.yaml").read_text())
    plan: config.StudyConfig = parser.instantiate(parser.parse_object(given))["study"]
    return plan


def test_the_sharper_plan_is_what_it_says() -> None:
    plan = read_plan("sharper")
    steps = {name: spec.build((5, 8, 8)).steps for name, spec in plan.rows.items()}
    assert (steps["1x"], steps["4x"], steps["16x"], steps["dyadic"]) == (320, 83, 35, 24)
    assert steps["16x-one-by-one"] == 320
    assert len(plan.seeds) >= 3
    generator = yaml.safe_load((TOOLS.parent / plan.generator).read_text())
    interval = generator["trainer"]["val_check_interval"]
    for arm in plan.arms:
        assert arm.target_positions
        assert arm.name.endswith("-turned") <= (arm.query_positions == "target")
        assert arm.budgets
        assert all(budget % interval == 0 for budget in arm.budgets)  # or no held-out loss would be its end's


@pytest.mark.parametrize("name", ["reduced", "full"])
def test_the_plans_are_sound(name: str) -> None:
    plan = read_plan(name)
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
    for arm, budgets in zip(plan["arms"], ([4, 8], [4]), strict=True):
        arm["budgets"] = budgets
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
    found = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "stopped")]
    rows = {(row["row"], row["budget"]) for row in found[0]["measured"]}
    assert rows == {("16x", 4), ("16x", 8), *((f"any at 1x{n}x{n}", 4) for n in (1, 2, 4))}
    for a, b in zip(found[0]["measured"], found[1]["measured"], strict=True):
        assert a.pop("fvd") == pytest.approx(b.pop("fvd"), rel=1e-6)
        assert a == b
    assert all(np.isfinite(row["transformer"]) and row["transformer"] > 0 for row in found[1]["times"])
    assert "| any at 1x2x2 | 1 | 83 |" in (tmp_path / "stopped" / "report.md").read_text()

"""Held-out beside training at equal counts, KVD by class, and class accuracy beside that of real clips."""

import numpy as np
import pytest

from parvideo.evaluation.feature_store import FeatureSet
from parvideo.evaluation.protocols import get_protocol
from parvideo.evaluation.report import Subject, compare, make_report, render
from parvideo.evaluation.splits import HeldOut, class_section, held_out_section, probe_section
from parvideo.metrics.frechet import FrechetFormula
from parvideo.metrics.kvd import kernel_distance

DIM, NAMES = 10, ["Archery", "Bowling", "Surfing"]
CENTRES = np.random.default_rng(9).normal(size=(3, DIM)) * 2


def clips(seed: int, n: int, shift: float = 0.0, wrong: float = 0.0) -> FeatureSet:
    """Clips of three classes; of the share ``wrong``, features are another class's than the label says."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    shown = np.where(rng.random(n) < wrong, (labels + 1) % 3, labels)
    features = CENTRES[shown] + rng.normal(size=(n, DIM)) * 0.7 + shift
    ids = np.arange(n)
    return FeatureSet(features.astype(np.float32), ids, ids // 2 + 10_000 * seed, labels)


def held(fake: FeatureSet, shift: float = 0.0, n: int = 90) -> HeldOut:
    return HeldOut(clips(50, n, shift), fake, "hash", {"hash": "list"})


def test_equal_counts_tell_memory_from_few_clips() -> None:
    train, formula = clips(1, 300), FrechetFormula()
    copies = FeatureSet(train.features + np.float32(1e-3), train.ids, train.groups, train.labels)
    section = held_out_section(train, copies, held(copies), formula, paired=False)
    same = section["training_at_this_count"]
    assert same["count"] == section["real_count"] == 90
    assert section["fvd"] > same["fvd"] + 3 * same["std_over_draws"]
    fresh = clips(2, 300)
    section = held_out_section(train, fresh, held(fresh), formula, paired=False)
    same = section["training_at_this_count"]
    assert abs(section["fvd"] - same["fvd"]) < 6 * same["std_over_draws"] + 0.1 * same["fvd"]
    again = held_out_section(train, fresh, held(fresh), formula, paired=False)
    assert again == section


def test_paired_rows_are_drawn_in_pairs() -> None:
    train = clips(1, 300)
    near = FeatureSet(train.features + np.float32(1e-3), train.ids, train.groups, train.labels)
    real = clips(50, 90)
    other = HeldOut(
        real, FeatureSet(real.features + np.float32(1e-3), real.ids, real.groups, real.labels), "h", {}
    )
    section = held_out_section(train, near, other, FrechetFormula(), paired=True)
    assert section["training_at_this_count"]["fvd"] < 1e-2
    assert section["fvd"] < 1e-2
    with pytest.raises(ValueError, match="different ids"):
        held_out_section(train, near, held(clips(3, 80)), FrechetFormula(), paired=True)


def test_kvd_by_class_is_that_of_the_class_alone() -> None:
    real, fake = clips(1, 60), clips(2, 63, shift=0.5)
    rows = class_section(real, fake, [*NAMES, "Yoyo"], held(fake))
    assert [row["class"] for row in rows] == [*NAMES, "Yoyo"]
    for label in range(3):
        expected = kernel_distance(real.features[real.labels == label], fake.features[fake.labels == label])
        assert rows[label]["kvd"] == pytest.approx(expected)
        assert (rows[label]["real"], rows[label]["generated"]) == (20, 21)
    assert rows[3]["kvd"] is rows[3]["held_out_kvd"] is None


def test_class_accuracy_stands_beside_that_of_real_clips() -> None:
    section = probe_section(clips(1, 300), clips(2, 300, wrong=0.4), NAMES, clips(50, 90))
    assert isinstance(section, dict)
    assert section["held_out"]["accuracy"] > 0.95
    assert 0.5 < section["generated"]["accuracy"] < 0.7
    assert section["chance"] == pytest.approx(1 / 3)
    assert np.sum(section["confusion"]["generated"]) == 300
    assert len(section["generated"]["by_class"]) == 3
    unknown = clips(2, 30)
    unknown.labels[3] = -1
    assert "1 of 30 generated clips have no label" in str(
        probe_section(clips(1, 300), unknown, NAMES, clips(50, 90))
    )


def test_the_report_holds_and_shows_both_splits() -> None:
    protocol = get_protocol("ucf101-six-64")
    real, fake = clips(1, 529), clips(2, 512)
    subject = Subject(
        generated={"hash": "g"},
        real={"hash": "r"},
        extractor={"fingerprint": "f"},
        comparability="",
        logits=False,
        paired=False,
        class_names=NAMES,
        lossy=False,
        notes=[],
        wall_seconds=1.0,
        held_out=held(fake),
    )
    report = make_report([(real, fake)], protocol, subject)
    assert report["held_out"]["fvd"] != report["fvd"]
    assert not report["comparable_with_published"]
    assert "no number is published under it" in report["comparability"]
    table = compare(["a", "b"], [report, report]).splitlines()
    assert table[0].split()[-4:] == ["out", "s.e.", "class", "read"]
    assert f"{report['held_out']['fvd']:.2f}" in table[1]
    shown = render(report)
    assert "held-out split" in shown
    assert "FVD at 90 real clips" in shown
    assert "real held-out 9" in shown or "real held-out 100" in shown
    assert all(name in shown for name in NAMES)

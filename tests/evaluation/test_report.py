"""A report holds what is needed to believe the number, and refuses comparisons that mean nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parvideo.evaluation.feature_store import FeatureSet
from parvideo.evaluation.protocols import LARP_10K, Protocol
from parvideo.evaluation.report import Subject, compare, make_report, read_report, render, write_report

N = 60
EXACT = LARP_10K.customized(real_count=N, fake_count=N)


def features(seed: int, shift: float = 0.0, classes: int = 4, n: int = N) -> FeatureSet:
    rng = np.random.default_rng(seed)
    ids = np.arange(n)
    return FeatureSet(
        (rng.normal(size=(n, 5)) + shift).astype(np.float32), ids, ids + seed * 1000, ids % classes
    )


def subject(**changes: Any) -> Subject:
    plain = {
        "generated": {"hash": "g"},
        "real": {"hash": "r"},
        "extractor": {"fingerprint": "f"},
        "comparability": "",
        "logits": False,
        "lossy": False,
        "paired": False,
        "class_names": list("abcd"),
        "notes": [],
        "wall_seconds": 1.0,
    }
    return Subject(**{**plain, **changes})


def report(
    shift: float = 0.0, protocol: Protocol = EXACT, repeats: int = 1, **changes: Any
) -> dict[str, Any]:
    sets = [(features(1 + 2 * k), features(2 + 2 * k, shift)) for k in range(repeats)]
    return make_report(sets, protocol, subject(**changes))


def test_holds_everything_and_survives_the_disk(tmp_path: Path) -> None:
    made = report(0.5, notes=["a note"])
    write_report(tmp_path / "r.json", made)
    read = read_report(tmp_path / "r.json")
    assert read == json.loads(json.dumps(made))
    row = read["repeats"][0]
    assert row["interval"][0] < read["fvd"] == row["fvd"] < row["interval"][1]
    for key in (
        "kvd",
        "fvd_infinity",
        "standard_error",
        "floor",
        "mean_term",
        "covariance_term",
        "real_rank",
    ):
        assert row[key] is not None
    assert read["protocol_hash"] == EXACT.hash
    table = (tmp_path / "r.txt").read_text()
    for word in ("FVD-infinity", "KVD", "real against real", "standard error", "classes covered", "a note"):
        assert word in table


def test_repeats_give_mean_and_deviation() -> None:
    made = report(0.5, LARP_10K.customized(real_count=N, fake_count=N, repeats=3), repeats=3)
    values = [row["fvd"] for row in made["repeats"]]
    assert made["fvd"] == pytest.approx(np.mean(values))
    assert made["fvd_std_over_repeats"] == pytest.approx(np.std(values, ddof=1))
    assert "3 repeats" in render(made)


def test_only_a_protocol_met_in_full_is_comparable() -> None:
    named = Protocol.from_dict({**EXACT.to_dict(), "name": "named"})
    assert report(protocol=named)["comparable_with_published"]
    assert not report(protocol=EXACT)["comparable_with_published"]
    short = report(protocol=LARP_10K)
    assert not short["comparable_with_published"]
    assert any("takes 10000 real clips, there are 60" in text for text in short["warnings"])
    lossy = report(protocol=named, lossy=True)
    assert not lossy["comparable_with_published"]
    assert any("compressed video" in text for text in lossy["warnings"])
    small = report(protocol=named, comparability="not comparable with any published FVD")
    assert not small["comparable_with_published"]
    assert "not comparable with any published FVD" in render(small)


def test_warns_of_a_reference_of_one_class() -> None:
    made = make_report([(features(1, classes=1), features(2))], EXACT, subject())
    assert any("cover one class of 4" in text for text in made["warnings"])
    assert made["classes_covered"] == {"real": 1, "generated": 4, "of": 4}


def test_reconstructions_are_paired_by_id() -> None:
    made = make_report([(features(1), features(2))], EXACT, subject(paired=True))
    assert made["metric"] == "rFVD"
    with pytest.raises(ValueError, match="pairs them by id"):
        make_report([(features(1), features(2, n=N - 1))], EXACT, subject(paired=True))


def test_inception_score_where_features_are_logits() -> None:
    assert report()["inception_score"] is None
    made = report(logits=True)
    assert 1 <= made["inception_score"]["mean"] <= 5
    assert "Inception Score" in render(made)


def test_compares_best_first() -> None:
    table = compare(["far", "near"], [report(2.0), report(0.1)])
    assert table.index("near") < table.index("far ")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"protocol": EXACT.customized(stride=2)}, "protocols differ.*stride: 1 against 2"),
        ({"extractor": {"fingerprint": "g"}}, "feature networks differ"),
        ({"real": {"hash": "s"}}, "real clips differ"),
        ({"paired": True}, "FVD and rFVD"),
    ],
)
def test_refuses_what_does_not_compare(other: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(["a", "b"], [report(), report(**other)])


def test_refuses_one_report_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        compare(["a"], [report()])
    (tmp_path / "x.json").write_text('{"kind": "other"}')
    with pytest.raises(ValueError, match="no report"):
        read_report(tmp_path / "x.json")
    with pytest.raises(ValueError, match="sets is empty"):
        make_report([], EXACT, subject())

"""The probe reads classes that a linear map can read, and nothing where there is nothing to read."""

import numpy as np
import pytest

from parvideo.metrics.linear_probe import fit_probe

CLASSES = 4


def draw(seed: int, n: int = 240, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of classes around four centres, in more dimensions than a class has clips."""
    centres = np.random.default_rng(7).normal(size=(CLASSES, 100))
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    features = 5 + 3 * (centres[labels] + spread * rng.normal(size=(n, 100)))
    return features, labels, np.arange(n) // 8


def test_reads_classes_of_clips_it_never_saw() -> None:
    probe = fit_probe(*draw(0), CLASSES)
    features, labels, _ = draw(1)
    assert (probe.classify(features) == labels).mean() > 0.97
    assert probe.cross_validated > 0.95


def test_reads_nothing_into_noise_and_cross_validation_says_so() -> None:
    features, labels, groups = draw(0, spread=0)
    noise = np.random.default_rng(3).normal(size=features.shape)
    probe = fit_probe(noise, labels, groups, CLASSES)
    assert abs(probe.cross_validated - 1 / CLASSES) < 0.12
    other = np.random.default_rng(4).normal(size=features.shape)
    assert abs((probe.classify(other) == labels).mean() - 1 / CLASSES) < 0.12


def test_a_video_is_never_on_both_sides() -> None:
    """Clips of one video are alike and say nothing of classes: only a split inside videos could read them."""
    rng = np.random.default_rng(0)
    videos = rng.normal(size=(40, 60))
    groups = np.repeat(np.arange(40), 6)
    labels = rng.permutation(np.arange(40) % CLASSES)[groups]
    probe = fit_probe(videos[groups] + 0.01 * rng.normal(size=(240, 60)), labels, groups, CLASSES)
    assert probe.cross_validated < 0.45
    inside = fit_probe(videos[groups], labels, np.arange(240), CLASSES)
    assert inside.cross_validated > 0.8


def test_is_deterministic_and_blind_to_scale() -> None:
    features, labels, groups = draw(0)
    one, two = (fit_probe(features, labels, groups, CLASSES) for _ in range(2))
    assert np.array_equal(one.weight, two.weight)
    scaled = fit_probe(features * 1000 - 4, labels, groups, CLASSES)
    other, _, _ = draw(1, spread=3)
    assert np.array_equal(scaled.classify(other * 1000 - 4), one.classify(other))
    constant = np.hstack([features, np.ones((len(features), 1))])
    assert np.isfinite(fit_probe(constant, labels, groups, CLASSES).weight).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(240, np.int64)}, "one class"),
        ({"labels": np.arange(240)}, "labels go from 0 to 239"),
        ({"labels": np.arange(3)}, r"labels are \[3\]"),
        ({"groups": np.zeros(240, np.int64)}, "folds is 5"),
        ({"features": np.full((240, 100), np.nan)}, "NaN"),
    ],
)
def test_refuses_what_cannot_be_fitted(changes: dict[str, np.ndarray], message: str) -> None:
    features, labels, groups = draw(0)
    given = {"features": features, "labels": labels, "groups": groups} | changes
    with pytest.raises(ValueError, match=message):
        fit_probe(**given, num_classes=CLASSES)
    with pytest.raises(ValueError, match="finite"):
        fit_probe(features, labels, groups, CLASSES).classify(features[:, :3])

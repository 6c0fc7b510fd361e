"""The Inception Score, by its definition."""

import numpy as np
import pytest

from parvideo.metrics.inception_score import inception_score


def test_inception_score_runs_from_one_to_the_number_of_classes() -> None:
    """Always the same answer, or no answer: 1. Sure of every clip, all classes equally often: C."""
    sure = 1000.0 * np.eye(5)[np.arange(100) % 5]
    assert inception_score(sure, parts=1).mean == pytest.approx(5)
    assert inception_score(sure[:1].repeat(100, 0)).mean == pytest.approx(1)
    assert inception_score(np.zeros((100, 5))).mean == pytest.approx(1)


def test_inception_score_by_its_definition() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 4)) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp((p * np.log(p / p.mean(0))).sum(1).mean())
    assert inception_score(logits, parts=1).mean == pytest.approx(expected, rel=1e-12)
    assert inception_score(logits, parts=5).std > 0
    with pytest.raises(ValueError, match="parts is 51"):
        inception_score(logits, parts=51)

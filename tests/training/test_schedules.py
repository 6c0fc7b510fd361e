"""Learning rates over a run."""

import pytest

from parvideo.training.schedules import warmup_cosine


def test_schedule() -> None:
    factors = [warmup_cosine(step, 100, 10, 0.1) for step in range(120)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[:11] == sorted(factors[:11])
    assert factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == factors[119] == pytest.approx(0.1)

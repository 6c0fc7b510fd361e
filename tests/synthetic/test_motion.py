"""The laws of motion, drawn and fitted."""

import numpy as np
import pytest

from parvideo.synthetic.motion import LAWS, PILLAR_WIDTH

TIME = np.arange(17) / 16


LAW_COUNTS = [(name, count) for name, law in LAWS.items() for count in law.counts]


@pytest.mark.parametrize(("name", "count"), LAW_COUNTS)
def test_a_law_is_fitted_in_spite_of_wrong_points(name: str, count: int) -> None:
    law = LAWS[name]
    for seed in range(4):
        random = np.random.default_rng(seed)
        radius = random.uniform(*law.radii)
        truth = law.place(law.sample(random.uniform(0.85, 1.15), random, radius, count), TIME, radius)
        assert truth.shape == (17, count, 2)
        assert np.abs(truth).max() <= 0.5 - radius
        points, weights = truth + random.normal(0, 0.005, truth.shape), np.ones((17, count))
        weights[3:5] = 0
        points[9:11] += 0.2
        for mirror in (1, -1):  # a mirrored clip obeys the same law
            flip = np.array([mirror, 1])
            fitted = law.place(law.fit(points * flip, weights, TIME, radius), TIME, radius)
            assert np.linalg.norm(fitted - truth * flip, axis=-1).max() < 1.8 / 64


def test_bodies_collide_hide_and_stand_still_in_the_world() -> None:
    time = np.arange(64) / 16
    for seed in range(5):
        random = np.random.default_rng(seed)
        collide, hide, pan = LAWS["Collide"], LAWS["Hide"], LAWS["Pan"]
        places = collide.place(collide.sample(1.0, random, 0.12, 2), time, 0.12)
        gap = places[:, 1, 0] - places[:, 0, 0]
        assert np.abs(gap).min() >= 0.24
        assert len(set(np.sign(gap))) == 1
        x = hide.place(hide.sample(1.0, random, 0.12, 1), time, 0.12)[:, 0, 0]
        assert (np.abs(x) < PILLAR_WIDTH / 2 - 0.12).any()
        params = pan.sample(1.0, random, 0.11, 3)
        still = pan.place(params, time, 0.11) - pan.camera(params, time)[:, None]
        assert np.ptp(still, axis=0).max() < 1e-9

"""The error bar is the spread it claims, the limit is nearer the truth, the floor is the bias."""

import numpy as np
import pytest

from parvideo.metrics.frechet import FrechetFormula, frechet_distance
from parvideo.metrics.uncertainty import assign_groups, extrapolate, group_jackknife, real_floor


def test_groups_are_even_whole_and_independent_of_order() -> None:
    sources = np.random.default_rng(0).integers(0, 2**40, 100).repeat(3)
    groups = assign_groups(sources, 20)
    assert np.bincount(groups).tolist() == [15] * 20
    assert all(len(np.unique(groups[sources == source])) == 1 for source in np.unique(sources))
    order = np.random.default_rng(1).permutation(300)
    assert np.array_equal(assign_groups(sources[order], 20), groups[order])


@pytest.mark.parametrize("paired", [False, True])
def test_standard_error_is_the_spread_over_fresh_samples(paired: bool) -> None:
    errors, values = [], []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        real = rng.normal(size=(120, 5))
        fake = (real if paired else rng.normal(size=(120, 5))) * 1.3 + 0.5 + 0.3 * rng.normal(size=(120, 5))
        ids = np.arange(120)
        jackknife = group_jackknife(real, fake, ids, ids if paired else ids + 1000)
        assert jackknife is not None
        assert jackknife.groups == 20
        errors.append(jackknife.standard_error)
        values.append(frechet_distance(real, fake).value)
    assert 0.8 < np.mean(errors) / np.std(values) < 1.5  # slightly conservative


def test_samples_of_one_source_are_deleted_together() -> None:
    """Ten copies of each sample tell no more than one: the error must not shrink by the root of ten."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(100, 4)), rng.normal(size=(100, 4)) + 0.5
    ids = np.arange(100)
    single = group_jackknife(real, fake, ids, ids + 1000)
    tenfold = group_jackknife(*(np.repeat(x, 10, 0) for x in (real, fake, ids, ids + 1000)))
    assert single is not None
    assert tenfold is not None
    assert tenfold.standard_error == pytest.approx(single.standard_error, rel=0.05)


@pytest.mark.parametrize(
    "formula", [FrechetFormula(root, ddof) for root in ("exact", "svd") for ddof in (0, 1)]
)
@pytest.mark.parametrize("n", [30, 200])
def test_jackknife_is_what_leaving_groups_out_gives(formula: FrechetFormula, n: int) -> None:
    """Below 2d samples by the features, above by moments: either way the spread of the twenty distances."""
    rng = np.random.default_rng(0)
    real, fake, ids = rng.normal(size=(n, 20)) + 50, rng.normal(size=(n, 20)) * 2 + 50, np.arange(n)
    found = group_jackknife(real, fake, ids, ids + n, formula)
    a, b = assign_groups(ids, 20), assign_groups(ids + n, 20)
    values = [frechet_distance(real[a != k], fake[b != k], formula).value for k in range(20)]
    assert found is not None
    assert found.standard_error == pytest.approx(np.sqrt(19) * np.std(values), rel=1e-6)


def test_no_error_without_two_sources() -> None:
    x = np.random.default_rng(0).normal(size=(10, 2))
    assert group_jackknife(x, x, np.zeros(10, np.int64), np.arange(10)) is None


def test_extrapolation_is_nearer_the_truth_at_2048() -> None:
    """Identical 100-d Gaussians, and two 1 apart in every mean: the truth is 0 and 100."""
    for shift, truth in ((0.0, 0.0), (1.0, 100.0)):
        rng = np.random.default_rng(5)
        real, fake = rng.normal(size=(2048, 100)), rng.normal(size=(2048, 100)) + shift
        value, limit = frechet_distance(real, fake).value, extrapolate(real, fake)
        assert limit is not None
        assert limit.reliable
        assert abs(limit.value - truth) < abs(value - truth) / 2


def test_extrapolation_says_when_it_is_unreliable() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 50, 40))
    limit = extrapolate(x, y)
    assert limit is not None
    assert not limit.reliable
    assert extrapolate(x[:3], y[:3]) is None


def test_floor_is_the_bias_of_identical_distributions() -> None:
    floors, values = [], []
    for seed in range(20):
        real, fake = np.random.default_rng(seed).normal(size=(2, 400, 10))
        floor = real_floor(real, np.arange(400), 400)
        assert floor is not None
        assert floor.count == 200
        floors.append(floor.scaled)
        values.append(frechet_distance(real, fake).value)
    assert np.mean(floors) == pytest.approx(np.mean(values), rel=0.15)


def test_floor_splits_by_source() -> None:
    """Two sources far apart: split by source, the halves differ; split by sample, they would not."""
    rng = np.random.default_rng(0)
    groups = np.arange(2).repeat(50)
    real = rng.normal(size=(100, 3)) + 10 * groups[:, None]
    floor = real_floor(real, groups, 100)
    assert floor is not None
    assert floor.value > 100
    assert real_floor(real, np.zeros(100, np.int64), 100) is None

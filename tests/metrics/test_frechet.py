"""Fréchet and kernel distances: published values, closed forms, and the properties of a distance."""

import json
from pathlib import Path

import numpy as np
import pytest

from parvideo.metrics.frechet import (
    FrechetFormula,
    covariance_rank,
    frechet_distance,
    frechet_from_moments,
    moments,
)
from parvideo.metrics.kvd import kernel_distance

FORMULAS = [FrechetFormula(root, ddof) for root in ("exact", "svd", "sqrtm") for ddof in (0, 1)]


def golden_features(case: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The seeded Gaussians of tests/golden/frechet.json."""
    rng, d = np.random.default_rng(case["rng_seed"]), case["dim"]
    a, b = (rng.normal(size=(d, d)) / np.sqrt(d) for _ in range(2))
    return rng.normal(size=(case["n_real"], d)) @ a, rng.normal(size=(case["n_fake"], d)) @ b + 0.1


@pytest.fixture(scope="module")
def golden(golden_folder: Path) -> list[dict]:
    return json.loads((golden_folder / "frechet.json").read_text())["cases"]


def gaussians(n: int, d: int, seed: int = 0, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)) * 1.5 + shift


@pytest.mark.parametrize("formula", [f for f in FORMULAS if f.ddof == 1])
def test_equals_published_functions_at_full_rank(golden: list[dict], formula: FrechetFormula) -> None:
    full = [case for case in golden if min(case["n_real"], case["n_fake"]) > case["dim"]]
    assert len(full) == 2
    for case in full:
        value = frechet_distance(*golden_features(case), formula).value
        assert value == pytest.approx(case["stylegan_v"], rel=1e-6)
        assert value == pytest.approx(case["videogpt"], rel=1e-6)


def test_fewer_samples_than_dimensions_by_the_exact_form(golden: list[dict]) -> None:
    (case,) = (case for case in golden if case["n_real"] < case["dim"])
    real, fake = golden_features(case)
    value = frechet_distance(real, fake).value
    x, y = real - real.mean(0), fake - fake.mean(0)
    nuclear = np.linalg.svd(x @ y.T, compute_uv=False).sum() / 99
    traces = ((x**2).sum() + (y**2).sum()) / 99
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + traces - 2 * nuclear
    assert value == pytest.approx(expected, rel=1e-12)
    assert value == pytest.approx(case["videogpt"], rel=1e-9)


@pytest.mark.parametrize("formula", FORMULAS)
def test_same_set_twice_is_zero_and_distance_is_symmetric(formula: FrechetFormula) -> None:
    real, fake = gaussians(300, 40)
    assert abs(frechet_distance(real, real, formula).value) < 1e-6
    forth, back = frechet_distance(real, fake, formula), frechet_distance(fake, real, formula)
    assert forth.value == pytest.approx(back.value, rel=1e-9)
    assert forth.value == pytest.approx(forth.mean_term + forth.covariance_term, rel=1e-15)


def test_same_set_twice_is_zero_below_full_rank() -> None:
    real, _ = gaussians(20, 400)
    assert abs(frechet_distance(real, real).value) < 1e-6


def test_closed_form_of_gaussians() -> None:
    """N(0, I) and N(m, diag(s^2)) are |m|^2 + sum (s - 1)^2 apart; whitened samples have those moments."""
    rng = np.random.default_rng(0)
    white = rng.normal(size=(500, 6))
    white -= white.mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(white.T @ white / 499)).T
    scale, mean = np.array([1, 2, 0.5, 3, 1, 0.1]), np.array([0, 1, 0, -2, 0, 3.0])
    for formula in (f for f in FORMULAS if f.ddof == 1):
        distance = frechet_distance(white, white * scale + mean, formula)
        assert distance.mean_term == pytest.approx((mean**2).sum(), rel=1e-9)
        assert distance.covariance_term == pytest.approx(((scale - 1) ** 2).sum(), rel=1e-9)


def test_moments_give_what_features_give() -> None:
    real, fake = gaussians(200, 30)
    value = frechet_from_moments(moments(real), moments(fake)).value
    assert value == pytest.approx(frechet_distance(real, fake).value, rel=1e-10)
    with pytest.raises(ValueError, match="ddof differs"):
        frechet_from_moments(moments(real, 0), moments(fake, 1))


def test_single_precision_moves_the_value_as_published() -> None:
    real, fake = gaussians(300, 200)
    single = frechet_distance(real, fake, FrechetFormula("svd", 1, "float32")).value
    double = frechet_distance(real, fake, FrechetFormula("svd", 1)).value
    assert 0 < abs(single - double) < 0.1


def test_ddof_scales_the_covariance_term() -> None:
    real, fake = gaussians(50, 10)
    terms = [frechet_distance(real, fake, FrechetFormula(ddof=ddof)).covariance_term for ddof in (0, 1)]
    assert terms[0] == pytest.approx(terms[1] * 49 / 50, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: np.where(np.arange(8) == 3, np.nan, x), "NaN or infinity in 20 of 20"),
        (lambda x: x[:1], "N >= 2"),
        (lambda x: x[0], "N >= 2"),
        (lambda x: x[:, :5], "8 wide and fake ones 5"),
    ],
)
def test_refuses_bad_features(change, message: str) -> None:
    real, fake = gaussians(20, 8)
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match=message):
            distance(real, change(fake))


@pytest.mark.parametrize(
    "fields", [{"square_root": "eig"}, {"ddof": 2}, {"precision": "float16"}, {"precision": "float32"}]
)
def test_refuses_unknown_formula(fields: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        FrechetFormula(**fields)


def test_rank_is_bounded_by_samples_and_dimensions() -> None:
    assert covariance_rank(gaussians(10, 40)[0]) == 9
    assert covariance_rank(gaussians(100, 40)[0]) == 40

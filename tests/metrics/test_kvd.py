"""Kernel distance: the mean of a kernel, without bias."""

import numpy as np
import pytest

from parvideo.metrics.frechet import (
    frechet_distance,
)
from parvideo.metrics.kvd import kernel_distance


def gaussians(n: int, d: int, seed: int = 0, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)) * 1.5 + shift


def test_kernel_distance_is_the_mean_of_the_kernel_without_the_diagonal() -> None:
    real, fake = gaussians(7, 3)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / 3 + 1) ** 3

    within = [
        np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (real, fake)
    ]
    across = np.mean([k(a, b) for a in real for b in fake])
    assert kernel_distance(real, fake) == pytest.approx(sum(within) - 2 * across, rel=1e-12)


def test_kernel_distance_is_unbiased_where_fvd_is_not() -> None:
    kvd, fvd = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        real, fake = rng.normal(size=(2, 40, 10))
        kvd.append(kernel_distance(real, fake))
        fvd.append(frechet_distance(real, fake).value)
    assert abs(np.mean(kvd)) < 3 * np.std(kvd) / np.sqrt(60)
    assert np.mean(fvd) > 10 * np.std(fvd) / np.sqrt(60)

"""Kernel video distance: squared maximum mean discrepancy between features under a polynomial kernel.

k(x, y) = (x.y / d + 1)^3, unbiased (Binkowski et al., arXiv 1801.01401, section 4). Unlike FVD it has no bias
that falls with N, and may be slightly negative when the two sets agree.
"""

from parvideo.metrics.frechet import Array, check_features
from parvideo.pixels import TensorLike

_BLOCK = 2048


def kernel_distance(real: TensorLike, fake: TensorLike, degree: int = 3, coef: float = 1.0) -> float:
    """Unbiased squared MMD between features ``real [N, d]`` and ``fake [M, d]``.

    Args:
        real: features of real clips.
        fake: features of generated clips.
        degree: of the polynomial kernel, 1 or more.
        coef: the constant added inside the power.

    Raises:
        ValueError: if a set is not ``[N >= 2, d]``, the widths differ, or a feature is not finite.

    >>> import numpy as np
    >>> features = np.random.default_rng(0).normal(size=(200, 4))
    >>> abs(kernel_distance(features[:100], features[100:])) < 0.5 < kernel_distance(features, features + 2)
    True
    """
    real, fake = check_features(real, "real"), check_features(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real features are {real.shape[1]} wide and fake ones {fake.shape[1]}")
    n, m = len(real), len(fake)

    def power(kernel: Array) -> Array:
        result = kernel.copy()
        for _ in range(degree - 1):  # many times as fast as numpy's power
            result *= kernel
        return result

    def total(a: Array, b: Array) -> float:
        blocks = (a[i : i + _BLOCK] for i in range(0, len(a), _BLOCK))
        return sum(float(power(block @ b.T / a.shape[1] + coef).sum()) for block in blocks)

    def diagonal(a: Array) -> float:
        return float(power((a * a).sum(axis=1) / a.shape[1] + coef).sum())

    within_real = (total(real, real) - diagonal(real)) / (n * (n - 1))
    within_fake = (total(fake, fake) - diagonal(fake)) / (m * (m - 1))
    return within_real + within_fake - 2 * total(real, fake) / (n * m)

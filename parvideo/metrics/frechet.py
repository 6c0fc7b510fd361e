"""Fréchet distance between two sets of features, each taken for a sample of a Gaussian.

FD = |mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))   (Dowson and Landau 1982; FID, arXiv 1706.08500)

Published code disagrees in three choices, all explicit here in `FrechetFormula`: whether covariances divide
by N or N - 1, the precision, and how the trace of the matrix square root is found.
"""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from parvideo.pixels import TensorLike, as_array

Array = NDArray[np.float64]
SquareRoot = Literal["exact", "svd", "sqrtm"]

_SVD_EPS = 1e-10  # the original TensorFlow code leaves singular values below this one unrooted


@dataclass(frozen=True)
class FrechetFormula:
    """How a Fréchet distance is computed.

    Attributes:
        square_root: ``exact`` (nuclear norm of the product of the centred features, valid for any N),
            ``svd`` (two singular value decompositions, as the original TensorFlow code) or ``sqrtm``
            (scipy's matrix square root, as StyleGAN-V). At full rank in float64 they agree to 1e-11.
        ddof: 1 divides covariances by N - 1, 0 by N.
        precision: ``float64``, or ``float32`` to reproduce code whose error is part of its number.

    Raises:
        ValueError: for another value, or ``exact`` in float32 (nobody published that).
    """

    square_root: SquareRoot = "exact"
    ddof: int = 1
    precision: Literal["float64", "float32"] = "float64"

    def __post_init__(self) -> None:
        if self.square_root not in ("exact", "svd", "sqrtm"):
            raise ValueError(f"square_root is {self.square_root!r}; it must be exact, svd or sqrtm")
        if self.ddof not in (0, 1):
            raise ValueError(f"ddof is {self.ddof!r}; it must be 0 or 1")
        if self.precision not in ("float64", "float32"):
            raise ValueError(f"precision is {self.precision!r}; it must be float64 or float32")
        if self.square_root != "svd" and self.precision == "float32":
            raise ValueError(f"precision float32 needs square_root svd, not {self.square_root!r}")


@dataclass(frozen=True)
class FrechetDistance:
    """A Fréchet distance and the two terms it is the sum of."""

    value: float
    mean_term: float
    covariance_term: float


@dataclass(frozen=True)
class Moments:
    """Mean ``[d]`` and covariance ``[d, d]`` (divided by count - ddof) of ``count`` features."""

    mean: Array
    covariance: Array
    count: int
    ddof: int


def check_features(features: TensorLike, name: str) -> Array:
    """Return ``features [N, d]`` as float64.

    Raises:
        ValueError: if they are not two-dimensional, fewer than two, not numbers, or not all finite.
    """
    features = as_array(features, f"{name} features")
    if features.dtype.kind not in "fiu":
        raise ValueError(f"{name} features are {features.dtype}; they must be real numbers")
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"{name} features must be [N, d] with N >= 2, got {list(features.shape)}")
    features = np.asarray(features, dtype=np.float64)
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        raise ValueError(f"{name} features hold NaN or infinity in {bad} of {len(features)} rows")
    return features


def moments(features: TensorLike, ddof: int = 1) -> Moments:
    """Mean and covariance of features ``[N, d]`` in float64."""
    features = check_features(features, "the")
    mean = features.mean(axis=0)
    centred = features - mean
    return Moments(mean, centred.T @ centred / (len(features) - ddof), len(features), ddof)


def frechet_distance(
    real: TensorLike, fake: TensorLike, formula: FrechetFormula | None = None
) -> FrechetDistance:
    """Fréchet distance between features ``real [N, d]`` and ``fake [M, d]``.

    Args:
        real: features of real clips.
        fake: features of generated clips.
        formula: which published variant; exact, N - 1, float64 when left out.

    Raises:
        ValueError: if a set is not ``[N >= 2, d]``, the two widths differ, or a feature is not finite.

    >>> real = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    >>> round(frechet_distance(real, real + 3.0).value, 6)  # equal but for the means: |(3, 3)| squared
    18.0
    """
    formula = formula or FrechetFormula()
    real, fake = check_features(real, "real"), check_features(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real features are {real.shape[1]} wide and fake ones {fake.shape[1]}")
    if formula.square_root != "exact":
        return frechet_from_moments(moments(real, formula.ddof), moments(fake, formula.ddof), formula)
    mean_term = float(((real.mean(axis=0) - fake.mean(axis=0)) ** 2).sum())
    root_r, root_f = _triangular_root(real, formula.ddof), _triangular_root(fake, formula.ddof)
    # Tr (S_1 S_2)^(1/2) is the nuclear norm of R_1 R_2^T for any S_i = R_i^T R_i: nothing is rooted that
    # rounding could have made negative, so this holds for N < d as well.
    cross = float(np.linalg.svd(root_r @ root_f.T, compute_uv=False).sum())
    covariance_term = float((root_r**2).sum() + (root_f**2).sum()) - 2 * cross
    return FrechetDistance(mean_term + covariance_term, mean_term, covariance_term)


def frechet_from_moments(
    real: Moments, fake: Moments, formula: FrechetFormula | None = None
) -> FrechetDistance:
    """Fréchet distance between two Gaussians given by their moments (for sets too large to keep).

    Raises:
        ValueError: if the widths or the ``ddof`` of moments and formula differ.
    """
    formula = formula or FrechetFormula(ddof=real.ddof)
    if real.mean.shape != fake.mean.shape:
        raise ValueError(f"real moments are {len(real.mean)} wide and fake ones {len(fake.mean)}")
    if not real.ddof == fake.ddof == formula.ddof:
        raise ValueError(f"ddof differs: real {real.ddof}, fake {fake.ddof}, formula {formula.ddof}")
    mean_term = float(((real.mean - fake.mean) ** 2).sum())
    s_r, s_f = real.covariance, fake.covariance
    if formula.square_root == "exact":
        cross = _trace_by_symmetric_roots(s_r, s_f)
    elif formula.square_root == "svd":
        dtype = np.dtype(formula.precision)
        s_r, s_f = s_r.astype(dtype), s_f.astype(dtype)
        root = _svd_root(s_r)
        cross = float(np.trace(_svd_root(root @ s_f @ root)))
    else:
        cross = _trace_of_sqrtm(s_r, s_f)
    covariance_term = float(np.trace(s_r) + np.trace(s_f)) - 2 * cross
    return FrechetDistance(mean_term + covariance_term, mean_term, covariance_term)


def covariance_rank(features: TensorLike) -> int:
    """Numerical rank of the covariance of features ``[N, d]``: at most min(N - 1, d)."""
    features = check_features(features, "the")
    return int(np.linalg.matrix_rank(_triangular_root(features, ddof=0)))


def _triangular_root(features: Array, ddof: int) -> Array:
    """R ``[min(N, d), d]`` with R^T R the covariance."""
    centred = features - features.mean(axis=0)
    scaled: Array = centred / np.sqrt(len(features) - ddof)
    if len(scaled) <= scaled.shape[1]:
        return scaled
    root: Array = scipy.linalg.qr(scaled, mode="r", check_finite=False)[0][: scaled.shape[1]]
    return root


def _symmetric_root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    root: Array = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def _trace_of_sqrtm(real: Array, fake: Array) -> float:
    """Tr (S_1 S_2)^(1/2) by scipy's matrix square root, as the published code has it.

    Scipy finds none of some matrices far from full rank, such as those of clips all alike; there the trace
    comes from the symmetric roots, which every covariance has, and is what scipy's would be.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is looked at here
        trace = float(np.real(np.trace(scipy.linalg.sqrtm(real @ fake))))
    return trace if np.isfinite(trace) else _trace_by_symmetric_roots(real, fake)


def _trace_by_symmetric_roots(real: Array, fake: Array) -> float:
    return float(np.linalg.svd(_symmetric_root(real) @ _symmetric_root(fake), compute_uv=False).sum())


def _svd_root(matrix: Array) -> Array:
    """The original TensorFlow form: U f(s) V, f the root above a threshold and the identity below."""
    u, s, vt = np.linalg.svd(matrix)
    root: Array = (u * np.where(s < _SVD_EPS, s, np.sqrt(s))) @ vt
    return root

"""What must stand beside a Fréchet distance: its standard error, its limit in N, and what real data scores.

FVD of N samples is biased upwards by about c / N, so a bare number says little: these functions give the
error bar (delete-a-group jackknife), the value extrapolated to infinite N (Chong and Forsyth, arXiv
1911.07023) and the distance between two halves of the real set.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parvideo.metrics.frechet import (
    Array,
    FrechetFormula,
    Moments,
    frechet_distance,
    frechet_from_moments,
    moments,
)

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Jackknife:
    """Standard error of a Fréchet distance, and how many groups of source videos it was found from."""

    standard_error: float
    groups: int


@dataclass(frozen=True)
class Extrapolation:
    """A Fréchet distance extrapolated linearly in 1/N, and the largest divisor of N used for it."""

    value: float
    folds: int
    reliable: bool


@dataclass(frozen=True)
class Floor:
    """Fréchet distance between two disjoint parts of the real set, ``count`` clips each.

    Attributes:
        value: as measured, at ``count`` against ``count``.
        count: clips in each part.
        scaled: ``value`` brought to the counts of the report by the 1/N law; what a perfect generator would
            score on average.
    """

    value: float
    count: int
    scaled: float


def assign_groups(groups: Ids, count: int, seed: int = 0) -> Ids:
    """Spread source videos over ``count`` jackknife groups as evenly as possible; equal ids share a group.

    The assignment depends on the ids present and the seed alone, not on the order of samples.
    """
    unique, inverse = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(unique))
    assigned: Ids = (order % count)[inverse].astype(np.int64)
    return assigned


def group_jackknife(
    real: Array,
    fake: Array,
    real_groups: Ids,
    fake_groups: Ids,
    formula: FrechetFormula | None = None,
    groups: int = 20,
) -> Jackknife | None:
    """Delete-a-group jackknife over source videos.

    One group of real and one of fake samples are left out together: right when the two sets are independent
    and when they are paired (samples of the same source share a group id).

    Args:
        real: features ``[N, d]``.
        fake: features ``[M, d]``.
        real_groups: source video of each real sample ``[N]``; samples of one source are left out together.
        fake_groups: the same for the fake ones ``[M]``.
        formula: of the Fréchet distance.
        groups: how many groups to delete in turn.

    Returns:
        None where there are fewer than two source videos on either side, so that no error can be known.
    """
    sources = np.unique(np.concatenate([real_groups, fake_groups]))
    groups = min(groups, len(np.unique(real_groups)), len(np.unique(fake_groups)))
    if groups < 2:
        return None
    if len(np.intersect1d(real_groups, fake_groups)):
        assigned = assign_groups(sources, groups)
        in_real = assigned[np.searchsorted(sources, real_groups)]
        in_fake = assigned[np.searchsorted(sources, fake_groups)]
    else:
        in_real, in_fake = assign_groups(real_groups, groups), assign_groups(fake_groups, groups)
    formula = formula or FrechetFormula()
    left = min(len(x) - np.bincount(own).max() for x, own in ((real, in_real), (fake, in_fake)))
    if left < 2:
        return None
    if left >= 2 * real.shape[1]:
        pairs = zip(
            _moments_without_each(real, in_real, groups, formula.ddof),
            _moments_without_each(fake, in_fake, groups, formula.ddof),
            strict=True,
        )
        values = [frechet_from_moments(*pair, formula).value for pair in pairs]
    else:
        values = [_distance(real[in_real != k], fake[in_fake != k], formula) for k in range(groups)]
    deviations = np.array(values) - np.mean(values)
    return Jackknife(float(np.sqrt((groups - 1) / groups * (deviations**2).sum())), groups)


def extrapolate(
    real: Array, fake: Array, formula: FrechetFormula | None = None, max_folds: int = 5, seed: int = 0
) -> Extrapolation | None:
    """Fréchet distance at infinite N: a line through FD(N / k), k = 1 .. folds, against k, read off at k = 0.

    Both sets are cut into k disjoint parts and the distances of the parts averaged. As many folds are used as
    leave parts of at least 2d samples, where the bias is still close to linear in 1/N, and at least two.

    Returns:
        None where a half would have fewer than two samples; ``reliable`` is false where it has fewer than 2d.
    """
    smaller, dim = min(len(real), len(fake)), real.shape[1]
    folds = int(np.clip(smaller // (2 * dim), 2, max_folds))
    if smaller // folds < 2:
        return None
    rng = np.random.default_rng(seed)
    real, fake = real[rng.permutation(len(real))], fake[rng.permutation(len(fake))]
    divisors = np.arange(1, folds + 1)
    means = [np.mean([_distance(real[i::k], fake[i::k], formula) for i in range(k)]) for k in divisors]
    _, intercept = np.polyfit(divisors, means, 1)
    return Extrapolation(float(intercept), folds, smaller // folds >= 2 * dim)


def real_floor(
    real: Array, real_groups: Ids, fake_count: int, formula: FrechetFormula | None = None, seed: int = 0
) -> Floor | None:
    """Fréchet distance between two disjoint parts of the real set, split by source video.

    The parts have ``fake_count`` clips each, or half of the real set where there are not enough.

    Returns:
        None where there are fewer than two source videos, or a part would have fewer than two clips.
    """
    if len(np.unique(real_groups)) < 2:
        return None
    rng = np.random.default_rng(seed)
    half = assign_groups(real_groups, 2, seed)
    parts = [rng.permutation(np.flatnonzero(half == k)) for k in (0, 1)]
    count = min(fake_count, len(parts[0]), len(parts[1]))
    if count < 2:
        return None
    value = _distance(real[parts[0][:count]], real[parts[1][:count]], formula)
    scaled = value * (1 / len(real) + 1 / fake_count) / (2 / count)
    return Floor(value, count, scaled)


def _distance(real: Array, fake: Array, formula: FrechetFormula | None) -> float:
    """The Fréchet distance, by way of the moments where there are samples enough for those to be exact."""
    formula = formula or FrechetFormula()
    if min(len(real), len(fake)) < 2 * real.shape[1]:
        return frechet_distance(real, fake, formula).value
    return frechet_from_moments(moments(real, formula.ddof), moments(fake, formula.ddof), formula).value


def _moments_without_each(features: Array, groups: Ids, count: int, ddof: int) -> list[Moments]:
    """Moments of the features without group 0, without group 1, ...; each sample is multiplied once."""
    offset = features.mean(axis=0)  # sums around the mean: subtracting a group then cancels nothing
    centred = features - offset
    members = [centred[groups == k] for k in range(count)]
    sums = [part.sum(axis=0) for part in members]
    squares = [part.T @ part for part in members]
    total_sum, total_square = np.sum(sums, axis=0), np.sum(squares, axis=0)
    found = []
    for part, own_sum, own_square in zip(members, sums, squares, strict=True):
        n = len(features) - len(part)
        mean = (total_sum - own_sum) / n
        covariance = (total_square - own_square - n * np.outer(mean, mean)) / (n - ddof)
        found.append(Moments(mean + offset, covariance, n, ddof))
    return found

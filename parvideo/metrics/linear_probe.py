"""A linear probe: how well the classes of clips can be read from a network's features by a linear map.

Ridge regression onto one column a class, the highest column being the answer; its penalty is chosen by cross
validation that never splits a source video. The clips it learns from and those it is tried on are the
caller's: accuracy on generated clips means something only beside that on real clips which it never saw.
"""

from dataclasses import dataclass

import numpy as np

from parvideo.metrics.frechet import Array, check_features
from parvideo.metrics.uncertainty import Ids

PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""Tried, in units of the largest squared singular value of the standardized features."""


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe.

    Attributes:
        mean: of the features it learned from ``[d]``; taken away first.
        scale: their standard deviation ``[d]``; divided by next.
        weight: ``[d, classes]``.
        bias: ``[classes]``.
        penalty: the one that cross validation chose.
        cross_validated: accuracy in that cross validation, on videos left out of the fit.
    """

    mean: Array
    scale: Array
    weight: Array
    bias: Array
    penalty: float
    cross_validated: float

    def classify(self, features: Array) -> Ids:
        """The class of each row of ``features [N, d]``, int64 ``[N]``.

        Raises:
            ValueError: if features are not ``[N, d]`` or not finite.
        """
        return _scores(self.mean, self.scale, self.weight, self.bias, features).argmax(axis=1)


def fit_probe(
    features: Array, labels: Ids, groups: Ids, num_classes: int, folds: int = 5, seed: int = 0
) -> LinearProbe:
    """Fit a probe to the features of real clips.

    Args:
        features: float ``[N, d]``.
        labels: the class of each, ``[N]`` in ``0 .. num_classes - 1``.
        groups: source video of each, ``[N]``; a video is never on both sides of the cross validation.
        num_classes: of the data set.
        folds: of the cross validation, at least 2.
        seed: of which video goes into which fold.

    Raises:
        ValueError: if shapes do not fit, a label is out of range, fewer than two classes occur, or there are
            fewer videos than folds.
    """
    features = check_features(features, "probe")
    for name, ids in (("labels", labels), ("groups", groups)):
        if ids.shape != features.shape[:1]:
            raise ValueError(f"{name} are {list(ids.shape)}, there are {len(features)} features")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}, the classes to {num_classes - 1}")
    if len(np.unique(labels)) < 2:
        raise ValueError("labels hold one class; a probe takes at least 2")
    videos, video_of = np.unique(groups, return_inverse=True)
    if folds < 2 or len(videos) < folds:
        raise ValueError(f"folds is {folds}; it must be at least 2 and at most the {len(videos)} videos")
    fold = np.random.default_rng(seed).permutation(np.arange(len(videos)) % folds)[video_of]
    right = np.zeros(len(PENALTIES))
    for k in range(folds):
        fitted = _fit(features[fold != k], labels[fold != k], num_classes)
        for row, (mean, scale, weight, bias) in enumerate(fitted):
            said = _scores(mean, scale, weight, bias, features[fold == k]).argmax(axis=1)
            right[row] += np.sum(said == labels[fold == k])
    best = len(PENALTIES) - 1 - int(right[::-1].argmax())  # of equally good ones the strongest
    mean, scale, weight, bias = _fit(features, labels, num_classes)[best]
    return LinearProbe(mean, scale, weight, bias, PENALTIES[best], float(right[best] / len(labels)))


def _fit(features: Array, labels: Ids, num_classes: int) -> list[tuple[Array, Array, Array, Array]]:
    """Mean, scale, weight and bias under each of `PENALTIES`."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    x = (features - mean) / scale
    targets = np.eye(num_classes)[labels]
    bias = targets.mean(axis=0)
    # One decomposition serves all penalties: w = V diag(s / (s^2 + N penalty)) U^T y.
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    projected = u.T @ (targets - bias)
    largest = float(s[0] ** 2) if len(s) else 1.0
    return [
        (mean, scale, vt.T @ ((s / (s**2 + penalty * largest + 1e-12))[:, None] * projected), bias)
        for penalty in PENALTIES
    ]


def _scores(mean: Array, scale: Array, weight: Array, bias: Array, features: Array) -> Array:
    if features.ndim != 2 or features.shape[1] != len(mean) or not np.isfinite(features).all():
        raise ValueError(f"features must be finite [N, {len(mean)}], got {list(features.shape)}")
    return (features.astype(np.float64) - mean) / scale @ weight + bias

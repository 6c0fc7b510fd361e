"""Inception Score: how sure a classifier is of each clip and how varied its answers are over all clips.

exp(E_x KL(p(y|x) || p(y))), Salimans et al. (arXiv 1606.03498); for video with C3D trained on UCF-101. It
never looks at real clips.
"""

from dataclasses import dataclass

import numpy as np
import scipy.special

from parvideo.metrics.frechet import check_features
from parvideo.pixels import TensorLike


@dataclass(frozen=True)
class InceptionScore:
    """Mean and standard deviation of the score over disjoint parts of the clips."""

    mean: float
    std: float
    parts: int


def inception_score(logits: TensorLike, parts: int = 10, seed: int = 0) -> InceptionScore:
    """Inception Score of class logits ``[N, C]`` of generated clips, before softmax.

    Args:
        logits: of N clips.
        parts: disjoint random parts over which mean and deviation are taken.
        seed: of the split.

    Raises:
        ValueError: if the logits are not ``[N >= 2, C]`` and finite, or there are fewer clips than parts.

    >>> sure = 100 * np.eye(4)  # each clip surely of another class: as many as there are classes
    >>> round(inception_score(sure, parts=1).mean, 6)
    4.0
    """
    logits = check_features(logits, "class")
    if not 1 <= parts <= len(logits):
        raise ValueError(f"parts is {parts}; it must be between 1 and the number of clips, {len(logits)}")
    log_p = scipy.special.log_softmax(logits, axis=1)[np.random.default_rng(seed).permutation(len(logits))]
    scores = []
    for part in np.array_split(log_p, parts):
        log_mean = scipy.special.logsumexp(part, axis=0) - np.log(len(part))
        scores.append(np.exp((np.exp(part) * (part - log_mean)).sum(axis=1).mean()))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), parts)

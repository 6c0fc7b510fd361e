"""The self-test of FVD: does the feature network give its known answers on this machine?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from parvideo.jobs.devices import launch
from parvideo.jobs.extract_features import to_device
from parvideo.metrics import known_clips
from parvideo.metrics.extractors import i3d_weights
from parvideo.metrics.extractors.i3d import I3DExtractor


def self_test(i3d: Path | None, accelerator: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Ask the I3D about the known clips.

    Args:
        i3d: weights; those of `parvideo weights i3d` if not given.
        accelerator: where, as of Lightning.
        say: takes the comparison as a table, and what follows from it.

    Returns:
        The largest difference of logits, and FVD and KVD of the known clips.

    Raises:
        ValueError: if it does not give the known answers.
    """
    extractor = I3DExtractor(i3d_weights.find(i3d), bn_eps=i3d_weights.BN_EPS)
    fabric = launch(accelerator, 1)
    to_device(extractor, fabric)
    found = known_clips.measure(extractor)
    comparison = known_clips.compare(found, known_clips.expected())
    say(comparison.table())
    if not comparison.passed:
        raise ValueError(
            f"{extractor.path} on {fabric.device} does not give the known answers, which hold for the "
            f"weights of `{i3d_weights.COMMAND}` in float32: numbers made here do not compare"
        )
    say(f"the known answers are met on {fabric.device}")
    return {"logits_difference": comparison.rows[0][3], "fvd": found.fvd, "kvd": found.kvd}

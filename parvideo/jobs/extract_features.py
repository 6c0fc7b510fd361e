"""Scoring: clips from a source through a feature extractor into shards on disk, on one device or many."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning import Fabric
from torch import nn

from parvideo.evaluation.feature_store import FeatureSet, FeatureStore
from parvideo.evaluation.protocols import Protocol
from parvideo.evaluation.sources import ClipSource
from parvideo.files import read_json
from parvideo.jobs.devices import shard_work
from parvideo.metrics.extractors import i3d_weights
from parvideo.metrics.extractors import torchscript as scripted
from parvideo.metrics.extractors.i3d import FeatureExtractor, I3DExtractor
from parvideo.metrics.extractors.small_i3d import SmallI3DExtractor
from parvideo.progress import Progress

_SHARD = 256  # clips whose features are lost at most when a process is killed


def extract_features(
    source: ClipSource,
    store: FeatureStore,
    extractor: FeatureExtractor,
    fabric: Fabric,
    frames: int,
    size: int,
    batch_size: int,
    title: str,
    window: int | None = None,
) -> list[str]:
    """Put the features of all clips of a source into a store, leaving out what it already holds.

    Each process takes its share of what is missing and writes shards of its own; memory does not grow with
    the number of clips.

    Args:
        source: of the clips.
        store: in a folder that all processes see.
        extractor: on the fabric's device.
        fabric: launched.
        frames: T that clips must have; longer ones are cut to their first T frames.
        size: height and width they must have.
        batch_size: clips at a time.
        title: of the progress bar.
        window: frames that the protocol has clips made of before they are cut: no warning then.

    Returns:
        Warnings for the report.

    Raises:
        ValueError: if clips are shorter than ``frames``, of another size, or their features are not finite.
    """
    done = set(store.done().tolist())
    # Whole chunks: what is computed together does not depend on where a run was killed, or on the devices.
    chunks = [
        [clip for clip in chunk if clip not in done]
        for chunk in source.chunks(batch_size)
        if not done.issuperset(chunk)
    ]
    own = [clip for chunk in shard_work(fabric, chunks) for clip in chunk]
    warnings: set[str] = set()
    parts: list[FeatureSet] = []
    with Progress(title=title, unit="clip", total=len(own), hidden=not fabric.is_global_zero) as bar:
        for batch in source.batches(own, batch_size):
            clips = batch.clips
            if clips.shape[1] < frames:
                raise ValueError(
                    f"{title} clips have {clips.shape[1]} frames, the protocol's real clips {frames}; "
                    f"pass --frames {clips.shape[1]} (which makes it a custom protocol)"
                )
            if tuple(clips.shape[2:4]) != (size, size):
                raise ValueError(
                    f"{title} clips are {clips.shape[2]}x{clips.shape[3]}, the protocol's {size}x{size}; "
                    f"pass --size {clips.shape[2]} (which makes it a custom protocol)"
                )
            if clips.shape[1] > frames and clips.shape[1] != window:
                warnings.add(
                    f"{title} clips have {clips.shape[1]} frames; only the first {frames} were scored"
                )
            features = extractor(clips[:, :frames].to(fabric.device)).cpu()
            if not torch.isfinite(features).all():
                raise ValueError(
                    f"the features of {title} clips {batch.ids.tolist()[:4]} hold NaN or infinity"
                )
            parts.append(
                FeatureSet(
                    features.float().numpy(), batch.ids.numpy(), batch.groups.numpy(), batch.labels.numpy()
                )
            )
            if sum(map(len, parts)) >= _SHARD:
                store.append(_joined(parts))
                parts = []
            bar.update(len(clips))
    if parts:
        store.append(_joined(parts))
    fabric.barrier()
    return sorted(warnings)


def to_device(extractor: FeatureExtractor, fabric: Fabric) -> FeatureExtractor:
    """The extractor on the fabric's device."""
    if isinstance(extractor, nn.Module):
        return cast(FeatureExtractor, extractor.to(fabric.device))
    return extractor


def choose_extractor(i3d: Path | None, features: Path | None, protocol: Protocol) -> FeatureExtractor:
    """The feature network asked for, or else the I3D in the user's cache folder, as the protocol sets it up.

    Raises:
        FileNotFoundError: if neither is given and `parvideo weights i3d` has not been run.
        ValueError: if both are given, or a file does not fit.
    """
    if i3d is not None and features is not None:
        raise ValueError(
            f"i3d is {i3d} and features is {features}; give one of them: I3D weights, or a small network of "
            "your own (not comparable with published FVD)"
        )
    if features is not None:
        config = read_json(features / "config.json")
        if isinstance(config, dict) and config.get("kind") == scripted.KIND:
            return scripted.ScriptedExtractor(features)
        return SmallI3DExtractor.load(features)
    return I3DExtractor(i3d_weights.find(i3d), protocol.tap, protocol.network_resize, protocol.bn_eps)


def describe_extractor(extractor: FeatureExtractor, features: Path | None) -> dict[str, Any]:
    """What the report says of the feature network."""
    return {
        "name": type(extractor).__name__,
        "fingerprint": extractor.fingerprint,
        "dim": extractor.dim,
        "path": str(getattr(extractor, "path", features)),
        "weights_sha256": getattr(extractor, "weights_sha256", None),
    }


def _joined(parts: list[FeatureSet]) -> FeatureSet:
    return FeatureSet(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("features", "ids", "groups", "labels")
        )
    )

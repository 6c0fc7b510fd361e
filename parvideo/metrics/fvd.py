"""Fréchet video distance: how far generated clips lie from real ones in the feature space of a network.

Unterthiner et al., "Towards Accurate Generative Models of Video" (arXiv 1812.01717). The metric takes
features and owns no network; `parvideo.metrics.extractors.i3d` makes them from clips.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from parvideo.metrics.frechet import Array, FrechetFormula, covariance_rank, frechet_distance
from parvideo.metrics.kvd import kernel_distance
from parvideo.metrics.uncertainty import (
    Extrapolation,
    Floor,
    Ids,
    Jackknife,
    extrapolate,
    group_jackknife,
    real_floor,
)
from parvideo.pixels import TensorLike, as_array, as_tensor


def id_keys(ids: Sequence[str]) -> Tensor:
    """Stable int64 keys ``[B]`` of textual sample ids: the first 63 bits of their SHA-256.

    Names of files that are no text stand for their bytes.
    """
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8] for text in ids)
    return torch.tensor([int.from_bytes(digest) >> 1 for digest in digests], dtype=torch.int64)


@dataclass(frozen=True)
class FrechetResult:
    """Everything a report says of two sets of features.

    Attributes:
        fvd: the Fréchet distance, ``mean_term + covariance_term``.
        mean_term: squared distance of the means.
        covariance_term: the rest.
        kvd: kernel video distance (unbiased squared MMD).
        jackknife: standard error of ``fvd``; None where there are too few source videos.
        infinity: ``fvd`` extrapolated to infinite N; None where there are too few clips.
        floor: what one half of the real set scores against the other; None where there are too few videos.
        real_count, fake_count: distinct clips.
        dropped: duplicates of a sample id that were left out (padding of distributed samplers).
        dim: width of the features.
        real_rank, fake_rank: numerical rank of the covariances.
        warnings: what a reader must know before believing the number.
    """

    fvd: float
    mean_term: float
    covariance_term: float
    kvd: float
    jackknife: Jackknife | None
    infinity: Extrapolation | None
    floor: Floor | None
    real_count: int
    fake_count: int
    dropped: int
    dim: int
    real_rank: int
    fake_rank: int
    warnings: list[str] = field(default_factory=list)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Approximate 95% interval around ``fvd``; it holds sampling error, not the bias."""
        if self.jackknife is None:
            return None
        half = 1.96 * self.jackknife.standard_error
        return self.fvd - half, self.fvd + half


class FrechetVideoDistance(Metric):
    """FVD as a torchmetrics metric over features and sample ids.

    Features are kept, in float64, and gathered over processes; samples are keyed by id and counted once, so
    that the value does not depend on batch size, order, or the number of processes. Casting the metric
    (``.to(torch.bfloat16)``) moves it but leaves its numbers alone.

    Args:
        dim: width of the features.
        formula: which published variant of the distance; exact, N - 1, float64 when left out.
        paired: both sets must hold the same ids (rFVD: reconstructions against their own originals).

    Raises:
        ValueError: if ``dim`` < 1.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, dim: int, formula: FrechetFormula | None = None, paired: bool = False) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim is {dim}; it must be at least 1")
        self.dim = dim
        self.formula = formula or FrechetFormula()
        self.paired = paired
        self.real_features: list[Tensor]
        self.real_ids: list[Tensor]
        self.real_groups: list[Tensor]
        self.fake_features: list[Tensor]
        self.fake_ids: list[Tensor]
        self.fake_groups: list[Tensor]
        for side in ("real", "fake"):
            for name in ("features", "ids", "groups"):
                self.add_state(f"{side}_{name}", default=[], dist_reduce_fx="cat")

    def update(
        self, features: TensorLike, real: bool, sample_id: TensorLike, group: TensorLike | None = None
    ) -> None:
        """Add features of some clips.

        Args:
            features: float32 or float64 ``[B, dim]``.
            real: whether the clips are real ones.
            sample_id: int64 ``[B]``, one for each clip, the same on whichever process sees it (`id_keys`).
            group: int64 ``[B]``, source video of each clip, which the jackknife deletes whole; the clip
                itself when left out.

        Raises:
            ValueError: for another shape or dtype, or features that are not finite.
        """
        features, sample_id = as_tensor(features, "features"), as_tensor(sample_id, "sample_id")
        group = sample_id if group is None else as_tensor(group, "group")
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"features must be [B, {self.dim}], got {list(features.shape)}")
        if features.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"features are {features.dtype}; give float32 or float64: half precision moves FVD"
            )
        if not torch.isfinite(features).all():
            raise ValueError("features hold NaN or infinity")
        for name, ids in (("sample_id", sample_id), ("group", group)):
            if ids.shape != features.shape[:1] or ids.dtype != torch.int64:
                raise ValueError(f"{name} must be int64 [{len(features)}], got {ids.dtype} {list(ids.shape)}")
        side = "real" if real else "fake"
        getattr(self, f"{side}_features").append(features.detach().double())
        getattr(self, f"{side}_ids").append(sample_id)
        getattr(self, f"{side}_groups").append(group)

    def compute(self) -> Tensor:
        """The Fréchet distance of everything seen, on all processes; a float64 scalar.

        Raises:
            ValueError: with fewer than two clips on a side, one id with two different features, or (paired)
                different ids on the two sides.
        """
        real, fake = self._samples()
        return torch.tensor(
            frechet_distance(real.features, fake.features, self.formula).value, dtype=torch.float64
        )

    def result(self, groups: int = 20) -> FrechetResult:
        """The distance with its terms, error, limit and floor (`FrechetResult`), over all processes.

        Args:
            groups: of the jackknife.

        Raises:
            ValueError: as `compute`.
        """
        with self.sync_context():
            real, fake = self._samples()
        return describe(
            real.features,
            fake.features,
            real.groups,
            fake.groups,
            self.formula,
            groups,
            dropped=real.dropped + fake.dropped,
        )

    def sync(self, *args: object, **kwargs: object) -> None:
        """Gather the states; a process that saw no clip takes part too, or the others would wait for it."""
        if not self._is_synced:
            for side in ("real", "fake"):
                if not getattr(self, f"{side}_features"):
                    empty = torch.empty(0, dtype=torch.int64, device=self.device)
                    getattr(self, f"{side}_features").append(empty.double().reshape(0, self.dim))
                    getattr(self, f"{side}_ids").append(empty)
                    getattr(self, f"{side}_groups").append(empty)
        super().sync(*args, **kwargs)  # type: ignore[arg-type]

    def _apply(
        self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ""
    ) -> "FrechetVideoDistance":
        """Let casts move the states to another device but never change their dtype."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(fn(tensor.new_empty(0)).device)

        super()._apply(move, exclude_state)
        return self

    def _samples(self) -> tuple["_Samples", "_Samples"]:
        real = _distinct(self.real_features, self.real_ids, self.real_groups, "real")
        fake = _distinct(self.fake_features, self.fake_ids, self.fake_groups, "fake")
        if self.paired and not np.array_equal(real.ids, fake.ids):
            only_real = len(np.setdiff1d(real.ids, fake.ids))
            only_fake = len(np.setdiff1d(fake.ids, real.ids))
            raise ValueError(f"paired sets differ: {only_real} ids are only real, {only_fake} only fake")
        return real, fake


def describe(
    real: TensorLike,
    fake: TensorLike,
    real_groups: TensorLike,
    fake_groups: TensorLike,
    formula: FrechetFormula | None = None,
    groups: int = 20,
    dropped: int = 0,
) -> FrechetResult:
    """Everything a report says of features ``real [N, d]`` and ``fake [M, d]`` (see `FrechetResult`).

    Args:
        real: features of distinct real clips.
        fake: features of distinct generated clips.
        real_groups: source video of each real clip ``[N]``.
        fake_groups: source video of each generated clip ``[M]``.
        formula: of the distance.
        groups: of the jackknife.
        dropped: duplicates already left out; only reported.

    Raises:
        ValueError: as `frechet_distance`.
    """
    real, fake = as_array(real, "real features"), as_array(fake, "fake features")
    real_groups, fake_groups = as_array(real_groups, "real_groups"), as_array(fake_groups, "fake_groups")
    distance = frechet_distance(real, fake, formula)
    warnings = []
    dim = real.shape[1]
    for name, count in (("real", len(real)), ("generated", len(fake))):
        if count < dim + 1:
            warnings.append(
                f"{count} {name} clips cannot fill a covariance of {dim} dimensions (it takes {dim + 1}): "
                "the value is dominated by its bias"
            )
    infinity = extrapolate(real, fake, formula)
    if infinity is not None and not infinity.reliable:
        warnings.append(f"FVD-infinity is unreliable: its smallest subset has fewer than 2 x {dim} clips")
    return FrechetResult(
        fvd=distance.value,
        mean_term=distance.mean_term,
        covariance_term=distance.covariance_term,
        kvd=kernel_distance(real, fake),
        jackknife=group_jackknife(real, fake, real_groups, fake_groups, formula, groups),
        infinity=infinity,
        floor=real_floor(real, real_groups, len(fake), formula),
        real_count=len(real),
        fake_count=len(fake),
        dropped=dropped,
        dim=dim,
        real_rank=covariance_rank(real),
        fake_rank=covariance_rank(fake),
        warnings=warnings,
    )


@dataclass(frozen=True)
class _Samples:
    features: Array
    ids: Ids
    groups: Ids
    dropped: int


def _distinct(
    features: list[Tensor] | Tensor, ids: list[Tensor] | Tensor, groups: list[Tensor] | Tensor, name: str
) -> _Samples:
    """One row for each id, sorted by id, so that the order of arrival leaves no trace."""
    rows: Array = dim_zero_cat(features).cpu().numpy() if len(features) else np.empty((0, 0))
    if not len(rows):
        raise ValueError(f"no {name} features were added")
    keys: Ids = dim_zero_cat(ids).cpu().numpy()
    sources: Ids = dim_zero_cat(groups).cpu().numpy()
    unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    kept = rows[first]
    error = np.linalg.norm(rows - kept[inverse], axis=1)
    clash = error > 1e-2 * (1e-6 + np.linalg.norm(kept[inverse], axis=1))
    if clash.any():
        raise ValueError(
            f"{int(clash.sum())} {name} clips share a sample id with a different clip (id {keys[clash][0]}); "
            "ids must be unique over all processes"
        )
    return _Samples(kept, unique, sources[first], len(keys) - len(unique))

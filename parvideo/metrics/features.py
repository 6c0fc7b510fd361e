"""Features on disk: shards that an interrupted evaluation goes on from, and cached reference statistics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from parvideo.files import atomic_path, read_json, write_json
from parvideo.metrics.statistics import Ids

_FORMAT = "parvideo-features-1"


@dataclass(frozen=True)
class FeatureSet:
    """Features of distinct clips, sorted by id.

    Attributes:
        features: float32 ``[N, d]``.
        ids: int64 ``[N]``, one for each clip.
        groups: int64 ``[N]``, the source video of each clip.
        labels: int64 ``[N]``, the class of each clip; -1 where unknown.
    """

    features: NDArray[np.float32]
    ids: Ids
    groups: Ids
    labels: Ids

    def __post_init__(self) -> None:
        for name in ("ids", "groups", "labels"):
            array = getattr(self, name)
            if array.shape != self.features.shape[:1] or array.dtype != np.int64:
                raise ValueError(
                    f"{name} must be int64 [{len(self.features)}], got {array.dtype} {list(array.shape)}"
                )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def classes(self) -> int:
        """How many classes the clips cover."""
        return len(np.unique(self.labels[self.labels >= 0]))


class FeatureStore:
    """A folder of feature shards that several processes may add to and any later run goes on from.

    Args:
        folder: made if absent.
        header: what the features belong to (protocol, extractor, source); a folder with another header is
            refused rather than mixed.

    Raises:
        ValueError: if the folder holds features of another header.
    """

    def __init__(self, folder: Path, header: Mapping[str, str]) -> None:
        self.folder = folder
        path = folder / "header.json"
        if path.exists():
            found = read_json(path)
            different = sorted(k for k in {*found, *header} if found.get(k) != header.get(k))
            if different:
                raise ValueError(
                    f"{folder} holds features of another evaluation ({', '.join(different)} differ); "
                    "give another --out, or delete that folder"
                )
        else:
            write_json(path, dict(header))

    def done(self) -> Ids:
        """Ids of the clips whose features are here, sorted."""
        parts = []
        for path in self._shards():
            with np.load(path, allow_pickle=False) as shard:
                parts.append(shard["ids"])
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def append(self, part: FeatureSet) -> None:
        """Write one shard, atomically; its name comes from its ids, so processes never collide."""
        if not len(part):
            return
        with atomic_path(self.folder / f"shard-{part.ids.min():020d}-{part.ids.max():020d}.npz") as temporary:
            np.savez(temporary, features=part.features, ids=part.ids, groups=part.groups, labels=part.labels)

    def load(self) -> FeatureSet:
        """All features, each id once, sorted by id.

        Raises:
            ValueError: if there are none, or shards differ in width.
        """
        parts = []
        for path in self._shards():
            with np.load(path, allow_pickle=False) as shard:
                parts.append(tuple(shard[name] for name in ("features", "ids", "groups", "labels")))
        if not parts:
            raise ValueError(f"{self.folder} holds no features")
        features, ids, groups, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        _, first = np.unique(ids, return_index=True)
        return FeatureSet(features[first], ids[first], groups[first], labels[first])

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("shard-*.npz"))


def save_reference(path: Path, reference: FeatureSet, header: Mapping[str, str]) -> None:
    """Write reference features as ``.npz`` (no pickle) with what they belong to.

    Args:
        path: ends in ``.npz``.
        reference: features of the real clips.
        header: hashes of protocol, extractor and data set.

    Raises:
        ValueError: if the path does not end in ``.npz``.
    """
    if path.suffix != ".npz":
        raise ValueError(f"{path} must end in .npz")
    text = json.dumps({"format": _FORMAT, **header}, sort_keys=True)
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            header=np.frombuffer(text.encode(), np.uint8),
            features=reference.features,
            ids=reference.ids,
            groups=reference.groups,
            labels=reference.labels,
        )


def load_reference(path: Path, expected: Mapping[str, str]) -> tuple[FeatureSet, dict[str, str]]:
    """Read what `save_reference` wrote, for use with the very same hashes.

    Args:
        path: the file.
        expected: hashes the file must carry; it may carry more.

    Returns:
        The features, and the whole header.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file, or a hash differs.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes().decode())
            reference = FeatureSet(*(file[name] for name in ("features", "ids", "groups", "labels")))
    except FileNotFoundError:
        raise
    except (OSError, BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no reference statistics: {error}") from error
    if header.pop("format", None) != _FORMAT:
        raise ValueError(f"{path} holds no reference statistics of format {_FORMAT}")
    for name, value in expected.items():
        if header.get(name) != value:
            raise ValueError(
                f"{path} was made with another {name} ({header.get(name)}, here {value}); "
                "make it anew with `parvideo fvd-stats`"
            )
    return reference, header

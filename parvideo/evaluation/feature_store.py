"""Features on disk: shards that an interrupted evaluation goes on from, and cached reference statistics."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parvideo.arrays import read_npz
from parvideo.files import AnyPath, atomic_path, check_settings, read_json, write_json
from parvideo.metrics.uncertainty import Ids

_FORMAT = "parvideo-features-1"
_ARRAYS = ("features", "ids", "groups", "labels")


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
        if self.features.ndim != 2 or self.features.dtype.kind != "f":
            found = f"{self.features.dtype} {list(self.features.shape)}"
            raise ValueError(f"features must be floating point [N, d], got {found}")
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
        folder: made, and claimed for the header, with the first features; what is refused before leaves none.
        header: what the features belong to (protocol, extractor, source); a folder with another header is
            refused rather than mixed.

    Raises:
        ValueError: if the folder holds features of another header.
    """

    def __init__(self, folder: AnyPath, header: Mapping[str, str]) -> None:
        self.folder = folder = Path(folder)
        self.header = dict(header)
        path = folder / "header.json"
        self._claimed = bool(self._shards())
        if self._claimed:
            if not path.exists():
                raise ValueError(
                    f"{folder} holds features and no {path.name} that says of what; give another --out, or "
                    "delete that folder"
                )
            advice = "give another --out, or delete that folder"
            check_settings(folder, read_json(path), self.header, "features", advice=advice)

    def done(self) -> Ids:
        """Ids of the clips whose features are here, sorted.

        Raises:
            ValueError: if a shard is damaged, naming it.
        """
        parts = [read_npz(path, ["ids"])["ids"] for path in self._shards()]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def append(self, part: FeatureSet) -> None:
        """Write one shard, atomically; its name comes from its ids, so processes never collide."""
        if not len(part):
            return
        if not self._claimed:
            write_json(self.folder / "header.json", self.header)
            self._claimed = True
        with atomic_path(self.folder / f"shard-{part.ids.min():020d}-{part.ids.max():020d}.npz") as temporary:
            np.savez(temporary, features=part.features, ids=part.ids, groups=part.groups, labels=part.labels)

    def load(self) -> FeatureSet:
        """All features, each id once, sorted by id.

        Raises:
            ValueError: if there are none, or shards differ in width.
        """
        parts = [tuple(read_npz(path, _ARRAYS)[name] for name in _ARRAYS) for path in self._shards()]
        if not parts:
            raise ValueError(f"{self.folder} holds no features")
        try:
            features, ids, groups, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        except ValueError as error:
            raise ValueError(f"the features in {self.folder} do not fit together: {error}") from error
        _, first = np.unique(ids, return_index=True)
        return FeatureSet(features[first], ids[first], groups[first], labels[first])

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("shard-*.npz"))


def save_reference(path: AnyPath, repeats: Sequence[tuple[FeatureSet, Mapping[str, str]]]) -> None:
    """Write reference features as ``.npz`` (no pickle) with what they belong to.

    Args:
        path: ends in ``.npz``.
        repeats: for each repetition of the protocol, which has a choice of clips of its own, the features of
            the real clips, and the hashes of protocol, extractor and data set.

    Raises:
        ValueError: if the path does not end in ``.npz``, or there is no repetition.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path} must end in .npz")
    if not repeats:
        raise ValueError("repeats is empty; a reference holds at least one set of features")
    headers = [dict(header) for _, header in repeats]
    text = json.dumps({"format": _FORMAT, **headers[0], "further_repeats": headers[1:]}, sort_keys=True)
    arrays: dict[str, NDArray[Any]] = {"header": np.frombuffer(text.encode(), np.uint8)}
    for repeat, (reference, _) in enumerate(repeats):
        for name in _ARRAYS:
            arrays[_array_name(name, repeat)] = getattr(reference, name)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def load_reference(
    path: AnyPath, expected: Mapping[str, str], repeat: int = 0
) -> tuple[FeatureSet, dict[str, str]]:
    """Read what `save_reference` wrote, for use with the very same hashes.

    Args:
        path: the file.
        expected: hashes the file must carry for this repetition; it may carry more.
        repeat: number of the repetition.

    Returns:
        The features, and the repetition's whole header.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if it is no such file, has no such repetition, or a hash differs.
    """
    path = Path(path)
    header = _read_header(path)
    headers = [header, *header.pop("further_repeats", [])]
    if repeat >= len(headers):
        raise ValueError(
            f"{path} holds {len(headers)} repeats, and repeat number {repeat + 1} is wanted; make it anew "
            "with `parvideo fvd-stats`, with the protocol and --repeats of the evaluation"
        )
    header = headers[repeat]
    for name, value in expected.items():
        if header.get(name) != value:
            raise ValueError(
                f"{path} was made with another {name} ({header.get(name)}, here {value}); "
                "make it anew with `parvideo fvd-stats`"
            )
    found = read_npz(path, [_array_name(name, repeat) for name in _ARRAYS])
    try:
        return FeatureSet(*found.values()), header
    except ValueError as error:
        raise ValueError(f"{path} holds no reference statistics: {error}") from error


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = json.loads(read_npz(path, ["header"])["header"].tobytes().decode())
    except ValueError as error:  # of JSON and UTF-8 as well
        raise ValueError(f"{path} holds no reference statistics: {error}") from error
    if not isinstance(header, dict) or header.pop("format", None) != _FORMAT:
        raise ValueError(f"{path} holds no reference statistics of format {_FORMAT}")
    return header


def _array_name(name: str, repeat: int) -> str:
    return f"{name}-{repeat}" if repeat else name

"""Token shards: a data set of token grids on disk, as arrays of a fixed number of items and a manifest.

The work list (which clips, in which order) is fixed before the first shard is made, and shard k holds its
items k·S to (k+1)·S - 1. So any process can make any shard, a killed run is continued by making the shards
that are missing, and nothing can be lost or doubled.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from parvideo.arrays import read_npy
from parvideo.files import (
    AnyPath,
    atomic_path,
    check_settings,
    read_json,
    sha256_file,
    sha256_json,
    write_json,
)
from parvideo.pixels import TensorLike, as_tensor

MANIFEST, CHECKSUMS = "plan.json", "manifest.json"
"""Files: what is to be made (a `TokenManifest`), and, once it is made, the checksums of its shards.

Named as in token data sets of earlier versions, so that those are read.
"""
CHECKED = ("layout", "split", "split_index", "held_out_time", "lists")
"""What must agree of how the videos of one token data set were listed."""


class TokenItem(TypedDict):
    """What a token data set gives: ``tokens`` int64 ``[t, h, w]``, the label and the id of the clip."""

    tokens: Tensor
    label: int
    id: str


@dataclass(frozen=True)
class TokenManifest:
    """Everything that fixes a token data set before the first token is made.

    Attributes:
        tokenizer: hash of the tokenizer's weights and configuration.
        data: identity of the videos: their contents, labels and the part of their time that is drawn from.
        grid: latent grid (t, h, w).
        codebook_size: tokens are 0 to this - 1.
        class_names: in label order.
        frames: pixel frames of a clip.
        fps: frames a second of a clip; None if ``stride`` says it.
        stride: source frames from one frame of a clip to the next; None if ``fps`` says it.
        views: names of the views that each clip was taken in, such as ``["center", "center flipped"]``.
        ids: one per item, unique: the clip and its view.
        labels: one per item.
        shard_size: S, items of a shard; the last one may hold fewer.
        listing: how the videos were listed: layout, split, its index, the lists and their checksums; None in
            token data sets of before that was recorded.
    """

    tokenizer: str
    data: str
    grid: tuple[int, int, int]
    codebook_size: int
    class_names: list[str]
    frames: int
    fps: float | None
    stride: int | None
    views: list[str]
    ids: list[str]
    labels: list[int]
    shard_size: int = 256
    listing: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if len(self.grid) != 3 or min(self.grid) < 1:
            raise ValueError(f"grid is {self.grid}; it must be three numbers of 1 or more")
        for name in ("codebook_size", "frames", "shard_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not self.ids or len(self.ids) != len(self.labels):
            raise ValueError(
                f"ids has {len(self.ids)} entries and labels {len(self.labels)}; give one each per item"
            )
        if len(set(self.ids)) != len(self.ids):
            twice = next(name for name in self.ids if self.ids.count(name) > 1)
            raise ValueError(f"ids has {twice!r} more than once; every item needs its own")
        if not 0 <= min(self.labels) <= max(self.labels) < len(self.class_names):
            raise ValueError(
                f"labels run from {min(self.labels)} to {max(self.labels)}; they must lie in the "
                f"{len(self.class_names)} classes 0 to {len(self.class_names) - 1}"
            )

    @property
    def num_shards(self) -> int:
        """Shards that hold all items."""
        return -(-len(self.ids) // self.shard_size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest of uint16 and int32 that holds every token."""
        return np.dtype(np.uint16 if self.codebook_size <= 2**16 else np.int32)

    def items(self, shard: int) -> range:
        """The numbers of the items in a shard.

        Raises:
            ValueError: if there is no such shard.
        """
        if not 0 <= shard < self.num_shards:
            raise ValueError(f"shard is {shard}; there are {self.num_shards}, from 0")
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, len(self.ids)))


def check_begun(folder: Path, manifest: TokenManifest) -> bool:
    """Whether a token data set of this manifest was begun in a folder; False where there is none.

    Raises:
        ValueError: if one of another manifest was; the message names what differs.
    """
    if not (folder / MANIFEST).exists():
        return False
    there = _read_manifest(folder / MANIFEST)
    begun, wanted = asdict(there), asdict(manifest)
    listings = begun.pop("listing"), wanted.pop("listing")
    if None not in listings:
        begun |= {name: listings[0].get(name) for name in CHECKED}
        wanted |= {name: listings[1].get(name) for name in CHECKED}
    if begun != wanted and begun == wanted | {"data": begun["data"]}:
        raise ValueError(
            f"{folder} holds tokens of other data: what is in the videos, or their labels, has changed since "
            "(or an earlier parvideo began it, which knew them by name alone); choose another folder or "
            "remove it"
        )
    check_settings(folder, begun, wanted, "tokens", advice="choose another folder or remove it")
    return True


class TokenWriter:
    """Writes the shards of one manifest, in any order, from any number of processes."""

    def __init__(self, folder: AnyPath, manifest: TokenManifest) -> None:
        """Begin, or go on with, a token data set.

        Raises:
            ValueError: if the folder was begun with another manifest; the message names what differs.
        """
        self.folder, self.manifest = Path(folder), manifest
        if not check_begun(self.folder, manifest):
            write_json(self.folder / MANIFEST, asdict(manifest))

    def missing_shards(self) -> list[int]:
        """The shards still to be made.

        Raises:
            ValueError: if a shard that is there does not fit the manifest.
        """
        paths = {shard: _shard_path(self.folder, shard) for shard in range(self.manifest.num_shards)}
        for shard, path in paths.items():
            if path.exists():
                _open_shard(path, self.manifest, shard)
        return [shard for shard, path in paths.items() if not path.exists()]

    def write_shard(self, shard: int, tokens: TensorLike) -> None:
        """Write one shard in one step.

        Args:
            shard: its number.
            tokens: int64 ``[n, t, h, w]``, n items in the manifest's order: ``manifest.items(shard)``.

        Raises:
            ValueError: on another shape or dtype, or a token outside the codebook.
        """
        tokens = as_tensor(tokens, "tokens")
        shape = (len(self.manifest.items(shard)), *self.manifest.grid)
        if tuple(tokens.shape) != shape or tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens are {tokens.dtype} {list(tokens.shape)}; shard {shard} is int64 {list(shape)}"
            )
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.manifest.codebook_size:
            raise ValueError(
                f"tokens run from {low} to {high}; the codebook has 0 to {self.manifest.codebook_size - 1}"
            )
        with atomic_path(_shard_path(self.folder, shard)) as temporary:
            np.save(temporary, tokens.cpu().numpy().astype(self.manifest.dtype))

    def finish(self) -> Path:
        """Check every shard and write the manifest, without which nothing reads the tokens.

        Returns:
            The manifest's path.

        Raises:
            ValueError: if shards are missing or broken, naming them.
        """
        missing = self.missing_shards()
        if missing:
            raise ValueError(
                f"{self.folder} lacks {len(missing)} of {self.manifest.num_shards} shards, first {missing[0]}"
            )
        shards = []
        for shard in range(self.manifest.num_shards):
            path = _shard_path(self.folder, shard)
            tokens = _open_shard(path, self.manifest, shard)
            if int(tokens.min()) < 0 or int(tokens.max()) >= self.manifest.codebook_size:
                raise ValueError(
                    f"{path} has tokens outside the codebook of {self.manifest.codebook_size}; remove it"
                )
            shards.append({"file": path.name, "count": len(tokens), "sha256": sha256_file(path)})
        write_json(
            self.folder / CHECKSUMS,
            {
                "format": 1,
                "items": len(self.manifest.ids),
                "plan": sha256_json(read_json(self.folder / MANIFEST)),
                "shards": shards,
            },
        )
        return self.folder / CHECKSUMS


class TokenDataset(Dataset[TokenItem]):
    """The finished token data set in a folder; arrays are mapped into memory, by each process for itself."""

    def __init__(self, folder: AnyPath, tokenizer: str | None = None, verify: bool = False) -> None:
        """Open a token data set.

        Args:
            folder: what a :class:`TokenWriter` finished.
            tokenizer: the hash that the tokenizer must have; None to take any.
            verify: compare the checksum of every shard (reads all of it once).

        Raises:
            ValueError: if it is not finished, was made by another tokenizer, or is damaged, naming the file.
        """
        folder = Path(folder)
        if not (folder / CHECKSUMS).is_file():
            raise ValueError(
                f"{folder} has no {CHECKSUMS}: no tokens are there, or tokenizing is not finished"
            )
        self.folder = folder
        self.manifest = _read_manifest(folder / MANIFEST)
        self.checksums: dict[str, Any] = read_json(folder / CHECKSUMS)
        if not isinstance(self.checksums, dict):
            raise ValueError(f"{folder / CHECKSUMS} is no list of checksums; tokenize again")
        if self.checksums.get("format") != 1 or self.checksums.get("plan") != sha256_json(
            read_json(folder / MANIFEST)
        ):
            raise ValueError(f"{folder / CHECKSUMS} does not belong to {folder / MANIFEST}; tokenize again")
        if tokenizer is not None and tokenizer != self.manifest.tokenizer:
            raise ValueError(
                f"{folder} was made by tokenizer {self.manifest.tokenizer[:12]}, not by {tokenizer[:12]}: "
                "its tokens mean nothing there; tokenize again"
            )
        self._shards: dict[int, NDArray[Any]] = {}
        for shard, entry in enumerate(self.checksums["shards"]):
            path = _shard_path(folder, shard)
            _open_shard(path, self.manifest, shard)
            if verify and sha256_file(path) != entry["sha256"]:
                raise ValueError(
                    f"{path} has changed since it was made (its checksum differs); tokenize again"
                )

    def __len__(self) -> int:
        return len(self.manifest.ids)

    def __getitem__(self, index: int) -> TokenItem:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a data set of {len(self)} items")
        row = self._shard(index // self.manifest.shard_size)[index % self.manifest.shard_size]
        return {
            "tokens": torch.from_numpy(row.astype(np.int64)),
            "label": self.manifest.labels[index],
            "id": self.manifest.ids[index],
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}  # a map would travel to another process as a copy of its file

    def _shard(self, shard: int) -> NDArray[Any]:
        if shard not in self._shards:
            tokens = _open_shard(_shard_path(self.folder, shard), self.manifest, shard)
            self._shards[shard] = np.asarray(tokens)  # still mapped, without memmap's cost at each index
        return self._shards[shard]


def check_alike(train: TokenDataset, held_out: TokenDataset) -> None:
    """Check that two token data sets are parts of one: of clips alike, and of videos listed alike.

    Raises:
        ValueError: naming the two folders and what differs.
    """
    names = ("tokenizer", "grid", "codebook_size", "class_names", "frames", "fps", "stride")
    other = [name for name in names if getattr(train.manifest, name) != getattr(held_out.manifest, name)]
    mine, theirs = train.manifest.listing, held_out.manifest.listing
    if mine is not None and theirs is not None:
        alike = ("layout", "split_index", "held_out_time")
        other += [name for name in alike if mine.get(name) != theirs.get(name)]
        both = mine["lists"].keys() & theirs["lists"].keys()
        other += [name for name in sorted(both) if mine["lists"][name] != theirs["lists"][name]]
    if other:
        raise ValueError(
            f"{train.folder} and {held_out.folder} were made with another {', '.join(other)}; tokenize both "
            "splits with the same settings"
        )


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:06d}.npy"


def _open_shard(path: Path, manifest: TokenManifest, shard: int) -> NDArray[Any]:
    shape = (len(manifest.items(shard)), *manifest.grid)
    try:
        tokens = read_npy(path, mapped=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing; tokenize again") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); tokenize again") from error
    except ValueError as error:
        raise ValueError(f"{error}; remove it and tokenize again") from error
    if tokens.shape != shape or tokens.dtype != manifest.dtype:
        raise ValueError(
            f"{path} is {tokens.dtype} {list(tokens.shape)} and should be {manifest.dtype} {list(shape)}; "
            "remove it and tokenize again"
        )
    return tokens


def _read_manifest(path: Path) -> TokenManifest:
    values = read_json(path)
    try:
        return TokenManifest(**{**values, "grid": tuple(values["grid"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} is no manifest of tokens: {error}") from error

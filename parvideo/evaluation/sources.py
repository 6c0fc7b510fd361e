"""Clip sources: where the clips that are scored come from: videos, saved arrays, a generator, a tokenizer."""

import math
import typing
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from parvideo.arrays import read_npy, read_npz
from parvideo.datasets import ClipDataset, Policy, VideoInfo, VideoList, probe, read_frames
from parvideo.datasets.folders import is_video
from parvideo.datasets.identity import identity
from parvideo.datasets.probe_cache import look_into
from parvideo.datasets.skipped import check_classes, clip_lines
from parvideo.evaluation.clip_arrays import ClipListing, check_clips, list_clips
from parvideo.evaluation.feature_store import FeatureSet
from parvideo.evaluation.protocols import Protocol
from parvideo.files import read_json, sha256_file, sha256_json
from parvideo.metrics.extractors.resize import resize_source
from parvideo.metrics.fvd import id_keys
from parvideo.order import GenerationOrder
from parvideo.pipeline import VideoPipeline
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import TOKENIZER, find_folder, fingerprint
from parvideo.pretrained.hub import origin
from parvideo.sampling import SamplingConfig
from parvideo.tokenizer import VideoTokenizer

_POLICIES: dict[str, Policy] = {"non-overlapping": "all", "random": "random", "center": "center"}


@dataclass(frozen=True)
class ScoredClips:
    """Clips uint8 ``[B, T, H, W, 3]`` with int64 ``[B]`` ids, source videos and labels (-1: unknown)."""

    clips: Tensor
    ids: Tensor
    groups: Tensor
    labels: Tensor


class ClipSource(ABC):
    """Clips to be scored.

    Attributes:
        ids: of all clips; the same for the same source in any process and any run.
        manifest: hash of everything that decides the clips.
        description: of the source, for the report; JSON.
        lossy: whether the clips went through lossy compression.
        notes: what else a reader of the report must know; complete once the clips have been read.
    """

    ids: list[int]
    manifest: str
    description: dict[str, typing.Any]
    lossy = False

    @property
    def notes(self) -> list[str]:
        return []

    def chunks(self, batch_size: int) -> list[list[int]]:
        """All ids as `batches` groups them: what is computed together, however the work is shared."""
        return [self.ids[start : start + batch_size] for start in range(0, len(self.ids), batch_size)]

    @abstractmethod
    def batches(self, ids: Sequence[int], batch_size: int) -> Iterator[ScoredClips]:
        """The clips of these ids, in order, ``batch_size`` at a time."""


class RealClips(ClipSource):
    """Clips of real videos, chosen and resized as a protocol says.

    Args:
        videos: of the protocol's split.
        protocol: says which clips and how they are resized.
        repeat: number of the repetition; each has its own choice of clips.
        workers: reading processes; 0 reads in this one.
        infos: the ``infos`` of another repetition, to save looking into the files again.

    Raises:
        ValueError: if no video is long enough, a class is left without a clip, or the protocol resizes in a
            way that needs videos of one size and they are not.
    """

    def __init__(
        self,
        videos: VideoList,
        protocol: Protocol,
        repeat: int = 0,
        workers: int = 0,
        infos: dict[str, VideoInfo] | None = None,
    ) -> None:
        self.protocol, self.workers = protocol, workers
        seed = protocol.clip_seed + repeat
        plain = (protocol.source_resize, protocol.source_crop, protocol.quantization)
        self.by_reader = plain == ("antialiased", "center", "round")
        size: int | tuple[int, int] = protocol.size
        if not self.by_reader:
            if infos is None:
                looked = zip(videos.records, look_into([r.path for r in videos.records]), strict=True)
                infos = {record.id: info for record, info in looked if isinstance(info, VideoInfo)}
            size = _common_size(infos)
        self.dataset = ClipDataset(
            videos,
            frames=protocol.clip_frames,
            size=size,
            fps=protocol.fps,
            stride=protocol.stride,
            policy=_POLICIES[protocol.clip_policy],
            seed=seed,
            infos=infos,
        )
        check_classes(videos, self.dataset)
        self.videos = videos
        self.infos = self.dataset.infos
        self.class_names = list(videos.class_names)
        size_of_epoch = len(self.dataset)
        count = protocol.real_count or size_of_epoch
        # Where clips start anywhere, a second epoch gives other clips of the same videos.
        epochs = math.ceil(count / size_of_epoch) if protocol.clip_policy == "random" else 1
        order = np.random.default_rng(seed)
        ids = [epoch * size_of_epoch + order.permutation(size_of_epoch) for epoch in range(epochs)]
        self.ids = np.sort(np.concatenate(ids)[:count]).tolist()
        self._groups = {record.id: record.group for record in videos.records}
        self.manifest = sha256_json({"videos": identity(videos), "protocol": protocol.hash, "repeat": repeat})
        self.description = {"videos": len(videos.records), **videos.description, "hash": self.manifest}

    @property
    def notes(self) -> list[str]:
        """Videos left out because they are too short or unreadable, with an example."""
        return [f"real videos: {line}" for line in clip_lines(self.videos, self.dataset)]

    def chunks(self, batch_size: int) -> list[list[int]]:
        """See `ClipSource`; none holds clips of two epochs."""
        epochs = [list(own) for _, own in groupby(self.ids, key=lambda index: index // len(self.dataset))]
        return [own[start : start + batch_size] for own in epochs for start in range(0, len(own), batch_size)]

    def batches(self, ids: Sequence[int], batch_size: int) -> Iterator[ScoredClips]:
        """See `ClipSource`."""
        for epoch, own in groupby(ids, key=lambda index: index // len(self.dataset)):
            self.dataset.set_epoch(epoch)
            chosen = torch.tensor(list(own), dtype=torch.int64)
            rows = (chosen % len(self.dataset)).tolist()
            loader = DataLoader(Subset(self.dataset, rows), batch_size, num_workers=self.workers)
            for keys, items in zip(chosen.split(batch_size), loader, strict=True):
                clips: Tensor = items["clip"]
                if not self.by_reader:
                    p = self.protocol
                    clips = resize_source(clips, p.size, p.source_resize, p.source_crop, p.quantization)
                groups = id_keys([self._groups[name] for name in items["id"]])
                yield ScoredClips(clips, keys, groups, items["label"])


class SavedClips(ClipSource):
    """Clips from a folder of ``.npz`` (clips, labels, indices) or ``.npy`` arrays, or of videos.

    Args:
        folder: with the files.
        allow_lossy: take video files, whose compression moves the score; the report says so.
        class_count: labels lie below it, if given.

    Raises:
        ValueError: if there is no such file, an index occurs twice, an array holds no uint8 clips or labels
            or indices that are none (`list_clips`), two hold clips of other shapes, or there are only video
            files and ``allow_lossy`` is false.
    """

    def __init__(self, folder: Path, allow_lossy: bool = False, class_count: int | None = None) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder; give one with .npz or .npy files of clips")
        # Hidden files are what a killed writer left half done.
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        arrays = [path for path in files if path.suffix in (".npz", ".npy")]
        videos = [path for path in files if is_video(path)]
        self.lossy = not arrays and bool(videos)
        if self.lossy and not allow_lossy:
            raise ValueError(
                f"{folder} holds compressed video only ({videos[0].name}, ...); lossy compression moves FVD. "
                "Score the lossless arrays that `parvideo sample` writes, or pass --allow-lossy"
            )
        if not arrays and not videos:
            raise ValueError(f"{folder} holds no .npz or .npy files of clips")
        self._class_count = class_count
        self._shape: tuple[Path, tuple[int, ...]] | None = None  # of the clips of the first file
        self._places: dict[int, tuple[Path, int, int]] = {}  # id -> file, row, label
        for path in arrays or videos:
            self._list(path)
        self.ids = sorted(self._places)
        hashes = [[path.relative_to(folder).as_posix(), sha256_file(path)] for path in arrays or videos]
        self.manifest = sha256_json(hashes)
        self.description = {"folder": str(folder), "files": len(hashes), "hash": self.manifest}
        if (folder / "sample.json").is_file():  # what `parvideo sample` says of model and sampler
            self.description["sample"] = read_json(folder / "sample.json")
        self._open: tuple[Path, np.ndarray[typing.Any, np.dtype[np.uint8]]] | None = None
        own = {".json", ".webp", ".mp4"} if "sample" in self.description else set()  # beside the arrays
        self._left_out = [path.name for path in files if path not in (arrays or videos)]
        self._left_out = [name for name in self._left_out if Path(name).suffix not in own]

    @property
    def notes(self) -> list[str]:
        """What else lies in the folder, with an example."""
        if not self._left_out:
            return []
        scored = "videos" if self.lossy else "arrays"
        return [
            f"generated clips: left out: {len(self._left_out)} files that are no {scored}, such as "
            f"{self._left_out[0]}"
        ]

    def batches(self, ids: Sequence[int], batch_size: int) -> Iterator[ScoredClips]:
        """See `ClipSource`."""
        for start in range(0, len(ids), batch_size):
            chosen = ids[start : start + batch_size]
            clips = [self._clip(*self._places[clip][:2]) for clip in chosen]
            if len({clip.shape for clip in clips}) > 1:
                raise ValueError(f"generated clips differ in shape: {sorted({c.shape for c in clips})}")
            keys = torch.tensor(chosen, dtype=torch.int64)
            labels = torch.tensor([self._places[clip][2] for clip in chosen], dtype=torch.int64)
            yield ScoredClips(torch.from_numpy(np.stack(clips)), keys, keys, labels)

    def _list(self, path: Path) -> None:
        if path.suffix in (".npz", ".npy"):
            listing = list_clips(path, self._class_count)
            self._compare(path, listing.shape[1:])
        else:
            info = probe(path)
            self._compare(path, (info.frames, info.height, info.width, 3))
            listing = ClipListing((1,), None, None)
        count = listing.shape[0]
        indices = self._next(count) if listing.indices is None else listing.indices
        labels = [-1] * count if listing.labels is None else listing.labels
        for row, (index, label) in enumerate(zip(indices, labels, strict=True)):
            if index in self._places:
                raise ValueError(
                    f"{path} repeats index {index} of {self._places[index][0]}; clips must be distinct"
                )
            self._places[index] = (path, row, label)

    def _compare(self, path: Path, shape: tuple[int, ...]) -> None:
        first, expected = self._shape or (path, shape)
        if shape != expected:
            raise ValueError(
                f"generated clips differ in shape: {path} holds {list(shape)}, {first} {list(expected)}"
            )
        self._shape = first, expected

    def _next(self, count: int) -> range:
        first = max(self._places, default=-1) + 1
        return range(first, first + count)

    def _clip(self, path: Path, row: int) -> np.ndarray[typing.Any, np.dtype[np.uint8]]:
        if self._open is None or self._open[0] != path:
            self._open = (path, _read_array(path))
        return self._open[1][row]


class GeneratedClips(ClipSource):
    """Clips made by a pipeline as they are asked for.

    Args:
        pipeline: the generator, on the device where it is to run.
        labels: the class of each clip.
        config: how to sample; its seed counts.
        folder: the model's.
        latent_frames: length of the clips; as trained if not given.
        overlap: latent frames that each window beyond the trained length takes over.
        models: what `identify` says of the folder, if it is known.
        order: to generate in; the model's main one if not given.
    """

    def __init__(
        self,
        pipeline: VideoPipeline,
        labels: Sequence[int],
        config: SamplingConfig,
        folder: Path,
        latent_frames: int | None = None,
        overlap: int = 1,
        models: dict[str, str] | None = None,
        order: GenerationOrder | None = None,
    ) -> None:
        self.order = pipeline.orders[0] if order is None else order
        self.latent_frames, self.overlap = latent_frames, overlap
        self.pipeline, self.labels, self.config = pipeline, list(labels), config
        self.ids = list(range(len(self.labels)))
        made: dict[str, typing.Any] = {**(models or identify(folder)), "sampling": config.to_dict()}
        # Only what was asked for, so that evaluations that earlier parvideos began go on.
        if self.order is not pipeline.orders[0]:
            made["order"] = self.order.name
        made |= pipeline.dtype_setting
        made |= pipeline.decoder.record(pipeline.transformer.head.weight.device)
        if latent_frames is not None:
            made |= {"latent_frames": latent_frames, "overlap": overlap}
        self.description = {"model": origin(find_folder(folder)) or str(folder), **made}
        if len(pipeline.class_names) in self.labels:
            self.description["unconditional"] = True
        self.manifest = self.description["hash"] = sha256_json({**made, "labels": self.labels})

    def batches(self, ids: Sequence[int], batch_size: int) -> Iterator[ScoredClips]:
        """See `ClipSource`."""
        for start in range(0, len(ids), batch_size):
            chosen = list(ids[start : start + batch_size])
            labels = torch.tensor([self.labels[index] for index in chosen], dtype=torch.int64)
            frames, config = (self.latent_frames, self.overlap), self.config
            tokens = self.pipeline.extend_tokens(
                labels, None, *frames, config.seed, config, chosen, order=self.order
            )
            keys = torch.tensor(chosen, dtype=torch.int64)
            labels[labels == len(self.pipeline.class_names)] = -1  # made without a class
            yield ScoredClips(self.pipeline.decode(tokens, batch_size), keys, keys, labels)


class ReconstructedClips(ClipSource):
    """The real clips after a tokenizer has encoded and decoded them, under the same ids (rFVD).

    Args:
        real: the originals.
        tokenizer: on the device where it is to run.
        folder: the tokenizer's, of which the weights are hashed.
    """

    def __init__(self, real: RealClips, tokenizer: VideoTokenizer, folder: Path) -> None:
        self.real, self.tokenizer = real, tokenizer.eval()
        self.ids = real.ids
        model = fingerprint(tokenizer_folder(folder))
        self.manifest = sha256_json({"real": real.manifest, "tokenizer": model})
        name = origin(find_folder(folder)) or str(folder)
        self.description = {"tokenizer": name, "fingerprint": model, "hash": self.manifest}

    def chunks(self, batch_size: int) -> list[list[int]]:
        """See `ClipSource`."""
        return self.real.chunks(batch_size)

    def batches(self, ids: Sequence[int], batch_size: int) -> Iterator[ScoredClips]:
        """See `ClipSource`."""
        device = next(self.tokenizer.parameters()).device
        for batch in self.real.batches(ids, batch_size):
            with torch.inference_mode():
                decoded = self.tokenizer.decode(self.tokenizer.encode(to_float(batch.clips).to(device)))
            yield ScoredClips(to_uint8(decoded).cpu(), batch.ids, batch.groups, batch.labels)


def uniform_labels(count: int, num_classes: int) -> list[int]:
    """Every class as equally often as ``count`` allows, in turn."""
    return [index % num_classes for index in range(count)]


def copied_labels(real: FeatureSet, count: int, seed: int) -> list[int]:
    """The labels of the real clips in a shuffled order, repeated where there are fewer than ``count``.

    Shuffled, because real clips come in order of class: the first ``count`` would cover a few classes only.
    """
    order = np.random.default_rng(seed).permutation(len(real))
    return [int(real.labels[order[index % len(real)]]) for index in range(count)]


def identify(folder: Path) -> dict[str, str]:
    """What a generator's folder holds, by the hashes of its weights."""
    return {"generator": fingerprint(folder), "tokenizer": fingerprint(tokenizer_folder(folder))}


def tokenizer_folder(folder: Path) -> Path:
    """The tokenizer's model folder, given that folder itself, a run folder, or a generator's."""
    folder = find_folder(folder)
    return folder / TOKENIZER if (folder / TOKENIZER).is_dir() else folder


def _common_size(infos: dict[str, VideoInfo]) -> tuple[int, int]:
    sizes = Counter((info.height, info.width) for info in infos.values())
    if len(sizes) != 1:
        raise ValueError(
            f"the videos have sizes {sorted(sizes)[:4]}; this protocol's resizing starts from videos "
            "of one size (use larp-10k, or convert them)"
        )
    return next(iter(sizes))


def _read_array(path: Path) -> np.ndarray[typing.Any, np.dtype[np.uint8]]:
    if path.suffix not in (".npz", ".npy"):
        return read_frames(path, range(probe(path).frames)).numpy()[None]
    found = read_npz(path, ["clips"])["clips"] if path.suffix == ".npz" else read_npy(path, mapped=True)
    check_clips(path, found.shape, found.dtype)
    # All black is what a collapsed generator makes, and gets its number.
    if found.max() == 1:
        raise ValueError(f"{path} holds no pixel above 1: it looks like [0, 1] floats cast to uint8")
    return found

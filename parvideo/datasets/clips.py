"""Clips cut from videos: which frames, of which size, in an order that any seed and epoch gives again."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from parvideo.checks import check_seed
from parvideo.datasets.cache import FrameCache
from parvideo.datasets.probe_cache import look_into
from parvideo.datasets.reading import Backend, read_frames
from parvideo.datasets.transforms import flip_horizontally, resize_and_crop
from parvideo.datasets.video_info import UnreadableVideoError, VideoInfo
from parvideo.datasets.videos import VideoList, VideoRecord
from parvideo.files import AnyPath

Policy = Literal["random", "center", "all"]

_TOO_SLOW = "asked for"
"""How the reason ends for which a video of a lower rate is left out."""

log = logging.getLogger(__name__)


class ClipItem(TypedDict):
    """What a clip data set gives: ``clip`` uint8 ``[T, H, W, 3]``, its label and its video's id."""

    clip: Tensor
    label: int
    id: str


@dataclass(frozen=True)
class _Window:
    """A place for a clip: a record, what its file is, and the source frames [first, last] to begin at."""

    record: VideoRecord
    info: VideoInfo
    first: int
    last: int


class ClipDataset(Dataset[ClipItem]):
    """Clips of a fixed length, rate and size, one or more from each video.

    A clip's frames stand at constant steps in the source: every ``stride`` frames, or, given ``fps``, at
    the source frames nearest to the times 0, 1/fps, 2/fps, ... from the clip's start, by the times at which
    they are shown: a steady motion stays steady where the source's rate varies.

    Randomness (where a clip starts, whether it is mirrored) comes from (seed, epoch, index) alone: neither
    the number of workers nor the order of access changes it.

    A video too short for one clip is left out and listed in ``skipped``, never padded. A file that cannot
    be read is logged by name and never tried again; the clip of another video, fixed by the index, takes
    its place. When more than ``max_bad`` of all videos are such, that is an error.
    """

    def __init__(
        self,
        videos: VideoList | Sequence[VideoRecord],
        frames: int,
        size: int | tuple[int, int],
        fps: float | None = None,
        stride: int | None = None,
        policy: Policy = "random",
        seed: int = 0,
        flip: bool = False,
        span: tuple[float, float] = (0.0, 1.0),
        backend: Backend = "auto",
        max_bad: float = 0.01,
        infos: dict[str, VideoInfo] | None = None,
        cache: AnyPath | None = None,
    ) -> None:
        """Look into every file and decide which clips there are.

        Args:
            videos: what to cut clips from.
            frames: T, the frames of a clip.
            size: pixels, the side of a square or ``(height, width)``.
            fps: frames a second of the clips, at most the source's (within 1 %); or else
            stride: source frames from one frame of a clip to the next; exactly one of the two.
            policy: ``"random"``: one clip per video and epoch, starting anywhere; ``"center"``: the middle
                clip of each video; ``"all"``: every clip of each video one after the other, no overlap.
            seed: of the random choices, 0 or more.
            flip: mirror every other clip, by chance (only with ``policy="random"``).
            span: the part of each video's time to draw from, as fractions of its length: with ``(0, 0.8)``
                and ``(0.8, 1)`` one video gives training and test clips that share no frame.
            backend: the decoder, see :func:`parvideo.datasets.reading.read_frames`.
            max_bad: the share of unreadable files above which it is an error.
            infos: what :func:`probe` gave, by record id; other files are looked into unless they were before
                and have not been touched (:func:`parvideo.datasets.probe_cache.look_into`).
            cache: a folder of :func:`parvideo.datasets.build_cache` to take frames from, of the same
                ``size``; the clips are the same bit for bit.

        Raises:
            ValueError: on a bad argument, or if every video is too short.
            TooManyUnreadableError: if too many files cannot be read, now or while clips are drawn.
        """
        _check(frames, fps, stride, policy, seed, flip, span, max_bad)
        self.records = list(videos.records if isinstance(videos, VideoList) else videos)
        if not self.records:
            raise ValueError("videos is empty; a data set needs at least one")
        self.class_names = list(videos.class_names) if isinstance(videos, VideoList) else None
        self.frames, self.size, self.fps, self.stride = frames, size, fps, stride
        self.policy, self.seed, self.flip, self.span = policy, seed, flip, span
        self.backend: Backend = backend
        self.max_bad = max_bad
        self.cache = FrameCache(cache, size) if cache is not None else None
        self.skipped: list[tuple[VideoRecord, str]] = []
        self._row = {record.id: row for row, record in enumerate(self.records)}
        # Shared memory: worker processes see a new epoch, and this one sees the files that they found bad.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._bad = torch.zeros(len(self.records), dtype=torch.bool).share_memory_()
        self._windows: list[_Window] = []
        found = dict(infos or {})
        unknown = [record for record in self.records if record.id not in found]
        looked = look_into([record.path for record in unknown])
        for record, info in zip(unknown, looked, strict=True):
            if isinstance(info, UnreadableVideoError):
                self._quarantine(record, info.reason)
            else:
                found[record.id] = info
        for record in self.records:
            if record.id in found:
                self._add(record, found[record.id])
        if not self._windows:
            first, reason = self.skipped[0]
            of_these = f"({first.path}: {reason}; {len(self.skipped)} such videos)"
            if all(reason.endswith(_TOO_SLOW) for _, reason in self.skipped):
                raise ValueError(
                    f"no video has enough frames a second for a clip {of_these}; ask for a lower fps"
                )
            less = "a higher fps, at which a clip takes less time" if stride is None else "a smaller stride"
            raise ValueError(f"no video is long enough for a clip {of_these}; ask for fewer frames or {less}")

    @property
    def epoch(self) -> int:
        """The epoch that the random choices are drawn for."""
        return int(self._epoch[0])

    def set_epoch(self, epoch: int) -> None:
        """Draw anew for this epoch, in running workers too; call it before iterating."""
        self._epoch[0] = epoch

    @property
    def quarantined(self) -> list[VideoRecord]:
        """The videos found unreadable up to now, by any worker."""
        return [record for record, bad in zip(self.records, self._bad.tolist(), strict=True) if bad]

    @property
    def infos(self) -> dict[str, VideoInfo]:
        """What `probe` gave of each video that has a clip, by record id, for other clips of the same."""
        return {window.record.id: window.info for window in self._windows}

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> ClipItem:
        return self.clip_at(self.epoch, index)

    def clip_at(self, epoch: int, index: int) -> ClipItem:
        """Clip ``index`` as any epoch has it, whichever epoch is set.

        Raises:
            IndexError: if there is no such clip.
            TooManyUnreadableError: when this was the file too many that cannot be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a data set of {len(self)} clips")
        random = np.random.default_rng([self.seed, epoch, index])
        window = self._windows[index]
        while True:
            if not self._bad[self._row[window.record.id]]:
                try:
                    return self._read(window, random)
                except UnreadableVideoError as error:
                    self._quarantine(window.record, error.reason)
            # From a generator of its own: which files were tried before must not move the choices after.
            window, random = self._replacement(epoch, index)

    def places(self) -> list[tuple[VideoRecord, int]]:
        """The video of every clip, and the first source frame that it may begin at."""
        return [(window.record, window.first) for window in self._windows]

    def _add(self, record: VideoRecord, info: VideoInfo) -> None:
        if self.fps is not None and self.fps > info.highest_fps * 1.01:
            rates = f"{info.highest_fps:g} frames a second, fewer than the {self.fps:g}"
            self.skipped.append((record, f"has {rates} {_TOO_SLOW}"))
            return
        first, end = info.part(self.span)
        starts = info.starts(first, end, self.frames, self.fps, self.stride)
        if not starts:
            reason = info.too_short(self.span, self.frames, self.fps, self.stride)
            self.skipped.append((record, reason))
        elif self.policy == "random":
            self._windows.append(_Window(record, info, starts[0], starts[-1]))
        elif self.policy == "center":
            middle = info.middle(starts)
            self._windows.append(_Window(record, info, middle, middle))
        else:
            start = starts[0]
            while start in starts:
                self._windows.append(_Window(record, info, start, start))
                start = self._frames_from(info, start)[-1] + 1

    def _frames_from(self, info: VideoInfo, start: int) -> list[int]:
        return info.frames_from(start, self.frames, self.fps, self.stride)

    def _read(self, window: _Window, random: np.random.Generator) -> ClipItem:
        start = int(random.integers(window.first, window.last + 1))
        mirror = self.flip and bool(random.integers(2))
        indices = self._frames_from(window.info, start)
        if self.cache is not None:
            clip = self.cache.read(window.record, indices)
        else:
            frames = read_frames(window.record.path, indices, self.backend, info=window.info)
            clip = resize_and_crop(frames, self.size)
        if mirror:
            clip = flip_horizontally(clip).contiguous()
        return {"clip": clip, "label": window.record.label, "id": window.record.id}

    def _quarantine(self, record: VideoRecord, reason: str) -> None:
        log.warning("left out unreadable video %s: %s", record.path, reason)
        self._bad[self._row[record.id]] = True
        bad = self.quarantined
        if len(bad) > self.max_bad * len(self.records):
            names = ", ".join(str(record.path) for record in bad[:5])
            raise TooManyUnreadableError(
                f"{len(bad)} of {len(self.records)} videos cannot be read, more than "
                f"{self.max_bad:.1%}, such as {names}"
            )

    def _replacement(self, epoch: int, index: int) -> tuple[_Window, np.random.Generator]:
        """The first readable window in a walk that the index fixes, and the random choices for it."""
        random = np.random.default_rng([self.seed, epoch, index, 1])
        for other in random.permutation(len(self._windows)):
            window = self._windows[other]
            if not self._bad[self._row[window.record.id]]:
                return window, random
        raise TooManyUnreadableError("every video of the data set is unreadable")


class TooManyUnreadableError(ValueError):
    """More files of a data set cannot be read than its ``max_bad`` allows."""


def _check(
    frames: int,
    fps: float | None,
    stride: int | None,
    policy: str,
    seed: int,
    flip: bool,
    span: tuple[float, float],
    max_bad: float,
) -> None:
    if frames < 1:
        raise ValueError(f"frames is {frames}; a clip has 1 or more")
    if (fps is None) == (stride is None):
        raise ValueError(f"fps is {fps} and stride is {stride}; give exactly one of the two")
    if fps is not None and not fps > 0:
        raise ValueError(f"fps is {fps}; it must be above 0")
    if stride is not None and stride < 1:
        raise ValueError(f"stride is {stride}; it must be 1 or more")
    if policy not in get_args(Policy):
        raise ValueError(f"policy is {policy!r}; it must be one of {', '.join(get_args(Policy))}")
    check_seed(seed)
    if flip and policy != "random":
        raise ValueError(f"flip is set with policy {policy!r}; only random clips are mirrored by chance")
    if not 0 <= span[0] < span[1] <= 1:
        raise ValueError(f"span is {span}; it must be (from, to) with 0 <= from < to <= 1")
    if not 0 <= max_bad <= 1:
        raise ValueError(f"max_bad is {max_bad}; it must be a share from 0 to 1")

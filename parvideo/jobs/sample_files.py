"""Sample files: generated clips on disk, a file at a time, in memory that does not grow with their number."""

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning import Fabric
from torch import Tensor

from parvideo.arrays import npz_header, read_npz
from parvideo.datasets import write_contact_sheet, write_mp4
from parvideo.files import atomic_path
from parvideo.jobs.devices import shard_work
from parvideo.jobs.first_frames import FirstFrames
from parvideo.order import GenerationOrder
from parvideo.pipeline import VideoPipeline
from parvideo.progress import Progress
from parvideo.sampling import SamplingConfig

SHEET_CLIPS = 64
SHEET_BYTES = 1 << 28
"""The contact sheet shows up to so many clips, and fewer of long or large ones: its frames lie in memory."""
SHEET_SCALE = 2
NAME_BYTES = 160
"""Of a class's name in a file's name, which may have 255 bytes with all that is put around it."""


@dataclass(frozen=True)
class Clips:
    """The clips to generate: all that decides what clip number i is, and how it is shown.

    Attributes:
        labels: class of each subject; ``num`` clips are made of it, one subject after the other.
        names: what each subject is called.
        num: clips of each subject.
        config: how to sample, with the seed.
        latent_frames: length; the trained one if not given.
        overlap: latent frames that each window beyond the trained length takes over.
        beginnings: of each subject, what its clips go on from.
        fps: frames a second of the videos written.
        order: to generate in.
    """

    labels: Sequence[int]
    names: Sequence[str]
    num: int
    config: SamplingConfig
    latent_frames: int | None
    overlap: int
    beginnings: FirstFrames | None
    fps: float
    order: GenerationOrder

    def __len__(self) -> int:
        return len(self.labels) * self.num

    def make(self, pipeline: VideoPipeline, indices: Sequence[int], bar: Progress) -> Tensor:
        """Generate the tokens of clips: int64 ``[B, t, h, w]``."""
        device = pipeline.transformer.head.weight.device
        subjects = [index // self.num for index in indices]
        labels = torch.tensor([self.labels[subject] for subject in subjects], device=device)
        given = None if self.beginnings is None else self.beginnings.encode(pipeline.tokenizer, subjects)
        start = bar.n

        def progress(done: int, steps: int) -> None:
            bar.move_to(start + len(indices) * done / steps)

        return pipeline.extend_tokens(
            labels,
            given,
            self.latent_frames,
            self.overlap,
            self.config.seed,
            self.config,
            indices,
            progress,
            self.order,
        )

    def shown(self, most: int) -> list[int]:
        """Up to ``most`` clips that show them all: as many of each subject, or one of some subjects."""
        count = min(len(self.labels), most)
        subjects = [place * len(self.labels) // count for place in range(count)]
        each = min(self.num, most // count) if count else 0
        return [subject * self.num + k for subject in subjects for k in range(each)]

    def video(self, out: Path, index: int) -> Path:
        """The .mp4 of a clip, by the name of its class as far as a file name holds it."""
        name = self.names[index // self.num].replace("/", "_").replace("\0", "_")
        short = name.encode(errors="surrogateescape")[:NAME_BYTES].decode(errors="ignore")
        return out / f"{index:05d}-{short}.mp4"


def generate_files(
    pipeline: VideoPipeline,
    clips: Clips,
    out: Path,
    clips_per_file: int,
    batch_size: int,
    previews: int,
    fabric: Fabric,
) -> None:
    """Generate clips into ``clips-00000.npz``, ...; files that are there are not made again.

    A file is written as soon as its clips are made, and then their videos. Memory holds the clips of one file
    (two while the next is decoded), and the tokens of a batch.

    Args:
        pipeline: generates them.
        clips: which.
        out: folder for the files.
        clips_per_file: clips in one file.
        batch_size: clips generated together; on CUDA halved each time that memory runs out.
        previews: how many clips get an .mp4.
        fabric: launched; its processes share the files.
    """
    files = _files(out, len(clips), clips_per_file)
    missing = shard_work(fabric, [number for number, (file, _) in enumerate(files) if not file.exists()])
    filmed = set(clips.shown(previews))
    indices = [index for number in missing for index in files[number][1]]
    hidden = not fabric.is_global_zero
    with Progress(title=f"sampling {out.name}", unit="clip", total=len(indices), hidden=hidden) as bar:
        tokens = _token_iterator(pipeline, clips, indices, batch_size, bar)
        for number in missing:
            file, own = files[number]
            # A file is decoded whole: pixels do not depend on what was generated together.
            made = _decode(pipeline, torch.stack([next(tokens) for _ in own]), bar)
            own_labels = [clips.labels[index // clips.num] for index in own]
            # No class is -1 in files, as where it is not known.
            labels = np.array([-1 if label == len(pipeline.class_names) else label for label in own_labels])
            with atomic_path(file) as temporary:
                np.savez(temporary, clips=made.numpy(), labels=labels, indices=np.asarray(own))
            write_previews(clips, out, own, made, filmed)
    fabric.barrier()  # every file is there


def finish_files(clips: Clips, out: Path, clips_per_file: int, previews: int) -> int:
    """Write what is still missing of the videos, from the files, and the contact sheet.

    Returns:
        The number of clips on the sheet.
    """
    files = _files(out, len(clips), clips_per_file)
    shape, _ = npz_header(files[0][0], "clips")  # uint8 [B, T, H, W, 3]
    size = math.prod(shape[1:]) * SHEET_SCALE**2
    shown = clips.shown(max(1, min(SHEET_CLIPS, SHEET_BYTES // size)))
    filmed = {index for index in clips.shown(previews) if not clips.video(out, index).exists()}
    sheet: dict[int, Tensor] = {}
    for file, own in files:
        wanted = set(own) & (filmed | set(shown))
        if wanted:
            made = torch.from_numpy(read_npz(file, ("clips",))["clips"])
            write_previews(clips, out, own, made, filmed)
            sheet |= {index: made[index - own.start].clone() for index in wanted & set(shown)}
    each = sum(index < clips.num for index in shown)
    write_contact_sheet(
        out / "contact-sheet.webp",
        torch.stack([sheet[index] for index in shown]),
        clips.fps,
        min(each, 8) if len(clips.labels) > 1 else None,
        [clips.names[index // clips.num] for index in shown],
        SHEET_SCALE,
    )
    return len(shown)


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Inside, SIGTERM ends the program as an error does, which removes the file that was being written."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # where Python allows no handler
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def remove_partial_files(out: Path) -> None:
    """Remove what killed runs had begun to write: hidden files, which no run takes up again."""
    for path in out.glob(".*"):
        if path.suffix in (".npz", ".mp4", ".webp"):
            path.unlink()


def _files(out: Path, count: int, clips_per_file: int) -> list[tuple[Path, range]]:
    """Each file and the clips that it holds."""
    starts = range(0, count, clips_per_file)
    return [
        (out / f"clips-{number:05d}.npz", range(start, min(start + clips_per_file, count)))
        for number, start in enumerate(starts)
    ]


def _token_iterator(
    pipeline: VideoPipeline, clips: Clips, indices: Sequence[int], batch_size: int, bar: Progress
) -> Iterator[Tensor]:
    """The tokens of these clips one by one, generated in batches: int64 ``[t, h, w]``."""
    place = 0
    while place < len(indices):
        chosen = indices[place : place + batch_size]
        start = bar.n
        tokens = _unless_full(partial(clips.make, pipeline, chosen, bar), len(chosen))
        if tokens is None:
            batch_size = len(chosen) // 2
            bar.say(f"out of memory; generating {batch_size} clips at a time")
            bar.move_to(start)
        else:
            place += len(chosen)
            yield from tokens


def _decode(pipeline: VideoPipeline, tokens: Tensor, bar: Progress) -> Tensor:
    size = len(tokens)
    while (clips := _unless_full(partial(pipeline.decode, tokens, size), size)) is None:
        size //= 2
        bar.say(f"out of memory; decoding {size} clips at a time")
    return clips


def _unless_full(run: Callable[[], Tensor], clips: int) -> Tensor | None:
    """What ``run`` returns, or None if CUDA's memory did not do for ``clips`` clips, unless that is one."""
    try:
        return run()
    except torch.OutOfMemoryError:
        if clips == 1:
            raise
    torch.cuda.empty_cache()  # here, where the error no longer holds the tensors of what failed
    return None


def write_previews(clips: Clips, out: Path, own: range, made: Tensor, filmed: set[int]) -> None:
    """Write the videos of those of a file's clips that are to have one.

    Args:
        clips: all of them.
        out: the folder.
        own: numbers of the file's clips.
        made: they themselves, uint8 ``[B, T, H, W, 3]``.
        filmed: numbers of the clips that are to have a video.
    """
    for index, clip in zip(own, made, strict=True):
        if index in filmed:
            write_mp4(clips.video(out, index), clip, clips.fps)

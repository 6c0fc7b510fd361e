"""Data modules: the batches of clips a tokenizer trains on, and of tokens a generator trains on."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader, Dataset

from parvideo.checks import check_seed, whole_number
from parvideo.datasets import ClipDataset, ClipItem, TokenDataset, TokenItem, VideoList, load_videos
from parvideo.datasets.clip_format import UNKNOWN, ClipFormat
from parvideo.datasets.skipped import check_classes, clip_lines, listing_lines
from parvideo.datasets.tokens import check_alike
from parvideo.pretrained.folder import TOKENIZER, fingerprint, load_clip_format
from parvideo.training.private_apis import batches_begun
from parvideo.training.samplers import EndlessBatches, SampleKey, held_out_batches


class _EndlessDataModule(lightning.LightningDataModule):
    """What both data modules share: endless, exactly resumable training batches; fixed validation batches.

    One Lightning "epoch" is the whole run: length is given in steps (``trainer.max_steps``), and the data's
    own epochs follow each other inside it.
    """

    def __init__(self, batch_size: int, val_batch_size: int | None, num_workers: int, seed: int) -> None:
        super().__init__()
        if num_workers < 0:
            raise ValueError(f"num_workers is {num_workers}; it must be 0 or more")
        self.batch_size = whole_number(batch_size, "batch_size", least=1)
        self.val_batch_size = (
            batch_size if val_batch_size is None else whole_number(val_batch_size, "val_batch_size", least=1)
        )
        seed = check_seed(seed)
        self.num_workers, self.seed = num_workers, seed
        # What a resumed run begins with (training.resuming): samples drawn, and batches counted as trained.
        self.begun_at = (0, 0)

    def samples_drawn(self) -> int:
        """Samples that all devices together have drawn, up to and with the present batch."""
        if self.trainer is None:
            return 0
        samples, batches = self.begun_at
        ready = batches_begun(self.trainer)
        return samples + (ready - batches) * self.batch_size * self.trainer.world_size

    def _train_loader(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        rank, world_size = self._place()
        batches = EndlessBatches(
            length=len(dataset),  # type: ignore[arg-type]
            batch_size=self.batch_size,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            start=self.samples_drawn,
        )
        return DataLoader(dataset, batch_sampler=batches, **self._loader_options())

    def _val_loader(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        """This device's share, in order."""
        rank, world_size = self._place()
        batches = held_out_batches(len(dataset), self.val_batch_size, rank, world_size)  # type: ignore[arg-type]
        return DataLoader(dataset, batch_sampler=batches, **self._loader_options())

    def _place(self) -> tuple[int, int]:
        """This device's rank, and the number of devices."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader_options(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.num_workers > 0,
            # A loader draws a number when it starts; from the global generator that would change dropout.
            "generator": torch.Generator().manual_seed(self.seed),
        }


class ClipDataModule(_EndlessDataModule):
    """Clips of videos in UCF-101's layout or class folders: random ones to train on, centre ones to validate.

    Batches are dictionaries: ``clip`` uint8 ``[B, T, H, W, 3]``, ``label`` int64 ``[B]``, ``id``.
    """

    def __init__(
        self,
        root: Path,
        frames: int = 17,
        size: int = 128,
        fps: float | None = 8.0,
        stride: int | None = None,
        batch_size: int = 8,
        val_batch_size: int | None = None,
        num_workers: int = 0,
        split_index: int = 1,
        annotations: Path | None = None,
        held_out_time: float | None = None,
        flip: bool = False,
        val_clips: int | None = None,
        cache: Path | None = None,
        seed: int = 0,
    ) -> None:
        """Describe the data; files are looked at in ``setup``.

        Args:
            root: folder of videos.
            frames: T, frames of a clip.
            size: H and W in pixels.
            fps: frames a second of a clip; null to use ``stride``.
            stride: source frames from one frame of a clip to the next; null to use ``fps``.
            batch_size: clips per batch and device.
            val_batch_size: the same in validation; ``batch_size`` if null.
            num_workers: worker processes that decode; 0 decodes in the training process.
            split_index: which of UCF-101's splits to use.
            annotations: folder of UCF-101's lists, if it is neither in nor beside ``root``.
            held_out_time: null holds out the test split; a fraction holds out that last part of every
                video's time instead (for folders with one video per class).
            flip: mirror half of the training clips.
            val_clips: validate on the first so many clips in a fixed random order; all if null.
            cache: folder of decoded frames of this size (`parvideo data ucf101 --cache`); null to decode.
            seed: of the order and of the clips' places.
        """
        super().__init__(batch_size, val_batch_size, num_workers, seed)
        check_held_out_time(held_out_time, split_index)
        self.annotations = annotations
        self.root = root
        self.clip_format = ClipFormat(frames, size, fps, stride)
        self.split_index, self.held_out_time, self.flip, self.val_clips = (
            split_index,
            held_out_time,
            flip,
            val_clips,
        )
        self.cache = cache
        self.class_names: list[str] = []

    def setup(self, stage: str) -> None:
        """List the videos and look into them; what is left out is said.

        Raises:
            ValueError: if there are no videos, or a class is left without a clip.
        """
        del stage
        if self.class_names:
            return
        self.train_clips = self.clips("train")
        self.val_dataset: Dataset[ClipItem] = self.clips("test")
        if self.val_clips is not None:
            generator = torch.Generator().manual_seed(self.seed)
            chosen = torch.randperm(len(self.val_dataset), generator=generator)
            self.val_dataset = torch.utils.data.Subset(self.val_dataset, chosen[: self.val_clips].tolist())
        self.class_names = self.train_clips.class_names or []

    def clips(self, split: str) -> ClipDataset:
        """The clips of split "train" (random ones) or "test" (each video's centre one)."""
        videos, span = split_videos(self.root, split, self.split_index, self.held_out_time, self.annotations)
        training = split == "train"
        frames, size, _ = self.clip_format.shape
        clips = ClipDataset(
            videos,
            frames=frames,
            size=size,
            fps=self.clip_format.fps,
            stride=self.clip_format.stride,
            policy="random" if training else "center",
            seed=self.seed,
            flip=self.flip and training,
            span=span,
            cache=self.cache,
        )
        check_classes(videos, clips)
        say_listing(self.root, videos, clips)
        return clips

    def train_dataloader(self) -> DataLoader[Any]:
        """Endless batches of random clips."""
        return self._train_loader(ClipsByEpoch(self.train_clips))

    def val_dataloader(self) -> DataLoader[Any]:
        """The held-out centre clips, in order, shared out over the devices."""
        return self._val_loader(self.val_dataset)


def split_videos(
    root: Path,
    split: str,
    split_index: int = 1,
    held_out_time: float | None = None,
    annotations: Path | None = None,
) -> tuple[VideoList, tuple[float, float]]:
    """The videos of "train" or "test", and the part of their time that belongs to it.

    Args:
        root: folder of videos.
        split: "train" or "test".
        split_index: which of UCF-101's three splits.
        held_out_time: hold out this last part of each video's time instead of the test split.
        annotations: folder of UCF-101's lists, if it is neither in nor beside ``root``.

    Raises:
        ValueError: on another split, a part of time outside (0, 1) or given with a ``split_index``, or from
            :func:`parvideo.datasets.load_videos`.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; it must be 'train' or 'test'")
    check_held_out_time(held_out_time, split_index)
    if held_out_time is None:
        return load_videos(root, "train" if split == "train" else "test", split_index, annotations), (
            0.0,
            1.0,
        )
    cut = 1.0 - held_out_time
    return load_videos(root, "all", annotations=annotations), (0.0, cut) if split == "train" else (cut, 1.0)


def check_held_out_time(held_out_time: float | None, split_index: int) -> None:
    """Check how the held-out clips are chosen.

    Raises:
        ValueError: if it is no part of the time, or there is a ``split_index`` too, which it would override.
    """
    if held_out_time is None:
        return
    if not 0 < held_out_time < 1:
        raise ValueError(f"held_out_time is {held_out_time}; it must lie between 0 and 1")
    if split_index != 1:
        raise ValueError(
            f"split_index is {split_index} and held_out_time {held_out_time}: one holds out videos, the "
            "other the end of every video; choose one"
        )


@rank_zero_only
def say_listing(root: Path, videos: VideoList, clips: ClipDataset | None = None) -> None:
    """Say on stderr how videos were listed, and what is left out of the list and of its clips, and why."""
    lines = listing_lines(videos) + (clip_lines(videos, clips) if clips is not None else [])
    sys.stderr.writelines(f"{root}: {line}\n" for line in lines)


class ClipsByEpoch(Dataset[ClipItem]):
    """A clip data set read by (epoch, index): batches may cross the border between two epochs."""

    def __init__(self, clips: ClipDataset) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: SampleKey) -> ClipItem:
        return self.clips.clip_at(*key)


@dataclass(frozen=True)
class TokenSpec:
    """What a generator must know of its tokens.

    Attributes:
        grid: latent grid (t, h, w).
        codebook_size: number of different tokens.
        class_names: class names in label order.
        tokenizer: the model folder of the tokenizer that made them.
        clip_format: of the clips that were tokenized.
    """

    grid: tuple[int, int, int]
    codebook_size: int
    class_names: list[str]
    tokenizer: Path
    clip_format: ClipFormat = UNKNOWN


class TokenDataModule(_EndlessDataModule):
    """Tokens as `parvideo tokenize` leaves them: ``train/``, ``test/`` and ``tokenizer/`` in one folder.

    Batches are dictionaries: ``tokens`` int64 ``[B, t, h, w]``, ``label`` int64 ``[B]``, ``id``.
    """

    def __init__(
        self,
        tokens: Path,
        batch_size: int = 16,
        val_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Open the tokens.

        Args:
            tokens: folder that `parvideo tokenize` made.
            batch_size: clips per batch and device.
            val_batch_size: the same in validation; ``batch_size`` if null.
            num_workers: worker processes that read; memory-mapped tokens need none.
            seed: of the order.
        """
        super().__init__(batch_size, val_batch_size, num_workers, seed)
        self.tokens = tokens

    def setup(self, stage: str) -> None:
        """Open the shards, and check that they belong to the tokenizer beside them."""
        del stage
        tokenizer = self.tokens / TOKENIZER
        made_by = fingerprint(tokenizer)
        self.train_tokens = TokenDataset(self.tokens / "train", tokenizer=made_by)
        self.val_tokens = TokenDataset(self.tokens / "test", tokenizer=made_by)
        check_alike(self.train_tokens, self.val_tokens)
        manifest = self.train_tokens.manifest
        self.spec = TokenSpec(
            manifest.grid,
            manifest.codebook_size,
            manifest.class_names,
            tokenizer,
            load_clip_format(tokenizer),
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Endless batches of the training tokens."""
        return self._train_loader(_TokensByEpoch(self.train_tokens))

    def val_dataloader(self) -> DataLoader[Any]:
        """The held-out tokens, in order, shared out over the devices."""
        return self._val_loader(self.val_tokens)


class _TokensByEpoch(Dataset[TokenItem]):
    """Tokens read by (epoch, index), as batches name them; every epoch reads the same tokens."""

    def __init__(self, tokens: TokenDataset) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, key: SampleKey) -> TokenItem:
        return self.tokens[key[1]]

"""A tiny world: videos, models that fit them, tokens; so small that only the plumbing is tried."""

from collections.abc import Sequence
from pathlib import Path

import torch

from parvideo.datasets import TokenManifest, TokenWriter
from parvideo.datasets.clip_format import ClipFormat
from parvideo.metrics.extractors.small_i3d import SmallI3D, SmallI3DExtractor
from parvideo.order import regions
from parvideo.pretrained.folder import TOKENIZER, fingerprint, save_generator, save_tokenizer
from parvideo.synthetic import ShapesSettings, write_shapes_data
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.transformer import VideoTransformer

FPS = 12.5


def write_videos(folder: Path, groups: int = 3, clips_per_group: int = 2) -> None:
    """Videos of two classes in UCF-101's layout; a third of three groups is the test split."""
    settings = ShapesSettings(
        num_classes=2, groups=groups, clips_per_group=clips_per_group, height=16, width=20, frames=30
    )
    write_shapes_data(folder, settings)


def make_tokenizer(time_strides: Sequence[int], space_strides: Sequence[int]) -> CausalVideoTokenizer:
    """An untrained tokenizer of 9 codes, always the same."""
    torch.manual_seed(0)
    return CausalVideoTokenizer(
        channels=4,
        channel_multipliers=(1,) * (len(space_strides) + 1),
        num_res_blocks=1,
        time_strides=tuple(time_strides),
        space_strides=tuple(space_strides),
        norm_groups=2,
        levels=(3, 3),
    )


def write_tokenizer(folder: Path, frames: int = 5) -> None:
    """A tokenizer of clips 5 or 9 x 16 x 16 to tokens 3 x 4 x 4."""
    tokenizer = make_tokenizer({5: (2, 1), 9: (2, 2)}[frames], (2, 2))
    save_tokenizer(folder, tokenizer, clip_format=ClipFormat(frames, 16, FPS))


def write_generator(folder: Path, tokenizer: Path, class_names: Sequence[str]) -> None:
    """A generator of those tokens in the order of four spatial regions."""
    torch.manual_seed(0)
    order = regions((3, 4, 4), (1, 2, 2))
    shape = {"dim": 16, "num_layers": 1, "num_heads": 2, "num_transitions": order.num_transitions}
    transformer = VideoTransformer(order.grid, 9, len(class_names), **shape)
    save_generator(
        folder, transformer, list(class_names), tokenizer, [order], clip_format=ClipFormat(fps=FPS)
    )


def write_tokens(folder: Path) -> None:
    """What `parvideo tokenize` leaves: train/ (22 clips), test/ (5), tokenizer/; grid (2, 2, 2), 9 codes."""
    clip_format = ClipFormat(frames=3, size=4, fps=8.0)
    save_tokenizer(folder / TOKENIZER, make_tokenizer((2,), (2,)), clip_format=clip_format)
    for split, count in (("train", 22), ("test", 5)):
        labels = [index % 2 for index in range(count)]
        manifest = TokenManifest(
            tokenizer=fingerprint(folder / TOKENIZER),
            data="none",
            grid=(2, 2, 2),
            codebook_size=9,
            class_names=["Left", "Right"],
            frames=3,
            fps=8.0,
            stride=None,
            views=["center"],
            ids=[f"{split}{index} center" for index in range(count)],
            labels=labels,
            shard_size=8,
        )
        writer = TokenWriter(folder / split, manifest)
        for shard in writer.missing_shards():
            chosen = torch.tensor([labels[item] for item in manifest.items(shard)])
            noise = torch.randint(0, 2, (len(chosen), 2, 2, 2))
            writer.write_shard(shard, 4 * chosen[:, None, None, None] + noise)
        writer.finish()


def write_world(folder: Path, groups: int, clips_per_group: int) -> None:
    """toy/ (videos), tokenizer/ (of 9 frames), model/ and a feature network net/ for the same clips."""
    write_videos(folder / "toy", groups, clips_per_group)
    write_tokenizer(folder / "tokenizer", frames=9)
    write_generator(folder / "model", folder / "tokenizer", ["RedSquareRight", "GreenDiscLeft"])
    SmallI3DExtractor(SmallI3D(2, width=1), frames=9, size=16).save(folder / "net")

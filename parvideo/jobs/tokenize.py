"""Tokenizing: from videos to tokens on disk; a killed job goes on, nothing lost or doubled."""

from pathlib import Path
from typing import Any

import torch
from lightning import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from parvideo.datasets import ClipDataset, Policy, TokenManifest, TokenWriter, VideoList
from parvideo.datasets.identity import identity
from parvideo.datasets.skipped import check_classes
from parvideo.datasets.tokens import check_begun
from parvideo.files import sha256_json
from parvideo.jobs.bf16_loss import state_bf16_loss
from parvideo.jobs.devices import launch, shard_work
from parvideo.jobs.options import TokenizeOptions
from parvideo.metrics.float32 import in_float32
from parvideo.pixels import to_float
from parvideo.pretrained.folder import CONFIG, TOKENIZER, copy_tokenizer, fingerprint, load_tokenizer
from parvideo.progress import Progress
from parvideo.tokenizer import VideoTokenizer
from parvideo.training.data import ClipsByEpoch, say_listing, split_videos

LOSS_CLIPS = 4
"""Clips by which `tokenize` states what decoding in bfloat16 costs, spread over a split."""


def tokenize(options: TokenizeOptions) -> dict[Path, TokenManifest]:
    """Encode a data set's videos into a folder of tokens.

    Args:
        options: what to encode, and where to.

    Returns:
        What was made, by folder; empty in every process but the first.

    Raises:
        ValueError: if ``out`` was begun with other settings or videos, a class is left without a clip, or the
            tokenizer cannot encode such clips. Then nothing is written.
    """
    tokenizer, data, out = options.tokenizer, options.data, options.out
    views, held_out_time = options.views, options.held_out_time
    fabric = launch(options.accelerator, options.devices)
    network = load_tokenizer(tokenizer, fabric.device)
    made_by = fingerprint(tokenizer)
    there = out / TOKENIZER / CONFIG
    if there.is_file() and fingerprint(there.parent) != made_by:
        raise ValueError(f"{out} holds tokens of another tokenizer; choose another folder")
    clip_format = options.clip_format.build(tokenizer)
    frames, size, _ = clip_format.shape
    work = []
    for split in options.splits or ["train", "test"]:
        videos, span = split_videos(data, split, options.split_index, held_out_time, options.annotations)
        policy: Policy = "center"
        if split == "train" and (options.all_clips or views > 1):
            policy = "all" if options.all_clips else "random"
        clips = ClipDataset(
            videos,
            frames,
            size,
            clip_format.fps,
            clip_format.stride,
            policy=policy,
            seed=options.seed,
            span=span,
        )
        check_classes(videos, clips)
        say_listing(data, videos, clips)
        names: list[str] = [f"random {view}" for view in range(views)] if policy == "random" else [policy]
        mirrored = [False, True] if options.flip and split == "train" else [False]
        listing = {**videos.description, "held_out_time": held_out_time}
        manifest = _manifest(network, made_by, videos, clips, names, mirrored, options.shard_size, listing)
        check_begun(out / split, manifest)
        work.append((split, clips, manifest, len(mirrored)))
    # Only now, when nothing is refused any more, is anything written.
    if fabric.is_global_zero:
        copy_tokenizer(tokenizer, out / TOKENIZER)
        clips = work[-1][1]  # the test split's, where there is one
        count = min(LOSS_CLIPS, len(clips))
        places = [len(clips) * number // count for number in range(count)]
        state_bf16_loss(out / TOKENIZER, network, (clips.clip_at(0, place)["clip"][None] for place in places))
    for split, clips, manifest, mirrors in work:
        with torch.inference_mode():
            _encode(network, clips, manifest, mirrors, out / split, options, fabric)
    return {out / split: manifest for split, _, manifest, _ in work} if fabric.is_global_zero else {}


def _manifest(
    network: VideoTokenizer,
    made_by: str,
    videos: VideoList,
    clips: ClipDataset,
    names: list[str],
    mirrored: list[bool],
    shard_size: int,
    listing: dict[str, Any],
) -> TokenManifest:
    """Item number i is clip ``i mod L`` of view ``i div L``, L clips; mirrored views follow plain ones."""
    places = clips.places()
    several = clips.policy == "all"  # a video has several clips, told apart by where they begin

    def where(first: int) -> str:
        return f" from {first}" if several else ""

    views = [name + (" flipped" if flipped else "") for name in names for flipped in mirrored]
    size = clips.size if isinstance(clips.size, tuple) else (clips.size, clips.size)
    return TokenManifest(
        tokenizer=made_by,
        data=sha256_json([identity(videos), clips.seed, list(clips.span)]),
        grid=network.latent_grid((clips.frames, *size)),
        codebook_size=network.codebook_size,
        class_names=clips.class_names or [],
        frames=clips.frames,
        fps=clips.fps,
        stride=clips.stride,
        views=views,
        ids=[f"{record.id} {view}{where(first)}" for view in views for record, first in places],
        labels=[record.label for _ in views for record, _ in places],
        shard_size=shard_size,
        listing=listing,
    )


def _encode(
    network: VideoTokenizer,
    clips: ClipDataset,
    manifest: TokenManifest,
    mirrors: int,
    folder: Path,
    options: TokenizeOptions,
    fabric: Fabric,
) -> None:
    writer = TokenWriter(folder, manifest)
    missing = shard_work(fabric, writer.missing_shards())
    # No batch crosses two shards, so that a clip's neighbours, and with them the last bit of what is
    # computed, depend neither on where a run was killed nor on how many devices share it.
    batches = [
        list(manifest.items(shard))[start : start + options.batch_size]
        for shard in missing
        for start in range(0, len(manifest.items(shard)), options.batch_size)
    ]
    loader = DataLoader(
        ClipsByEpoch(clips),
        batch_sampler=[
            [(item // len(clips) // mirrors, item % len(clips)) for item in batch] for batch in batches
        ],
        num_workers=options.num_workers,
    )
    pending: list[Tensor] = []
    bar = Progress(
        title=f"tokenizing {folder.name}",
        unit="clip",
        total=sum(map(len, batches)),
        hidden=not fabric.is_global_zero,
    )
    expected = [record.id for record, _ in clips.places()]
    for items, batch in zip(batches, loader, strict=True):
        for place, (item, name) in enumerate(zip(items, batch["id"], strict=True)):
            wanted = expected[item % len(clips)]
            if name != wanted:  # another clip in its place
                raise ValueError(
                    f"{wanted} could not be read; remove the file and tokenize into a new folder"
                )
            if (item // len(clips)) % mirrors:
                batch["clip"][place] = batch["clip"][place].flip(-2)
        pending.append(_ids(network, batch["clip"].to(fabric.device)).cpu())
        bar.update(len(items))
        shard = items[0] // manifest.shard_size
        if items[-1] == manifest.items(shard)[-1]:
            writer.write_shard(shard, torch.cat(pending))
            pending = []
    bar.close()
    fabric.barrier()  # every shard is there
    if fabric.is_global_zero:
        writer.finish()
    fabric.barrier()


def _ids(network: VideoTokenizer, clips: Tensor) -> Tensor:
    """Tokens of uint8 clips."""
    with in_float32(clips.device):
        return network.encode(to_float(clips))

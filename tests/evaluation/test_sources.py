"""Clip sources: every clip once, under its own id, whatever the batches and however the work is shared."""

import functools
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from parvideo.datasets import load_videos
from parvideo.evaluation.feature_store import FeatureSet
from parvideo.evaluation.protocols import LARP_10K
from parvideo.evaluation.sources import (
    ClipSource,
    GeneratedClips,
    RealClips,
    ReconstructedClips,
    SavedClips,
    copied_labels,
    uniform_labels,
)
from parvideo.order import OrderSpec
from parvideo.pipeline import VideoPipeline
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import load_tokenizer
from parvideo.sampling import SamplingConfig
from tests.pipeline.cases import several_orders
from tests.world import write_tokenizer

PROTOCOL = LARP_10K.customized(frames=9, size=16, stride=1, real_count=0)


def everything(source: ClipSource, batch_size: int) -> dict[str, Tensor]:
    """All that a source gives, batch by batch as its chunks say."""
    batches = [b for chunk in source.chunks(batch_size) for b in source.batches(chunk, batch_size)]
    assert all(len(batch.clips) <= batch_size for batch in batches)
    return {
        name: torch.cat([getattr(batch, name) for batch in batches])
        for name in ("clips", "ids", "groups", "labels")
    }


@pytest.fixture(scope="module")
def nine_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of clips of nine frames, the fewest that a protocol takes."""
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, frames=9)
    return folder


def reconstructed(videos: Path, tokenizer: Path) -> ReconstructedClips:
    real = RealClips(load_videos(videos, "train"), PROTOCOL)
    return ReconstructedClips(real, load_tokenizer(tokenizer), tokenizer)


@pytest.fixture(params=["real", "random", "saved", "generated", "longer", "reconstructed"])
def source(
    request: pytest.FixtureRequest,
    toy_folder: Path,
    nine_frames: Path,
    generator_folder: Path,
    tmp_path: Path,
) -> ClipSource:
    videos = load_videos(toy_folder, "train")
    if request.param == "real":
        return RealClips(videos, PROTOCOL)
    if request.param == "random":  # more clips than videos: two epochs of them
        return RealClips(videos, PROTOCOL.customized(clip_policy="random", real_count=13))
    if request.param == "saved":
        write_clips(tmp_path)
        return SavedClips(tmp_path)
    if request.param == "reconstructed":
        return reconstructed(toy_folder, nine_frames)
    frames: dict[str, Any] = {"latent_frames": 5, "overlap": 2} if request.param == "longer" else {}
    pipeline = VideoPipeline.from_pretrained(generator_folder)
    config = SamplingConfig(seed=4, guidance_scale=2.0)
    return GeneratedClips(pipeline, [0, 2, 3, 1, 1, 0, 2], config, generator_folder, **frames)


def write_clips(folder: Path) -> Tensor:
    """Seven clips in three files, with ids that are neither in order nor without gaps."""
    clips = torch.randint(0, 256, (7, 5, 16, 16, 3), dtype=torch.uint8)
    indices = np.array([9, 2, 30, 4, 11, 0, 7])
    for number, rows in enumerate(([0, 1, 2], [3, 4, 5], [6])):
        np.savez(
            folder / f"{number}.npz", clips=clips[rows].numpy(), indices=indices[rows], labels=indices[rows]
        )
    return clips[np.argsort(indices)]


def test_the_whole_is_the_same_whatever_the_batch_size(source: ClipSource) -> None:
    whole = everything(source, 100)
    assert whole["clips"].dtype == torch.uint8
    assert whole["ids"].tolist() == source.ids
    assert len(set(source.ids)) == len(source.ids) == len(whole["clips"])
    for batch_size in (1, 3):
        assert functools.reduce(operator.iadd, source.chunks(batch_size), []) == source.ids
        parts = everything(source, batch_size)
        for name, value in whole.items():
            # How a convolution rounds depends on the batch; a level more or less of the 256 may come of it.
            rounding = name == "clips" and isinstance(source, ReconstructedClips)
            assert (parts[name].long() - value.long()).abs().max() <= int(rounding)


def test_a_process_computes_its_share_as_it_is_in_the_whole(source: ClipSource) -> None:
    """Every second chunk, and single clips, in any order."""
    whole = everything(source, 2)
    place = {name: row for row, name in enumerate(whole["ids"].tolist())}
    shares = [*list(source.chunks(2)[1::2]), [source.ids[-1]], [source.ids[0]]]
    for ids in shares:
        batches = list(source.batches(ids, 2))
        rows = [place[name] for name in ids]
        for name in ("clips", "ids", "groups", "labels"):
            rounding = name == "clips" and isinstance(source, ReconstructedClips)
            own = torch.cat([getattr(b, name) for b in batches])
            assert (own.long() - whole[name][rows].long()).abs().max() <= int(rounding)


def test_real_clips_carry_their_videos_and_classes(toy_folder: Path) -> None:
    videos = load_videos(toy_folder, "train")
    source = RealClips(videos, PROTOCOL)
    whole = everything(source, 4)
    assert len(source.ids) == 8 * 3  # 30 frames hold three clips of 9
    assert sorted(whole["labels"].tolist()) == [0] * 12 + [1] * 12
    # Clips of one scene are of one class; scenes are told apart.
    scenes = {int(group): int(label) for group, label in zip(whole["groups"], whole["labels"], strict=True)}
    assert len(scenes) == len({record.group for record in videos.records})


def test_clips_are_generated_in_the_order_asked_for(tmp_path: Path) -> None:
    """Each order of a model of several is scored by itself, under a name and a hash of its own."""
    specs = [OrderSpec((1, 2, 2)), OrderSpec(), OrderSpec(grouping="dyadic", most=4)]
    folder = several_orders(tmp_path, *specs)
    pipeline, config = VideoPipeline.from_pretrained(folder), SamplingConfig(seed=3)
    manifests = set()
    for spec in specs:
        order = pipeline.find_order(spec.name)
        source = GeneratedClips(pipeline, [2, 3, 0], config, folder, order=order)
        tokens = pipeline.generate_tokens(torch.tensor([2, 3, 0]), 3, config, order=order)
        assert torch.equal(everything(source, 2)["clips"], pipeline.decode(tokens, 3))
        assert source.description.get("order", "1x2x2") == spec.name
        manifests.add(source.manifest)
    assert len(manifests) == len(specs)


def test_saved_clips_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    clips = write_clips(tmp_path)
    whole = everything(SavedClips(tmp_path), 2)
    assert torch.equal(whole["clips"], clips)
    assert whole["labels"].tolist() == whole["ids"].tolist() == sorted(whole["ids"].tolist())


def test_generated_clips_are_those_of_the_pipeline(generator_folder: Path) -> None:
    """The seed and the clip's id fix it; a clip made without a class has no label."""
    pipeline = VideoPipeline.from_pretrained(generator_folder)
    config = SamplingConfig(seed=4)
    source = GeneratedClips(pipeline, [2, 3, 0], config, generator_folder)
    whole = everything(source, 2)
    assert whole["labels"].tolist() == [2, -1, 0]
    expected = pipeline.generate([2, None, 0], seed=4, config=config)
    assert torch.equal(whole["clips"], expected)


def test_reconstructions_keep_ids_and_are_what_the_tokenizer_makes(
    toy_folder: Path, nine_frames: Path
) -> None:
    real = RealClips(load_videos(toy_folder, "train"), PROTOCOL)
    tokenizer = load_tokenizer(nine_frames)
    before, after = everything(real, 5), everything(ReconstructedClips(real, tokenizer, nine_frames), 5)
    assert all(torch.equal(before[name], after[name]) for name in ("ids", "groups", "labels"))
    with torch.inference_mode():
        expected = to_uint8(tokenizer.decode(tokenizer.encode(to_float(before["clips"]))))
    assert torch.equal(after["clips"], expected)
    assert not torch.equal(after["clips"], before["clips"])


def test_whatever_decides_the_clips_is_in_the_hash(
    toy_folder: Path, nine_frames: Path, generator_folder: Path
) -> None:
    videos = load_videos(toy_folder, "train")
    pipeline = VideoPipeline.from_pretrained(generator_folder)
    half = VideoPipeline.from_pretrained(generator_folder, dtype=torch.bfloat16)

    def made(labels: list[int], latent_frames: int | None = None, **config: Any) -> str:
        settings = SamplingConfig(**config)
        return GeneratedClips(pipeline, labels, settings, generator_folder, latent_frames).manifest

    hashes = [
        RealClips(videos, PROTOCOL).manifest,
        RealClips(videos, PROTOCOL, repeat=1).manifest,
        RealClips(videos, PROTOCOL.customized(size=8)).manifest,
        RealClips(load_videos(toy_folder, "test"), PROTOCOL).manifest,
        ReconstructedClips(RealClips(videos, PROTOCOL), load_tokenizer(nine_frames), nine_frames).manifest,
        made([0, 1]),
        made([1, 0]),
        made([0, 1], seed=1),
        made([0, 1], temperature=0.9),
        made([0, 1], latent_frames=5),
        GeneratedClips(half, [0, 1], SamplingConfig(), generator_folder).manifest,
    ]
    assert len(set(hashes)) == len(hashes)
    assert made([0, 1]) == hashes[5]
    assert RealClips(videos, PROTOCOL, workers=2).manifest == hashes[0]


@pytest.mark.parametrize(("count", "classes"), [(7, 3), (3, 7), (6, 3)])
def test_uniform_labels_differ_in_count_by_one_at_most(count: int, classes: int) -> None:
    labels = uniform_labels(count, classes)
    counts = [labels.count(label) for label in range(classes)]
    assert sum(counts) == len(labels) == count
    assert max(counts) - min(counts) <= 1


def test_a_window_is_cut_to_its_first_frames(toy_folder: Path) -> None:
    small = PROTOCOL.customized(clip_policy="center", window=11)
    source = RealClips(load_videos(toy_folder, "train"), small)
    whole = RealClips(load_videos(toy_folder, "train"), small.customized(frames=11))
    ((a,), (b,)) = (list(s.batches(s.ids[:2], 2)) for s in (source, whole))
    assert torch.equal(a.clips, b.clips)


@pytest.mark.parametrize("how", [{"source_resize": "tf1"}, {"quantization": "truncate"}])
def test_other_resize_chains_start_from_source_pixels(toy_folder: Path, how: dict[str, str]) -> None:
    videos = load_videos(toy_folder, "train")
    small = PROTOCOL.customized(size=8)
    plain, other = RealClips(videos, small), RealClips(videos, small.customized(**how))
    ((a,), (b,)) = (list(source.batches(source.ids[:2], 2)) for source in (plain, other))
    assert a.clips.shape == b.clips.shape == (2, 9, 8, 8, 3)
    assert 0 < (a.clips.float() - b.clips.float()).abs().mean() < 16


def test_random_starts_give_more_clips_than_videos(toy_folder: Path) -> None:
    videos = load_videos(toy_folder, "train")
    protocol = PROTOCOL.customized(clip_policy="random", real_count=20)
    source, again = RealClips(videos, protocol), RealClips(videos, protocol, workers=1)
    assert len(videos) == 8
    assert len(source.ids) == len(set(source.ids)) == 20
    batches, repeated = (list(s.batches(s.ids, 3)) for s in (source, again))
    ids, clips = (torch.cat([getattr(b, name) for b in batches]) for name in ("ids", "clips"))
    assert ids.tolist() == source.ids
    assert len({clip.numpy().tobytes() for clip in clips}) > 12  # 8 videos: second and third draws differ
    assert torch.equal(clips, torch.cat([b.clips for b in repeated]))


def test_copied_labels_cover_the_classes() -> None:
    ids = np.arange(1000)
    real = FeatureSet(np.zeros((1000, 1), np.float32), ids, ids, ids // 100)
    assert len(set(copied_labels(real, 100, seed=0))) == 10
    assert np.bincount(copied_labels(real, 2000, seed=0)).tolist() == [200] * 10


def test_what_a_killed_sample_left_half_written_is_not_read(tmp_path: Path) -> None:
    write_clips(tmp_path)
    whole = SavedClips(tmp_path)
    (tmp_path / ".clips-00002-x1y2.npz").write_bytes(b"PK half a file")
    killed = SavedClips(tmp_path)
    assert (killed.ids, killed.manifest) == (whole.ids, whole.manifest)

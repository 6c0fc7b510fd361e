"""Tokenizing: what is written is what the tokenizer says; a killed run goes on."""

from pathlib import Path

import pytest
import torch

from parvideo.datasets import ClipDataset, TokenDataset, TokenWriter, load_videos
from parvideo.datasets.clip_format import ClipFormat
from parvideo.jobs.tokenize import tokenize
from parvideo.pixels import to_float
from parvideo.pretrained.folder import fingerprint, load_tokenizer, save_tokenizer
from parvideo.tokenizer import CausalVideoTokenizer
from tests.flat import call


def test_tokens_are_those_of_the_clips(toy_folder: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    call(tokenize, tokenizer_folder, toy_folder, tmp_path, batch_size=3, shard_size=5)
    tokenizer = load_tokenizer(tokenizer_folder)
    for split in ("train", "test"):
        tokens = TokenDataset(tmp_path / split, tokenizer=fingerprint(tokenizer_folder))
        clips = ClipDataset(load_videos(toy_folder, split), 5, 16, 12.5, policy="center")
        assert len(tokens) == len(clips)
        for index in range(len(clips)):
            with torch.inference_mode():
                expected = tokenizer.encode(to_float(clips[index]["clip"][None]))[0]
            assert torch.equal(tokens[index]["tokens"], expected)
            assert tokens[index]["label"] == clips[index]["label"]
            assert tokens[index]["id"] == clips[index]["id"] + " center"


def test_views_differ_and_mirrored_ones_are_mirrored(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    call(tokenize, tokenizer_folder, toy_folder, tmp_path, views=2, flip=True, splits=["train"])
    tokens = TokenDataset(tmp_path / "train")
    assert tokens.manifest.views == ["random 0", "random 0 flipped", "random 1", "random 1 flipped"]
    count = len(tokens) // 4
    assert count == 8
    views = [torch.stack([tokens[view * count + i]["tokens"] for i in range(count)]) for view in range(4)]
    assert not torch.equal(views[0], views[2])
    assert not torch.equal(views[0], views[1])
    by_epoch = ClipDataset(load_videos(toy_folder, "train"), 5, 16, 12.5, policy="random")
    with torch.inference_mode():
        mirrored = to_float(by_epoch.clip_at(1, 3)["clip"].flip(-2)[None])  # view 1 is epoch 1
        assert torch.equal(views[3][3], load_tokenizer(tokenizer_folder).encode(mirrored)[0])


@pytest.mark.parametrize("shards", [0, 1, 2])
def test_a_killed_run_goes_on(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    class Killed(BaseException):
        pass

    write, written = TokenWriter.write_shard, []

    def write_shard(self: TokenWriter, shard: int, tokens: torch.Tensor) -> None:
        if len(written) == shards:
            raise Killed
        written.append(shard)
        write(self, shard, tokens)

    with monkeypatch.context() as patch:
        patch.setattr(TokenWriter, "write_shard", write_shard)
        with pytest.raises(Killed):
            call(tokenize, tokenizer_folder, toy_folder, tmp_path / "a", shard_size=3)
    call(tokenize, tokenizer_folder, toy_folder, tmp_path / "a", shard_size=3)
    call(tokenize, tokenizer_folder, toy_folder, tmp_path / "b", shard_size=3)
    for split in ("train", "test"):
        again, whole = TokenDataset(tmp_path / "a" / split), TokenDataset(tmp_path / "b" / split)
        assert again.checksums == whole.checksums


def test_another_tokenizer_or_form_is_refused(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    call(tokenize, tokenizer_folder, toy_folder, tmp_path / "tokens", splits=["test"])
    with pytest.raises(ValueError, match="frames"):
        call(tokenize, tokenizer_folder, toy_folder, tmp_path / "tokens", frames=3, splits=["test"])
    other = load_tokenizer(tokenizer_folder)
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    save_tokenizer(tmp_path / "other", other, clip_format=ClipFormat(5, 16, 12.5))
    with pytest.raises(ValueError, match="another tokenizer"):
        call(tokenize, tmp_path / "other", toy_folder, tmp_path / "tokens", splits=["test"])
    assert fingerprint(tmp_path / "tokens" / "tokenizer") == fingerprint(tokenizer_folder)


def test_a_form_the_tokenizer_cannot_encode_is_named(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="frames"):
        call(tokenize, tokenizer_folder, toy_folder, tmp_path, frames=4)


def test_all_clips_of_a_video_follow_each_other(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    call(
        tokenize,
        tokenizer_folder,
        toy_folder,
        tmp_path,
        all_clips=True,
        flip=True,
        shard_size=5,
        batch_size=3,
    )
    tokens = TokenDataset(tmp_path / "train")
    clips = ClipDataset(load_videos(toy_folder, "train"), 5, 16, 12.5, policy="all")
    assert tokens.manifest.views == ["all", "all flipped"]
    assert len(tokens) == 2 * len(clips) == 2 * 8 * 3  # 30 frames at 25 a second, 9 of them to a clip
    assert tokens[0]["id"] == clips[0]["id"] + " all from 0"
    assert tokens[1]["id"] == clips[1]["id"] + " all from 9"
    assert tokens[len(clips) + 2]["id"] == clips[2]["id"] + " all flipped from 18"
    tokenizer = load_tokenizer(tokenizer_folder)
    for index in range(len(clips)):
        for item, clip in (
            (index, clips[index]["clip"]),
            (len(clips) + index, clips[index]["clip"].flip(-2)),
        ):
            with torch.inference_mode():
                assert torch.equal(tokens[item]["tokens"], tokenizer.encode(to_float(clip[None]))[0])
            assert tokens[item]["label"] == clips[index]["label"]
    assert TokenDataset(tmp_path / "test").manifest.views == ["center"]


def test_all_clips_and_random_ones_exclude_each_other(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="views is 2.*choose one"):
        call(tokenize, tokenizer_folder, toy_folder, tmp_path, views=2, all_clips=True)
    call(tokenize, tokenizer_folder, toy_folder, tmp_path)
    with pytest.raises(ValueError, match="another views .*, ids, labels"):
        call(tokenize, tokenizer_folder, toy_folder, tmp_path, all_clips=True)


def test_tokens_are_computed_in_float32(
    toy_folder: Path, tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = CausalVideoTokenizer.encode

    def encode(self: CausalVideoTokenizer, clips: torch.Tensor) -> torch.Tensor:
        seen.append((torch.is_autocast_enabled("cpu"), torch.backends.cudnn.allow_tf32, clips.dtype))
        return original(self, clips)

    monkeypatch.setattr(CausalVideoTokenizer, "encode", encode)
    tf32 = torch.backends.cudnn.allow_tf32
    call(tokenize, tokenizer_folder, toy_folder, tmp_path / "plain", splits=["test"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        call(tokenize, tokenizer_folder, toy_folder, tmp_path / "mixed", splits=["test"])
    assert set(seen) == {(False, False, torch.float32)}
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert (tmp_path / "plain" / "test" / "shard-000000.npy").read_bytes() == (
        tmp_path / "mixed" / "test" / "shard-000000.npy"
    ).read_bytes()

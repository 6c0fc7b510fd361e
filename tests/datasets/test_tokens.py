"""Token shards: nothing lost or doubled, other tokenizers refused, damage named."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from parvideo.datasets.tokens import TokenDataset, TokenManifest, TokenWriter


def make_manifest(items: int = 10, **changes: object) -> TokenManifest:
    manifest = TokenManifest(
        tokenizer="a" * 64,
        data="d" * 64,
        grid=(2, 3, 4),
        codebook_size=1000,
        class_names=["Archery", "Bowling", "Diving"],
        frames=5,
        fps=8.0,
        stride=None,
        views=["center"],
        ids=[f"v{number}" for number in range(items)],
        labels=[number % 3 for number in range(items)],
        shard_size=4,
    )
    return dataclasses.replace(manifest, **changes)  # type: ignore[arg-type]


def tokens_of(manifest: TokenManifest, shard: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(shard)
    return torch.randint(
        0, manifest.codebook_size, (len(manifest.items(shard)), *manifest.grid), generator=generator
    )


def write_all(folder: Path, manifest: TokenManifest) -> torch.Tensor:
    writer = TokenWriter(folder, manifest)
    for shard in writer.missing_shards():
        writer.write_shard(shard, tokens_of(manifest, shard))
    writer.finish()
    return torch.cat([tokens_of(manifest, shard) for shard in range(manifest.num_shards)])


@pytest.mark.parametrize(("codebook_size", "dtype"), [(1000, "uint16"), (65536, "uint16"), (65537, "int32")])
def test_every_token_comes_back(tmp_path: Path, codebook_size: int, dtype: str) -> None:
    manifest = make_manifest(codebook_size=codebook_size)
    shape = (4, *manifest.grid)
    writer = TokenWriter(tmp_path, manifest)
    writer.write_shard(0, torch.full(shape, codebook_size - 1))
    writer.write_shard(2, torch.zeros(2, *manifest.grid, dtype=torch.int64))
    writer.write_shard(1, torch.arange(96).reshape(shape))
    writer.finish()
    assert np.load(tmp_path / "shard-000000.npy").dtype == dtype
    tokens = TokenDataset(tmp_path)
    assert len(tokens) == 10
    assert (tokens[3]["tokens"] == codebook_size - 1).all()
    assert torch.equal(tokens[5]["tokens"], torch.arange(24, 48).reshape(2, 3, 4))
    assert (tokens[5]["label"], tokens[5]["id"]) == (2, "v5")


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    manifest = make_manifest()
    TokenWriter(tmp_path, manifest).write_shard(1, tokens_of(manifest, 1))
    written = (tmp_path / "shard-000001.npy").stat().st_mtime_ns
    (tmp_path / ".shard-000002-half.npy").write_bytes(b"left by a killed run")
    with pytest.raises(ValueError, match="tokenizing is not finished"):
        TokenDataset(tmp_path)
    with pytest.raises(ValueError, match="lacks 2 of 3 shards, first 0"):
        TokenWriter(tmp_path, manifest).finish()
    assert TokenWriter(tmp_path, manifest).missing_shards() == [0, 2]
    expected = write_all(tmp_path, manifest)
    tokens = TokenDataset(tmp_path, verify=True)
    assert torch.equal(torch.stack([tokens[index]["tokens"] for index in range(10)]), expected)
    assert [tokens[index]["id"] for index in range(10)] == manifest.ids
    assert (tmp_path / "shard-000001.npy").stat().st_mtime_ns == written


def test_writers_share_a_folder_and_other_manifests_are_refused(tmp_path: Path) -> None:
    manifest = make_manifest()
    first, second = TokenWriter(tmp_path, manifest), TokenWriter(tmp_path, manifest)
    for rank, writer in enumerate((first, second)):
        for shard in range(rank, manifest.num_shards, 2):
            writer.write_shard(shard, tokens_of(manifest, shard))
    first.finish()
    checksums = (tmp_path / "manifest.json").read_bytes()
    second.finish()
    assert (tmp_path / "manifest.json").read_bytes() == checksums
    with pytest.raises(ValueError, match="another tokenizer, fps"):
        TokenWriter(tmp_path, make_manifest(tokenizer="b" * 64, fps=4.0))


def test_tokens_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    write_all(tmp_path, make_manifest())
    assert len(TokenDataset(tmp_path, tokenizer="a" * 64)) == 10
    with pytest.raises(ValueError, match="made by tokenizer aaaaaaaaaaaa, not by bbbbbbbbbbbb"):
        TokenDataset(tmp_path, tokenizer="b" * 64)


def test_damage_is_named(tmp_path: Path) -> None:
    write_all(tmp_path, make_manifest())
    path = tmp_path / "shard-000001.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"shard-000001\.npy has changed"):
        TokenDataset(tmp_path, verify=True)
    path.write_bytes(content[:-10])
    with pytest.raises(ValueError, match=r"shard-000001\.npy is not a .npy.*tokenize again"):
        TokenDataset(tmp_path)
    np.save(path, np.zeros((4, 2, 3, 5), np.uint16))
    with pytest.raises(
        ValueError, match=r"shard-000001\.npy is uint16 \[4, 2, 3, 5\] and should be uint16 \[4, 2, 3, 4\]"
    ):
        TokenDataset(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"shard-000001\.npy is missing; tokenize again"):
        TokenDataset(tmp_path)


def test_wrong_tokens_are_not_written(tmp_path: Path) -> None:
    writer = TokenWriter(tmp_path, make_manifest())
    for tokens, word in (
        (torch.full((4, 2, 3, 4), 1000), "from 1000 to 1000; the codebook has 0 to 999"),
        (torch.full((4, 2, 3, 4), -1), "from -1"),
        (torch.zeros(3, 2, 3, 4, dtype=torch.int64), r"shard 0 is int64 \[4, 2, 3, 4\]"),
        (torch.zeros(4, 2, 3, 4), "float32"),
    ):
        with pytest.raises(ValueError, match=word):
            writer.write_shard(0, tokens)
    with pytest.raises(ValueError, match="shard is 3"):
        writer.write_shard(3, torch.zeros(4, 2, 3, 4, dtype=torch.int64))
    assert writer.missing_shards() == [0, 1, 2]


def test_manifests_that_cannot_be_are_refused() -> None:
    for changes, word in (
        ({"ids": ["v0"] * 10}, "'v0' more than once"),
        ({"labels": [3] * 10}, "labels run from 3 to 3"),
        ({"labels": [0]}, "labels 1"),
        ({"grid": (2, 0, 4)}, "grid is"),
        ({"shard_size": 0}, "shard_size is 0"),
    ):
        with pytest.raises(ValueError, match=word):
            make_manifest(**changes)


def test_batches_are_the_same_read_by_workers_after_pickling(tmp_path: Path) -> None:
    expected = write_all(tmp_path, make_manifest())
    tokens = TokenDataset(tmp_path)
    assert len(pickle.dumps(tokens)) < 8000
    loaded = list(DataLoader(pickle.loads(pickle.dumps(tokens)), batch_size=5, num_workers=2))
    assert torch.equal(torch.cat([part["tokens"] for part in loaded]), expected)
    assert loaded[0]["label"].tolist() == [0, 1, 2, 0, 1]

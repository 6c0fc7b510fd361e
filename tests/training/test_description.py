"""A run goes on from checkpoints of the same model and the same data only, and says what differs."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from parvideo.datasets import TokenDataset, TokenManifest, TokenWriter
from parvideo.pretrained.folder import TOKENIZER, fingerprint
from tests.training.runs import refused


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--model.dim=32"], "dim is 16 there and 32 here"),
        (["--model.num_layers=2"], "num_layers is 1 there and 2 here"),
        (["--model.qk_norm=true"], "qk_norm is false there and true here"),
        (["--model.codebook_factors=[3,3]"], "codebook_factors is null there and [3, 3] here"),
        (["--model.order.regions=[1,1,1]"], "order is"),
        (['--model.more_orders=[{"regions":[1,1,1]}]'], "order is"),
        (["--data.seed=1"], "data.seed is 0 there and 1 here"),
        (["--seed_everything=1"], "seed_everything is 0 there and 1 here"),
        (["--trainer.max_steps=3"], "at step 4, and trainer.max_steps is 3"),
        (["--resume=never"], "choose another --out"),
        (["--resume={run}/checkpoints/step-00000002.ckpt"], "holds step-00000004.ckpt"),
        (["--resume={run}/model"], "is a folder"),
        (["--resume={run}/model/weights.safetensors"], "no checkpoint"),
        (["--resume={run}/config.yaml"], "no checkpoint"),
        (["--resume={run}/none.ckpt"], "there is no checkpoint"),
        (["--trainer.val_check_interval=0.5"], "val_check_interval"),
    ],
)
def test_what_does_not_fit_is_refused(
    tokens_folder: Path, finished: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    refused(finished, tokens_folder, said, capsys, *(word.replace("{run}", str(finished)) for word in more))


def made_anew(tokens: Path, folder: Path, change: str) -> Path:
    """The tokens with one thing changed."""
    shutil.copytree(tokens, folder)
    if change == "tokenizer":
        weights = folder / TOKENIZER / "weights.safetensors"
        save_file({name: value * 1.01 for name, value in load_file(weights).items()}, weights)
    for split in ("train", "test"):
        old = TokenDataset(tokens / split)
        shutil.rmtree(folder / split)
        manifest = TokenManifest(**{**old.manifest.__dict__, "tokenizer": fingerprint(folder / TOKENIZER)})
        values = torch.stack([item["tokens"] for item in old])
        if change == "classes":
            manifest = TokenManifest(**{**manifest.__dict__, "class_names": ["Left", "Wrong"]})
        elif change == "grid":
            manifest, values = TokenManifest(**{**manifest.__dict__, "grid": (1, 2, 2)}), values[:, :1]
        elif change == "content":
            values = (values + 1) % 9
        writer = TokenWriter(folder / split, manifest)
        for shard in range(manifest.num_shards):
            items = manifest.items(shard)
            writer.write_shard(shard, values[items.start : items.stop])
        writer.finish()
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("classes", "the classes are Left, Right there and Left, Wrong here"),
        ("tokenizer", "the tokens' tokenizer is"),
        ("grid", "grid is"),
        ("content", "the set it was trained on differs"),
    ],
)
def test_other_tokens_are_refused(
    tokens_folder: Path,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: str,
    said: str,
) -> None:
    refused(finished, made_anew(tokens_folder, tmp_path / "other", change), said, capsys)

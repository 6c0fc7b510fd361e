"""Exporting: any checkpoint of a run becomes a model folder that the pipeline loads."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from parvideo.datasets.clip_format import ClipFormat
from parvideo.files import read_json, write_json
from parvideo.jobs.export import export
from parvideo.jobs.tokenize import tokenize
from parvideo.pipeline import VideoPipeline
from parvideo.pretrained.folder import (
    fingerprint,
    load_clip_format,
    load_extra,
    load_orders,
    load_tokenizer,
)
from parvideo.training.checkpoints import DESCRIPTION, FOLDER, AtomicCheckpointIO
from parvideo.training.cli import fit
from tests.flat import call

ENDING = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.max_steps=3", "--checkpoint_every=2"]


@pytest.fixture(scope="module")
def run(toy_folder: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of a tiny generator, validated never."""
    folder = tmp_path_factory.mktemp("export")
    call(tokenize, tokenizer_folder, toy_folder, folder / "tokens")
    fit(
        [
            *("--model", "parvideo.training.GeneratorModule"),
            *("--data", "parvideo.training.TokenDataModule"),
            *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1"),
            *("--model.num_heads=2", "--model.lr=0.01", f"--data.tokens={folder / 'tokens'}"),
            *("--data.batch_size=2", "--ema_decay=0.5", f"--out={folder / 'run'}", *ENDING),
        ]
    )
    return folder / "run"


def test_both_kinds_of_weights(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "auto")
    export(run, tmp_path / "raw", weights="raw")
    auto, raw = (load_file(tmp_path / name / "weights.safetensors") for name in ("auto", "raw"))
    checkpoint = torch.load(run / FOLDER / "step-00000003.ckpt", weights_only=True)
    average = next(state["average"] for state in checkpoint["callbacks"].values() if "average" in state)
    assert auto.keys() == raw.keys() == average.keys()
    for name in auto:
        assert torch.equal(auto[name], average[name])
        assert torch.equal(raw[name], checkpoint["state_dict"][f"transformer.{name}"])
    assert any(not torch.equal(auto[name], raw[name]) for name in auto)
    assert load_extra(tmp_path / "raw")["weights"] == "raw"


def test_the_average_is_what_the_run_exports_itself(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "model")
    assert fingerprint(tmp_path / "model") == fingerprint(run)


def test_an_export_is_a_pipeline(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "model")
    pipeline = VideoPipeline.from_pretrained(tmp_path / "model")
    assert pipeline.generate([0, 1]).shape == (2, 5, 16, 16, 3)
    assert pipeline.fps == 12.5


@pytest.mark.parametrize("named", [True, False])
def test_a_checkpoint_written_before_orders_were_passed(run: Path, tmp_path: Path, named: bool) -> None:
    """It describes its order cell by cell, in the configuration, and specs among the extras if at all."""
    checkpoint = torch.load(run / FOLDER / "step-00000003.ckpt", weights_only=True)
    description, (order,) = checkpoint[DESCRIPTION], load_orders(run)
    specs = description.pop("orders")
    description["extra"] = description.pop("clip_format")
    del description["config"]["grid"]
    description["config"]["order"] = order.to_dict()
    if named:
        description["extra"]["orders"] = specs
    (tmp_path / "run" / FOLDER).mkdir(parents=True)
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "run" / FOLDER / "step-00000003.ckpt")
    export(tmp_path / "run", tmp_path / "model")
    assert load_orders(tmp_path / "model") == [order]
    assert "orders" not in load_extra(tmp_path / "model")
    assert (fingerprint(tmp_path / "model") == fingerprint(run)) == named
    pipelines = [VideoPipeline.from_pretrained(folder) for folder in (tmp_path / "model", run)]
    made, expected = (pipeline.generate([0, 1], seed=2) for pipeline in pipelines)
    assert torch.equal(made, expected)


def test_weights_in_bfloat16_compute_in_float32(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "whole")
    export(run, tmp_path / "half", dtype="bfloat16")
    whole, half = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "half"))
    for name, value in whole.items():
        assert torch.equal(half[name], value.to(torch.bfloat16)), name
    transformer = VideoPipeline.from_pretrained(tmp_path / "half").transformer
    for name, value in transformer.named_parameters():
        assert torch.equal(value, whole[name].to(torch.bfloat16).float()), name


def test_a_tokenizer_may_bring_another_decoder_alone(run: Path, tmp_path: Path) -> None:
    """One whose encoder differs would turn the generator's tokens into other pictures without a word."""
    weights = load_file(run / "model" / "tokenizer" / "weights.safetensors")
    for changed in ("decoder", "encoder"):
        shutil.copytree(run / "model" / "tokenizer", tmp_path / changed)
        state = {name: value * 1.1 if name.startswith(changed) else value for name, value in weights.items()}
        save_file(state, tmp_path / changed / "weights.safetensors")
    export(run, tmp_path / "model", tokenizer=tmp_path / "decoder")
    own, other = (VideoPipeline.from_pretrained(folder) for folder in (run, tmp_path / "model"))
    assert fingerprint(tmp_path / "model" / "tokenizer") == fingerprint(tmp_path / "decoder")
    assert not torch.equal(own.generate([0, 1], seed=3), other.generate([0, 1], seed=3))
    shutil.copytree(run / "model" / "tokenizer", tmp_path / "padding")
    config = read_json(tmp_path / "padding" / "config.json")
    config["config"]["space_padding"] = "replicate"  # the same weights, other tokens
    write_json(tmp_path / "padding" / "config.json", config)
    for changed in ("encoder", "padding"):
        with pytest.raises(ValueError, match="gives clips other tokens"):
            export(run, tmp_path / "mixed", tokenizer=tmp_path / changed)
    assert not (tmp_path / "mixed").exists()


def test_a_damaged_checkpoint_is_passed_over(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run" / FOLDER
    copy.mkdir(parents=True)
    for path in (run / FOLDER).iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    newest = copy / "step-00000003.ckpt"
    newest.write_bytes(newest.read_bytes()[:-2000])
    export(tmp_path / "run", tmp_path / "older", weights="raw")
    step2 = torch.load(copy / "step-00000002.ckpt", weights_only=True)["state_dict"]
    exported = load_file(tmp_path / "older" / "weights.safetensors")
    assert torch.equal(exported["head.weight"], step2["transformer.head.weight"])
    with pytest.raises(ValueError, match="damaged"):
        export(tmp_path / "run", tmp_path / "damaged", checkpoint=newest)


def test_a_tokenizers_run_too(toy_folder: Path, tmp_path: Path) -> None:
    fit(
        [
            *("--model", "parvideo.training.TokenizerModule"),
            *("--model.tokenizer", "parvideo.tokenizer.CausalVideoTokenizer"),
            *("--model.tokenizer.channels=4", "--model.tokenizer.channel_multipliers=[1,1]"),
            *("--model.tokenizer.num_res_blocks=1", "--model.tokenizer.time_strides=[2]"),
            *("--model.tokenizer.space_strides=[2]", "--model.tokenizer.norm_groups=2"),
            *("--model.tokenizer.levels=[3,3]", "--data", "parvideo.training.ClipDataModule"),
            *(f"--data.root={toy_folder}", "--data.frames=3", "--data.size=8", "--data.fps=12.5"),
            *("--data.batch_size=2", f"--out={tmp_path / 'run'}", *ENDING),
        ]
    )
    export(tmp_path / "run", tmp_path / "model")
    assert load_tokenizer(tmp_path / "model").codebook_size == 9
    assert load_extra(tmp_path / "model") == {"weights": "raw"}
    assert load_clip_format(tmp_path / "model") == ClipFormat(frames=3, size=8, fps=12.5)
    with pytest.raises(ValueError, match="no average"):
        export(tmp_path / "run", tmp_path / "average", weights="average")


def test_a_tokenizer_that_the_checkpoint_does_not_know_is_refused(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run / "model", other / "model")
    weights = other / "model" / "tokenizer" / "weights.safetensors"
    save_file({name: 1.01 * value for name, value in load_file(weights).items()}, weights)
    with pytest.raises(ValueError, match="was trained on tokens of tokenizer"):
        export(other, tmp_path / "mixed", checkpoint=run / FOLDER / "step-00000003.ckpt")
    assert not (tmp_path / "mixed").exists()


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no good checkpoint"):
        export(tmp_path, tmp_path / "model")
    AtomicCheckpointIO().save_checkpoint(
        {"weights": torch.zeros(2)}, tmp_path / FOLDER / "step-00000001.ckpt"
    )
    with pytest.raises(ValueError, match="no checkpoint of"):
        export(tmp_path, tmp_path / "model")


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "owned",)  # type: ignore[return-value]

    (tmp_path / FOLDER).mkdir()
    torch.save({"parvideo_model": Evil()}, tmp_path / FOLDER / "step-00000001.ckpt")
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        export(tmp_path, tmp_path / "model")
    assert not (tmp_path / "owned").exists()

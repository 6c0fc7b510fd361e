"""Going on with a run: longer, with other batches, with other settings; and what is refused, in one line."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from parvideo.cli import main
from parvideo.datasets import TokenDataset
from parvideo.training.callbacks.misc import StepSeed
from parvideo.training.checkpoints import FOLDER, list_checkpoints
from parvideo.training.cli import fit
from parvideo.training.generator import GeneratorModule
from parvideo.training.resuming import RECORD, changed_settings, flat_settings
from parvideo.training.samplers import EndlessBatches
from tests.training.runs import files, refused
from tests.training.runs import resumable_arguments as arguments

FIXED = "--model.max_steps=9"  # a schedule that does not end with the run
CONSTANT = "--model.final_lr=1"


def checkpoint(run: Path) -> dict[str, Any]:
    return torch.load(list_checkpoints(run / FOLDER)[0], weights_only=True)  # type: ignore[no-any-return]


def assert_same(one: Path, two: Path) -> None:
    """Weights, average, optimizer, schedule, samples drawn and exported model."""
    expected, got = checkpoint(one), checkpoint(two)
    for name, value in expected["state_dict"].items():
        assert torch.equal(value, got["state_dict"][name]), name
    for part in ("optimizer_states", "lr_schedulers", "callbacks", "global_step"):
        assert str(expected[part]) == str(got[part]), part
    assert expected[RECORD]["samples"] == got[RECORD]["samples"]
    weights = "model/weights.safetensors"
    assert (one / weights).read_bytes() == (two / weights).read_bytes()


@pytest.mark.parametrize("more", [[FIXED], [CONSTANT], [FIXED, "--trainer.accumulate_grad_batches=2"]])
def test_a_finished_run_goes_on_like_a_longer_one(
    tokens_folder: Path, tmp_path: Path, more: list[str]
) -> None:
    for steps in (3, 4, 7):
        fit(arguments(tokens_folder, tmp_path / "parts", steps, *more))
    fit(arguments(tokens_folder, tmp_path / "whole", 7, *more))
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_a_run_of_epochs_goes_on_like_a_longer_one(
    tokens_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(out: Path, epochs: int, *more: str) -> None:
        epochal = [
            "--trainer.limit_train_batches=3",
            f"--trainer.max_epochs={epochs}",
            "--trainer.max_steps=40",
        ]
        fit(arguments(tokens_folder, out, 40, CONSTANT, *epochal, *more))

    train(tmp_path / "parts", 1)
    assert "ended at step 3 of 40: trainer.max_epochs is 1" in capsys.readouterr().err
    train(tmp_path / "parts", 1)
    assert checkpoint(tmp_path / "parts")["global_step"] == 3
    train(tmp_path / "parts", 3)
    train(tmp_path / "whole", 3)
    assert checkpoint(tmp_path / "whole")["global_step"] == 9
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_a_step_that_was_cut_short_is_made_again(
    tokens_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [FIXED, "--trainer.accumulate_grad_batches=2", "--trainer.max_time=00:01:00:00"]
    original = StepSeed.on_train_batch_start

    def stop(self, trainer, pl_module, batch, batch_idx):  # type: ignore[no-untyped-def]
        trainer.should_stop = batch_idx == 4  # as max_time does, whenever it is over
        original(self, trainer, pl_module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(StepSeed, "on_train_batch_start", stop)
        fit(arguments(tokens_folder, tmp_path / "parts", 6, *more))
    assert "ended at step 2 of 6" in capsys.readouterr().err
    fit(arguments(tokens_folder, tmp_path / "parts", 6, *more))
    fit(arguments(tokens_folder, tmp_path / "whole", 6, *more))
    expected, got = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts")
    for name, value in expected["state_dict"].items():
        assert torch.equal(value, got["state_dict"][name]), name


def test_time_that_is_over_is_said(
    tokens_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(arguments(tokens_folder, tmp_path, 2, CONSTANT, "--trainer.max_time=00:01:00:00"))
    fit(arguments(tokens_folder, tmp_path, 4, CONSTANT, "--trainer.max_time=00:00:00:00"))
    assert "ended at step 2 of 4: trainer.max_time is over" in capsys.readouterr().err
    fit(arguments(tokens_folder, tmp_path, 4, CONSTANT, "--trainer.max_time=00:02:00:00"))
    assert checkpoint(tmp_path)["global_step"] == 4


def test_a_class_that_has_moved_is_no_change() -> None:
    there = {"model.class_path": "parvideo.training.generator_module.GeneratorModule"}
    here = {"model.class_path": "parvideo.training.GeneratorModule"}
    assert list(changed_settings(there, here)) == []
    (said,) = changed_settings(there, {"model.class_path": "parvideo.training.TokenizerModule"})
    assert said.startswith("model.class_path GeneratorModule -> TokenizerModule")


@pytest.mark.parametrize(
    "other",
    [
        ["--data.batch_size=5"],
        ["--data.batch_size=2", "--trainer.accumulate_grad_batches=3"],
        ["--data.batch_size=2", "--global_batch=4"],
    ],
)
def test_other_batches_go_on_at_the_same_sample(
    tokens_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: list[str]
) -> None:
    seen: list[str] = []
    step = GeneratorModule.training_step

    def training_step(self, batch, batch_index):  # type: ignore[no-untyped-def]
        seen.extend(batch["id"])
        return step(self, batch, batch_index)

    monkeypatch.setattr(GeneratorModule, "training_step", training_step)
    fit(arguments(tokens_folder, tmp_path / "parts", 4, "--trainer.accumulate_grad_batches=2", CONSTANT))
    fit(arguments(tokens_folder, tmp_path / "parts", 7, CONSTANT, *other))
    assert checkpoint(tmp_path / "parts")["global_step"] == 7
    tokens = TokenDataset(tokens_folder / "train")
    places = EndlessBatches(len(tokens), 1)
    assert seen == [tokens[places.batch(number)[0][1]]["id"] for number in range(len(seen))]
    assert checkpoint(tmp_path / "parts")[RECORD]["samples"] == len(seen)


def test_a_checkpoint_without_a_record_goes_on(tokens_folder: Path, tmp_path: Path) -> None:
    """As parvideo 0.1 wrote them: the batch size is that of the run folder's config."""
    run = tmp_path / "parts"
    fit(arguments(tokens_folder, run, 4, FIXED))
    path = list_checkpoints(run / FOLDER)[0]
    content = checkpoint(run)
    del content[RECORD], content["parvideo_model"]["tokenizer_fingerprint"]
    torch.save(content, path)
    fit(arguments(tokens_folder, run, 7, FIXED))
    fit(arguments(tokens_folder, tmp_path / "whole", 7, FIXED))
    assert_same(tmp_path / "whole", run)
    torch.save(content, path)
    for newer in list_checkpoints(run / FOLDER):
        if newer != path:
            newer.unlink()
    fit(arguments(tokens_folder, run, 5, FIXED, "--data.batch_size=4"))
    assert checkpoint(run)[RECORD]["samples"] == 4 * 3 + 4


def test_settings_of_this_start_count_and_are_said(
    tokens_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(arguments(tokens_folder, tmp_path, 3))
    changes = ["--model.lr=0.5", "--model.betas=[0.5,0.6]", "--model.weight_decay=0.25", "--model.final_lr=1"]
    fit(arguments(tokens_folder, tmp_path, 4, *changes, "--model.dropout=0.1"))
    said = capsys.readouterr().err
    for name in (
        "model.lr 0.01 -> 0.5",
        "model.betas",
        "model.dropout 0.2 -> 0.1",
        "trainer.max_steps 3 -> 4",
    ):
        assert name in said
    groups = checkpoint(tmp_path)["optimizer_states"][0]["param_groups"]
    assert [group["lr"] for group in groups] == [0.5, 0.5]
    assert [group["weight_decay"] for group in groups] == [0.25, 0.0]
    assert {tuple(group["betas"]) for group in groups} == {(0.5, 0.6)}
    assert checkpoint(tmp_path)["lr_schedulers"][0]["base_lrs"] == [0.5, 0.5]


def test_a_cosine_that_ends_later_is_said() -> None:
    def settings(**values: Any) -> dict[str, Any]:
        return {"trainer.max_steps": 4, "model.max_steps": None, "model.final_lr": 0.0, **values}

    longer = {"trainer.max_steps": 9}
    said = " ".join(changed_settings(settings(), settings(**longer)))
    assert "ended at step 4, now ends at step 9" in said
    for same in ({"model.max_steps": 7}, {"model.final_lr": 1}):
        told = " ".join(changed_settings(settings(**same), settings(**same, **longer)))
        assert "trainer.max_steps 4 -> 9" in told
        assert "cosine" not in told
    assert flat_settings({"model": {"class_path": "x", "init_args": {"lr": 1}}, "out": "y"}) == {
        "model.class_path": "x",
        "model.lr": 1,
        "out": "y",
    }


@pytest.mark.parametrize(
    "other",
    [
        ["--ema_decay=null"],
        ["--ema_decay=0.5"],
        ["--trainer.precision=bf16-mixed"],
        ["--trainer.precision=bf16-true"],
        ["--trainer.val_check_interval=1"],
        ["--checkpoint_every=1"],
    ],
)
def test_what_else_may_change(tokens_folder: Path, tmp_path: Path, other: list[str]) -> None:
    fit(arguments(tokens_folder, tmp_path, 2))
    fit(arguments(tokens_folder, tmp_path, 4, *other))
    fit(arguments(tokens_folder, tmp_path, 5))  # and back
    last = checkpoint(tmp_path)
    assert last["global_step"] == 5
    average = next(state["average"] for state in last["callbacks"].values() if "average" in state)
    exported = load_file(tmp_path / "model" / "weights.safetensors")
    assert all(torch.equal(value, exported[name]) for name, value in average.items())


def test_damaged_checkpoints(
    tokens_folder: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    newest, older = list_checkpoints(run / FOLDER)
    cut = newest.read_bytes()[:-3000]
    newest.write_bytes(cut)
    refused(run, tokens_folder, "damaged", capsys, f"--resume={newest}")
    older_bytes = older.read_bytes()
    older.write_bytes(b"")
    refused(run, tokens_folder, "no checkpoint in", capsys)
    older.write_bytes(older_bytes)
    fit(arguments(tokens_folder, run, 4))
    said = capsys.readouterr().err
    assert f"{newest.name} is damaged and passed over" in said
    assert f"going on from {older.name}" in said
    assert newest.read_bytes() != cut
    torch.save({"state_dict": {"a": torch.zeros(2)}}, tmp_path / "foreign.ckpt")
    refused(
        tmp_path / "new", tokens_folder, "is no checkpoint of", capsys, f"--resume={tmp_path}/foreign.ckpt"
    )


def test_a_run_begun_by_anothers_checkpoint_goes_on_from_its_own(
    tokens_folder: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = list_checkpoints(finished / FOLDER)[0]
    fit(arguments(tokens_folder, tmp_path / "run", 6, f"--resume={first}"))
    assert f"going on from {first.name}" in capsys.readouterr().err
    fit(arguments(tokens_folder, tmp_path / "run", 8, f"--resume={first}"))
    assert "going on from step-00000006.ckpt" in capsys.readouterr().err
    assert checkpoint(tmp_path / "run")["global_step"] == 8
    other = list_checkpoints(finished / FOLDER)[1]
    refused(tmp_path / "run", tokens_folder, "would mix with", capsys, f"--resume={other}", steps=9)


def tokenizer_arguments(root: Path, out: Path, steps: int, *more: str) -> list[str]:
    return [
        *("--model", "parvideo.training.TokenizerModule"),
        *("--model.tokenizer", "parvideo.tokenizer.CausalVideoTokenizer"),
        *("--model.tokenizer.channels=4", "--model.tokenizer.channel_multipliers=[1,1]"),
        *("--model.tokenizer.num_res_blocks=1", "--model.tokenizer.time_strides=[2]"),
        *("--model.tokenizer.space_strides=[2]", "--model.tokenizer.norm_groups=2"),
        *("--model.tokenizer.levels=[3,3]", "--data", "parvideo.training.ClipDataModule"),
        *(
            f"--data.root={root}",
            "--data.frames=3",
            "--data.size=8",
            "--data.fps=12.5",
            "--data.batch_size=2",
        ),
        *("--trainer.accelerator=cpu", "--trainer.devices=1", f"--trainer.max_steps={steps}"),
        *("--checkpoint_every=2", "--trainer.logger=false", f"--out={out}", *more),
    ]


def test_a_tokenizers_run(
    tmp_path: Path, tokens_folder: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from parvideo.synthetic import ShapesSettings, write_shapes_data

    toy, run = tmp_path / "toy", tmp_path / "run"
    write_shapes_data(
        toy, ShapesSettings(num_classes=2, groups=3, clips_per_group=1, height=16, width=20, frames=20)
    )
    adversary = [
        *("--model.adversary.discriminator=parvideo.tokenizer.discriminator.ClipDiscriminator",),
        *("--model.adversary.discriminator.channels=4", "--model.adversary.discriminator.num_layers=1"),
        *("--model.adversary.discriminator.norm_groups=2",),
    ]
    for steps in (3, 5):
        assert main(["fit", *tokenizer_arguments(toy, run, steps, FIXED)]) == 0
    assert main(["fit", *tokenizer_arguments(toy, tmp_path / "whole", 5, FIXED)]) == 0
    expected, got = checkpoint(tmp_path / "whole"), checkpoint(run)
    assert all(torch.equal(value, got["state_dict"][name]) for name, value in expected["state_dict"].items())
    shutil.copytree(toy, tmp_path / "fewer")
    next((tmp_path / "fewer").rglob("*g03*")).unlink()
    capsys.readouterr()
    for more, said in (
        (adversary, "it lacks adversary."),
        (["--model.tokenizer.channels=8"], "channels is 4 there and 8 here"),
        (["--data.size=12"], "size is 8 there and 12 here"),
        (["--model.seed=1"], "model.seed is 0 there and 1 here"),
        ([f"--resume={list_checkpoints(finished / FOLDER)[0]}", f"--out={tmp_path / 'new'}"], "a generator"),
        ([f"--out={finished}"], "holds a generator and the run trains a tokenizer"),
    ):
        before = files(run)
        assert main(["fit", *tokenizer_arguments(toy, run, 7, FIXED, *more)]) == 2
        assert said in capsys.readouterr().err
        assert files(run) == before
    shutil.rmtree(run / FOLDER)
    refused(run, tokens_folder, "holds a tokenizer, not a generator", capsys)

"""Training from the command line: resumed equals uninterrupted, to the last bit."""

import csv
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from parvideo.cli import main
from parvideo.datasets import TokenManifest, TokenWriter
from parvideo.datasets.clip_format import ClipFormat
from parvideo.pipeline import VideoPipeline
from parvideo.pretrained.folder import TOKENIZER, fingerprint, load_tokenizer, save_tokenizer
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.training.callbacks.misc import StepSeed
from parvideo.training.checkpoints import FOLDER, AtomicCheckpointIO, find_checkpoint
from parvideo.training.cli import FitCLI, fit
from parvideo.training.loggers import read_metrics
from tests.training.runs import arguments as small_run

TINY_TOKENIZER = {
    "channels": 4,
    "channel_multipliers": (1, 1),
    "num_res_blocks": 1,
    "time_strides": (2,),
    "space_strides": (2,),
    "norm_groups": 2,
    "levels": (3, 3),
}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    torch.manual_seed(0)
    save_tokenizer(
        folder / TOKENIZER, CausalVideoTokenizer(**TINY_TOKENIZER), clip_format=ClipFormat(fps=8.0)
    )
    for split in ("train", "test"):
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
            ids=[f"{index} center" for index in range(11)],
            labels=[index % 2 for index in range(11)],
        )
        writer = TokenWriter(folder / split, manifest)
        writer.write_shard(0, torch.randint(0, 9, (11, 2, 2, 2)))
        writer.finish()
    return folder


def arguments(tokens: Path, out: Path, steps: int = 7) -> list[str]:
    return [
        *("--model", "parvideo.training.GeneratorModule"),
        *("--data", "parvideo.training.TokenDataModule"),
        *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1", "--model.num_heads=2"),
        *("--model.dropout=0.2", "--model.attention_dropout=0.2", "--model.label_dropout=0.3"),
        *("--model.lr=0.01", "--model.warmup-steps=2"),
        *(f"--data.tokens={tokens}", "--data.batch_size=3"),
        *("--trainer.accelerator=cpu", "--trainer.devices=1", f"--trainer.max_steps={steps}"),
        *("--trainer.val_check_interval=3", "--trainer.num_sanity_val_steps=0"),
        *("--trainer.log_every_n_steps=1", "--trainer.gradient_clip_val=1.0"),
        *("--checkpoint-every=2", "--ema_decay=0.9", f"--out={out}"),
    ]


class Killed(BaseException):
    """Stands for kill -9: nothing of ours gets to run after it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    original = StepSeed.on_train_batch_start

    def on_train_batch_start(self, trainer, pl_module, data, batch_idx):  # type: ignore[no-untyped-def]
        if trainer.global_step == batch:
            raise Killed
        original(self, trainer, pl_module, data, batch_idx)

    monkeypatch.setattr(StepSeed, "on_train_batch_start", on_train_batch_start)


@pytest.fixture(scope="module")
def whole(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    fit(arguments(tokens, out))
    return out


def last_checkpoint(run: Path) -> dict:  # type: ignore[type-arg]
    return torch.load(run / FOLDER / "step-00000007.ckpt", weights_only=True)


@pytest.mark.parametrize("moments", [(1,), (4,), (5,), (3, 6)])
def test_resumed_equals_uninterrupted(
    tokens: Path, whole: Path, tmp_path: Path, moments: tuple[int, ...]
) -> None:
    for moment in moments:
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, moment)
            with pytest.raises(Killed):
                fit(arguments(tokens, tmp_path))
    fit(arguments(tokens, tmp_path))
    expected, got = last_checkpoint(whole), last_checkpoint(tmp_path)
    assert expected["state_dict"].keys() == got["state_dict"].keys()
    for name, value in expected["state_dict"].items():
        assert torch.equal(value, got["state_dict"][name]), name
    for part in ("optimizer_states", "lr_schedulers"):
        assert str(expected[part]) == str(got[part])
    exported = [load_file(run / "model" / "weights.safetensors") for run in (whole, tmp_path)]
    assert all(torch.equal(value, exported[1][name]) for name, value in exported[0].items())


def test_validation_leaves_training_alone(tokens: Path, whole: Path, tmp_path: Path) -> None:
    fit([*arguments(tokens, tmp_path), "--trainer.val_check_interval=7"])
    expected, got = last_checkpoint(whole)["state_dict"], last_checkpoint(tmp_path)["state_dict"]
    assert all(torch.equal(value, got[name]) for name, value in expected.items())


def test_exported_weights_are_the_average(whole: Path) -> None:
    checkpoint = last_checkpoint(whole)
    exported = load_file(whole / "model" / "weights.safetensors")
    average = next(state["average"] for state in checkpoint["callbacks"].values() if "average" in state)
    own = {name.removeprefix("transformer."): value for name, value in checkpoint["state_dict"].items()}
    assert all(torch.equal(value, average[name]) for name, value in exported.items())
    assert any(not torch.equal(value, own[name]) for name, value in exported.items())


def test_a_run_folder_is_a_pipeline(whole: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(whole)
    assert pipeline.generate(["Right", 0]).shape == (2, 3, 4, 4, 3)
    assert pipeline.fps == 8.0


def test_only_the_newest_checkpoints_stay(whole: Path) -> None:
    names = sorted(path.name for path in (whole / FOLDER).iterdir())
    assert names == ["step-00000006.ckpt", "step-00000007.ckpt"]


def test_a_finished_run_has_nothing_to_do(tokens: Path, whole: Path) -> None:
    before = last_checkpoint(whole)
    fit(arguments(tokens, whole))
    assert torch.equal(
        before["state_dict"]["transformer.head.weight"],
        last_checkpoint(whole)["state_dict"]["transformer.head.weight"],
    )


def test_missing_checkpoint_is_named(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["fit", *arguments(tokens, tmp_path), "--resume", str(tmp_path / "none.ckpt")])
    assert status == 2
    assert "none.ckpt" in capsys.readouterr().err


def test_length_in_steps_is_required(tokens: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_steps"):
        fit(arguments(tokens, tmp_path, steps=-1))


def test_interruption_says_how_to_go_on(
    tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StepSeed, "on_train_batch_start", interrupt)
    monkeypatch.setattr(sys, "argv", ["parvideo"])
    assert main(["fit", *arguments(tokens, tmp_path)]) == 130
    assert "same command again" in capsys.readouterr().err


def test_the_model_folder_holds_the_tokenizer(tokens: Path, whole: Path) -> None:
    assert fingerprint(whole / "model" / TOKENIZER) == fingerprint(tokens / TOKENIZER)
    assert load_tokenizer(whole).codebook_size == 9


def test_sigterm_saves_the_step_and_stops(
    tokens: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_by(signal.SIGTERM, tokens, tmp_path, monkeypatch)
    fit(arguments(tokens, tmp_path))
    expected, got = last_checkpoint(whole)["state_dict"], last_checkpoint(tmp_path)["state_dict"]
    assert all(torch.equal(value, got[name]) for name, value in expected.items())
    assert read_metrics(tmp_path)["train/loss"] == read_metrics(whole)["train/loss"]


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_killed_right_after_saving_no_logged_point_is_missing(
    tokens: Path, whole: Path, tmp_path: Path, saves: int
) -> None:
    save, saved = AtomicCheckpointIO.save_checkpoint, []

    def save_checkpoint(*given: Any, **more: Any) -> None:
        save(*given, **more)
        saved.append(True)
        if len(saved) == saves:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", save_checkpoint)
        with pytest.raises(Killed):
            fit(arguments(tokens, tmp_path))
    fit(arguments(tokens, tmp_path))
    expected, got = read_metrics(whole), read_metrics(tmp_path)
    for name in ("train/loss", "train/lr", "train/grad_norm", "val/loss"):
        assert got[name] == expected[name]
    files = [list(csv.reader(path.open())) for path in (tmp_path / "logs").glob("*/metrics.csv")]
    assert len(files) == 2
    for header, *rows in files:
        keys = [(row[header.index("step")], bool(row[header.index("train/loss")])) for row in rows]
        assert len(set(keys)) == len(keys)


def slurm(monkeypatch: pytest.MonkeyPatch, folder: Path, status: int = 0) -> Path:
    """One task of job 7, and a scontrol that writes down what it is asked."""
    told = folder / "told"
    for name, value in {"NTASKS": 1, "JOB_NAME": "train", "JOB_ID": 7, "LOCALID": 0, "PROCID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {told}\necho no such job >&2\nexit {status}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return told


def signal_at(monkeypatch: pytest.MonkeyPatch, batch: int, signum: signal.Signals) -> None:
    original = StepSeed.on_train_batch_start

    def on_train_batch_start(self, trainer, pl_module, data, batch_idx):  # type: ignore[no-untyped-def]
        if trainer.global_step == batch:
            os.kill(os.getpid(), signum)
        original(self, trainer, pl_module, data, batch_idx)

    monkeypatch.setattr(StepSeed, "on_train_batch_start", on_train_batch_start)


def stop_by(signum: signal.Signals, tokens: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a run the signal in its fifth step: that step is saved, and the handlers are put back."""
    before = signal.getsignal(signum)
    with monkeypatch.context() as patch:
        signal_at(patch, 4, signum)
        with pytest.raises(SystemExit) as stopped:
            fit(arguments(tokens, run))
    assert stopped.value.code == 128 + signum
    assert signal.getsignal(signum) == before
    assert find_checkpoint(run) == run / FOLDER / "step-00000005.ckpt"


def test_slurms_signal_saves_requeues_and_the_next_start_goes_on(
    tokens: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = slurm(monkeypatch, tmp_path)
    run = tmp_path / "run"
    stop_by(signal.SIGUSR1, tokens, run, monkeypatch)
    assert told.read_text() == "requeue 7\n"
    fit(arguments(tokens, run))
    assert told.read_text() == "requeue 7\n"
    expected, got = last_checkpoint(whole)["state_dict"], last_checkpoint(run)["state_dict"]
    assert all(torch.equal(value, got[name]) for name, value in expected.items())
    assert read_metrics(run)["train/loss"] == read_metrics(whole)["train/loss"]


def test_a_task_of_an_array_is_requeued_by_its_number(
    tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = slurm(monkeypatch, tmp_path)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    signal_at(monkeypatch, 2, signal.SIGUSR1)
    with pytest.raises(SystemExit):
        fit(arguments(tokens, tmp_path / "run"))
    assert told.read_text() == "requeue 70_3\n"


def test_preempted_by_slurm_the_job_is_not_requeued_twice(
    tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = slurm(monkeypatch, tmp_path)
    signal_at(monkeypatch, 2, signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        fit(arguments(tokens, tmp_path / "run"))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert not told.exists()


def test_a_requeue_that_fails_is_named(
    tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm(monkeypatch, tmp_path, status=1)
    signal_at(monkeypatch, 2, signal.SIGUSR1)
    assert main(["fit", *arguments(tokens, tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "requeue 7" in said
    assert "no such job" in said
    assert find_checkpoint(tmp_path / "run") is not None


def test_a_full_disk_is_named_and_the_old_checkpoint_stays_good(
    tokens: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save = torch.save

    def full(checkpoint: dict[str, Any], file: Any) -> None:
        if checkpoint["global_step"] > 2:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device", file.name)
        save(checkpoint, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        assert main(["fit", *arguments(tokens, tmp_path)]) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["step-00000002.ckpt"]
    fit(arguments(tokens, tmp_path))
    expected, got = last_checkpoint(whole)["state_dict"], last_checkpoint(tmp_path)["state_dict"]
    assert all(torch.equal(value, got[name]) for name, value in expected.items())


@pytest.mark.slow
def test_a_disk_that_is_really_full(tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes rights that are not here")
    try:
        more = ["--trainer.logger=false", "--trainer.val_check_interval=100"]
        for width in (16, 16, 128):  # the last needs more room than there is
            out = disk / f"run-{width}"
            status = main(["fit", *arguments(tokens, out), *more, f"--model.dim={width}"])
            assert status == (0 if width == 16 else 2), capsys.readouterr().err
        assert "the disk is full" in capsys.readouterr().err
        assert find_checkpoint(disk / "run-16") is not None
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_old_names_of_costs_are_refused_but_read_in_the_config_of_an_earlier_run(
    whole: Path, tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--print-plan", "--plan.mfu=0.5"):
        with pytest.raises(ValueError, match=r"--print-plan is called --print-costs now"):
            fit([*arguments(tokens, tmp_path), option])
    config = yaml.safe_load((whole / "config.yaml").read_text())
    assert not {"plan", "print_plan"} & config.keys()
    config["plan"], config["print_plan"] = config.pop("costs"), config.pop("print_costs")
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(config))
    fit(["--config", str(tmp_path / "old.yaml")])
    assert "nothing to do" in capsys.readouterr().err
    for change, name in (({"print_plan": True}, "print_costs"), ({"print_costs": True}, "costs")):
        (tmp_path / "old.yaml").write_text(yaml.safe_dump({**config, **change}))
        with pytest.raises(ValueError, match=f"is called {name} now"):
            fit(["--config", str(tmp_path / "old.yaml")])


def test_a_global_batch_is_reached_by_accumulation(tokens_folder: Path, tmp_path: Path) -> None:
    run = FitCLI(small_run(tokens_folder, tmp_path, "--global_batch=6"))
    assert run.trainer.accumulate_grad_batches == 3
    assert run.trainer.val_check_interval == 6
    run.train()
    steps = sorted(path.name for path in (tmp_path / "step_losses").iterdir())
    assert steps == ["00000002.csv", "00000004.csv"]


@pytest.mark.parametrize("more", [["--global_batch=5"], ["--trainer.accumulate_grad_batches=2"]])
def test_a_batch_that_cannot_be_shared_is_named(tokens_folder: Path, tmp_path: Path, more: list[str]) -> None:
    with pytest.raises(ValueError, match="global_batch"):
        FitCLI(small_run(tokens_folder, tmp_path, "--global_batch=4", *more))

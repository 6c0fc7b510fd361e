"""Two gloo processes: the files of one, the same training, and exact resumption, with DDP and with FSDP."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parvideo.datasets import TokenDataset, TokenWriter
from parvideo.training.checkpoints import FOLDER, list_checkpoints
from parvideo.training.loggers import read_metrics
from tests.world import write_world

pytestmark = pytest.mark.slow


def start(words: list[object], **environment: str) -> subprocess.Popen[bytes]:
    """One `parvideo` command in a process group of its own, one thread a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "parvideo.cli", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def parvideo(*words: object, **environment: str) -> None:
    process = start(list(words), **environment)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy videos, a tokenizer, tokens, a generator and a feature network, all tiny."""
    folder = tmp_path_factory.mktemp("two")
    write_world(folder, 4, 4)
    tokenize(folder, folder / "tokens", 1)
    return folder


def tokenize(folder: Path, out: Path, devices: int) -> None:
    given = ["--tokenizer", folder / "tokenizer", "--data", folder / "toy", "--out", out]
    parvideo(
        "tokenize", *given, "--shard-size=5", "--batch-size=3", "--accelerator=cpu", f"--devices={devices}"
    )


def training(folder: Path, out: Path, devices: int, *more: str) -> list[object]:
    return [
        *("fit", "--model", "parvideo.training.GeneratorModule"),
        *("--data", "parvideo.training.TokenDataModule", f"--data.tokens={folder / 'tokens'}"),
        *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1", "--model.num_heads=2"),
        *("--model.lr=0.01", "--global_batch=8", f"--data.batch_size={8 // devices}"),
        *("--trainer.accelerator=cpu", f"--trainer.devices={devices}", "--trainer.strategy=auto"),
        *("--trainer.max_steps=30", "--trainer.val_check_interval=10", "--trainer.log_every_n_steps=1"),
        *("--checkpoint_every=5", "--ema_decay=0.9", f"--out={out}", *more),
    ]


def final(run: Path) -> dict[str, Any]:
    return torch.load(run / FOLDER / "step-00000030.ckpt", weights_only=True)


def tensors(state: Any, name: str = "") -> dict[str, torch.Tensor]:
    """Every tensor in a nested state, by where it is."""
    if isinstance(state, torch.Tensor):
        return {name: state}
    inside = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {place: value for key, part in inside for place, value in tensors(part, f"{name}/{key}").items()}


def trained(run: Path) -> dict[str, torch.Tensor]:
    """Weights, average and optimizer states at a run's end."""
    checkpoint = final(run)
    parts = {name: checkpoint[name] for name in ("state_dict", "callbacks", "optimizer_states")}
    found = tensors(parts)
    assert any("average" in name for name in found)
    assert any("exp_avg_sq" in name for name in found)
    return found


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs without dropout on one device and on two, validated on an odd number of samples."""
    odd = folder / "odd"
    shutil.copytree(folder / "tokens", odd)
    shutil.rmtree(odd / "test")
    held_out = TokenDataset(folder / "tokens" / "test")
    manifest = dataclasses.replace(
        held_out.manifest, ids=held_out.manifest.ids[:7], labels=held_out.manifest.labels[:7], shard_size=7
    )
    writer = TokenWriter(odd / "test", manifest)
    writer.write_shard(0, torch.stack([held_out[index]["tokens"] for index in range(7)]))
    writer.finish()
    places = {strategy: tmp_path_factory.mktemp(strategy) for strategy in ("auto", "ddp", "sharded")}
    for strategy, out in places.items():
        parvideo(*still(folder, out, strategy))
    return places


def still(folder: Path, out: Path, strategy: str) -> list[object]:
    """Training without dropout, which differs from device to device; "auto" is on one of them."""
    none = ["--model.dropout=0", "--model.attention_dropout=0", "--model.label_dropout=0"]
    chosen = [f"--trainer.strategy={strategy}", f"--data.tokens={folder / 'odd'}"]
    return training(folder, out, 1 if strategy == "auto" else 2, *none, *chosen)


def test_tokens_are_the_same(folder: Path, tmp_path: Path) -> None:
    tokenize(folder, tmp_path, 2)
    names = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(
        path.relative_to(folder / "tokens") for path in (folder / "tokens").rglob("*") if path.is_file()
    )
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / "tokens" / name).read_bytes(), name


def test_clips_are_the_same(folder: Path, tmp_path: Path) -> None:
    for devices in (1, 2):
        given = [
            "--model",
            folder / "model",
            "--out",
            tmp_path / str(devices),
            "--num=7",
            "--clips-per-file=3",
        ]
        given += ["--batch-size=3"]
        parvideo("sample", *given, "--accelerator=cpu", f"--devices={devices}")
    files = sorted((tmp_path / "1").glob("*.npz"))
    assert len(files) == 5
    for file in files:
        one, two = np.load(file), np.load(tmp_path / "2" / file.name)
        assert all(np.array_equal(one[name], two[name]) for name in one)
    for file in (tmp_path / "1").glob("*.mp4"):
        assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes()


def test_scores_are_the_same(folder: Path, tmp_path: Path) -> None:
    reports = []
    for devices in (1, 2):
        out = tmp_path / str(devices) / "report.json"
        given = ["--real", folder / "toy", "--out", out, "--features", folder / "net"]
        form = ["--frames=9", "--size=16", "--fps=12.5", "--real-count=0", "--fake-count=30", "--split=all"]
        more = ["--workers=0", "--batch-size=4", "--accelerator=cpu", f"--devices={devices}"]
        parvideo("evaluate", *given, "--model", folder / "model", *form, *more)
        reports.append(json.loads(out.read_text()))
    for name in ("fvd", "repeats", "real", "generated"):
        assert reports[0][name] == reports[1][name]


@pytest.mark.parametrize("strategy", ["ddp", "sharded"])
def test_training_is_the_same_but_for_rounding(runs: dict[str, Path], tmp_path: Path, strategy: str) -> None:
    """Losses of every step and of the whole held-out set, weights, average and optimizer states."""
    one, two = runs["auto"], runs[strategy]
    curves = [read_metrics(run) for run in (one, two)]
    for name, tolerance in (("train/loss", 1e-4), ("train/grad_norm", 1e-3), ("val/loss", 1e-4)):
        losses = [dict(each[name]) for each in curves]
        assert losses[0].keys() == losses[1].keys()
        assert list(losses[0].values()) == pytest.approx(list(losses[1].values()), rel=tolerance)
    alike(trained(one), trained(two))
    parvideo("export", "--run", two, "--out", tmp_path / "model")
    exported, own = (folder / "weights.safetensors" for folder in (tmp_path / "model", two / "model"))
    assert exported.read_bytes() == own.read_bytes()


@pytest.mark.parametrize(("before", "after"), [("auto", "sharded"), ("sharded", "auto")])
def test_a_run_goes_on_with_another_strategy(
    folder: Path, runs: dict[str, Path], tmp_path: Path, before: str, after: str
) -> None:
    (tmp_path / FOLDER).mkdir()
    shutil.copy(runs[before] / FOLDER / "step-00000025.ckpt", tmp_path / FOLDER)
    parvideo(*still(folder, tmp_path, after))
    assert len(read_metrics(tmp_path)["train/loss"]) == 5
    alike(trained(runs[before]), trained(tmp_path))


def alike(expected: dict[str, torch.Tensor], got: dict[str, torch.Tensor]) -> None:
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        assert value.shape == got[name].shape, name
        assert torch.allclose(value.float(), got[name].float(), atol=1e-3), name


def tokenizer_training(folder: Path, out: Path, devices: int, *more: str) -> list[object]:
    return [
        *("fit", "--model", "parvideo.training.TokenizerModule"),
        *("--model.tokenizer", "parvideo.tokenizer.CausalVideoTokenizer"),
        *("--model.tokenizer.channels=4", "--model.tokenizer.channel_multipliers=[1,1]"),
        *("--model.tokenizer.num_res_blocks=1", "--model.tokenizer.time_strides=[2]"),
        *("--model.tokenizer.space_strides=[2]", "--model.tokenizer.norm_groups=2"),
        *("--model.tokenizer.levels=[3,3]", "--data", "parvideo.training.ClipDataModule"),
        *(f"--data.root={folder / 'toy'}", "--data.frames=3", "--data.size=8", "--data.fps=12.5"),
        *("--data.val_clips=7", "--data.val_batch_size=2", f"--data.batch_size={4 // devices}"),
        *("--trainer.accelerator=cpu", f"--trainer.devices={devices}", "--trainer.max_steps=4"),
        *("--trainer.val_check_interval=2", f"--out={out}", *more),
    ]


SPY = """
import lightning, torch

class Weights(lightning.Callback):
    def __init__(self, folder: str) -> None:
        self.folder, self.losses = folder, []

    def on_train_start(self, trainer, module) -> None:
        loss = module.adversary.discriminator_loss

        def discriminator_loss(*given):
            result = loss(*given)
            self.losses.append(float(result[1]["hinge"]))
            return result

        module.adversary.discriminator_loss = discriminator_loss

    def on_train_end(self, trainer, module) -> None:
        torch.save((module.state_dict(), self.losses), f"{self.folder}/rank{trainer.global_rank}.pt")
"""


def test_devices_decide_together_whether_the_discriminator_steps(folder: Path, tmp_path: Path) -> None:
    """With plain DDP asked for, and a bound between their losses, so that each alone would differ."""
    (tmp_path / "spy.py").write_text(SPY)
    adversary = ["--model.adversary.discriminator=parvideo.tokenizer.discriminator.ClipDiscriminator"]
    adversary += [
        f"--model.adversary.discriminator.{each}" for each in ("channels=4", "num_layers=1", "norm_groups=2")
    ]
    adversary += ["--model.adversary.lr=0.01", "--model.adversary.warmup_steps=1", "--trainer.strategy=ddp"]
    adversary += ["--trainer.callbacks=spy.Weights", f"--trainer.callbacks.folder={tmp_path}"]

    def train(out: str, bound: float, steps: int) -> list[tuple[dict[str, torch.Tensor], list[float]]]:
        more = [f"--model.adversary.skip_below={bound}", f"--trainer.max_steps={steps}"]
        words = tokenizer_training(folder, tmp_path / out, 2, *adversary, *more)
        parvideo(*words, PYTHONPATH=str(tmp_path))
        return [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]

    first = [losses[0] for _, losses in train("one", 0.0, 1)]
    assert first[0] != first[1]
    (one, _), (two, _) = train("many", sum(first) / 2, 6)
    for name, value in one.items():
        if "lecam" not in name:  # running means of a device's own scores
            assert torch.equal(value, two[name]), name


def test_a_tokenizer_is_validated_on_every_clip_once(folder: Path, tmp_path: Path) -> None:
    for devices in (1, 2):
        parvideo(*tokenizer_training(folder, tmp_path / str(devices), devices))
    one, two = (read_metrics(tmp_path / name) for name in ("1", "2"))
    for name in ("val/psnr", "val/psnr_copy_first", "val/ssim", "val/motion_ratio", "val/usage"):
        assert [step for step, _ in two[name]] == [2, 4]
        assert [value for _, value in two[name]] == pytest.approx([value for _, value in one[name]], rel=1e-4)


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives an uninterrupted run on two devices with a strategy."""
    made: dict[str, Path] = {}

    def get(strategy: str) -> Path:
        if strategy not in made:
            made[strategy] = tmp_path_factory.mktemp("whole")
            parvideo(*training(folder, made[strategy], 2, f"--trainer.strategy={strategy}"))
        return made[strategy]

    return get


@pytest.mark.parametrize("strategy", ["ddp", "sharded"])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_run_goes_on_to_the_same_bits(
    folder: Path, whole: Callable[[str], Path], tmp_path: Path, signum: int, strategy: str
) -> None:
    chosen = f"--trainer.strategy={strategy}"
    process = start(training(folder, tmp_path / "run", 2, chosen))
    while len(list_checkpoints(tmp_path / "run" / FOLDER)) < 2:
        assert process.poll() is None, process.communicate()[1].decode()[-3000:]
        time.sleep(0.01)
    os.killpg(process.pid, signum) if signum == signal.SIGKILL else process.send_signal(signum)
    process.communicate(timeout=600)
    assert process.returncode != 0
    assert not (tmp_path / "run" / FOLDER / "step-00000030.ckpt").exists()
    parvideo(*training(folder, tmp_path / "run", 2, chosen))
    same(whole(strategy), tmp_path / "run")


def test_slurms_tasks_stop_together_and_the_job_is_requeued_once(
    folder: Path, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    """Two tasks as srun starts them; the signal reaches the second alone."""
    told = tmp_path / "told"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    program.chmod(0o755)

    def tasks() -> list[subprocess.Popen[bytes]]:
        settings = {"NTASKS": "2", "NTASKS_PER_NODE": "2", "JOB_NAME": "train", "JOB_ID": "4711"}
        job = {f"SLURM_{name}": value for name, value in {**settings, "NODEID": "0"}.items()}
        job["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        words = training(folder, tmp_path / "run", 2, "--trainer.strategy=ddp")
        return [start(words, **job, SLURM_PROCID=rank, SLURM_LOCALID=rank) for rank in ("0", "1")]

    processes = tasks()
    while len(list_checkpoints(tmp_path / "run" / FOLDER)) < 1:
        assert processes[0].poll() is None, processes[0].communicate()[1].decode()[-3000:]
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGUSR1)
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 128 + signal.SIGUSR1, errors.decode()[-3000:]
    assert told.read_text() == "requeue 4711\n"
    for process in tasks():
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors.decode()[-3000:]
    assert told.read_text() == "requeue 4711\n"
    same(whole("ddp"), tmp_path / "run")


def same(whole: Path, run: Path) -> None:
    """A run that was stopped ends where an uninterrupted one does, and logged the same."""
    expected, got = trained(whole), trained(run)
    assert expected.keys() == got.keys()
    assert all(torch.equal(value, got[name]) for name, value in expected.items())
    curves = [read_metrics(place) for place in (whole, run)]
    for name in ("train/loss", "train/lr", "train/grad_norm", "val/loss"):
        assert curves[0][name] == curves[1][name]
    assert len(curves[0]["train/loss"]) == 30

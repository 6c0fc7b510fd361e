"""kill -9 at 20 random moments in tokenizing, training, sampling, evaluating: the results are identical.

Children are real processes, forked from a server that has imported everything, so that a moment falls into
the work and not into the start.
"""

import csv
import json
import logging
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parvideo.training.checkpoints import FOLDER
from parvideo.training.loggers import read_metrics
from tests.world import write_world

logger = logging.getLogger(__name__)
pytestmark = pytest.mark.slow

KILLS = 20
COMMANDS = ("tokenize", "fit", "sample", "evaluate")
_PRELOAD = ["parvideo.cli", "parvideo.training.cli"]
_PRELOAD += [f"parvideo.jobs.{name}" for name in COMMANDS if name != "fit"]
CPU = ["--accelerator=cpu"]


CHILD = """
import os, torch
from parvideo.cli import main
output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(output, 1)
os.dup2(output, 2)
torch.set_num_threads(1)
os._exit(main(words))
"""
"""Source, since the server could not import a function of this file."""


def start(words: list[str], log: Path) -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    process = context.Process(target=exec, args=(CHILD, {"words": words, "log": str(log)}))
    process.start()
    return process


def finish(words: list[str], log: Path) -> float:
    """Run to the end; seconds it took."""
    started = time.monotonic()
    process = start(words, log)
    process.join(600)
    assert process.exitcode == 0, log.read_text()
    return time.monotonic() - started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy videos, a tokenizer, tokens, a generator and a feature network, all tiny."""
    folder = tmp_path_factory.mktemp("kill")
    write_world(folder, 6, 8)
    words = ["tokenize", "--tokenizer", folder / "tokenizer", "--data", folder / "toy"]
    finish([*map(str, words), "--out", str(folder / "tokens"), *CPU], folder / "log")
    return folder


def storm(words: Callable[[Path], list[str]], tmp_path: Path, seed: int) -> tuple[Path, list[Path]]:
    """Kill a command 20 times at random moments, going on each time; begin anew when it got to its end.

    Returns:
        The folder of an uninterrupted run, and those of the killed runs, all at their end.
    """
    whole, log = tmp_path / "whole", tmp_path / "log"
    length = finish(words(whole), log)
    moments = random.Random(seed)
    runs: list[Path] = []
    kills: list[int] = []
    while sum(kills) < KILLS:
        runs.append(tmp_path / f"run{len(runs)}")
        kills.append(0)
        while True:
            process = start(words(runs[-1]), log)
            process.join(None if sum(kills) == KILLS else moments.uniform(0.05, 0.9) * length)
            if process.exitcode is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            if process.exitcode != -signal.SIGKILL:  # it ended in between
                break
            kills[-1] += 1
        assert process.exitcode == 0, log.read_text()
    logger.info("%d kills over %d runs of %.1f s: %s", KILLS, len(runs), length, kills)
    assert sum(kills) == KILLS
    return whole, runs


def files(folder: Path) -> list[str]:
    """What a reader sees: the files of a folder but hidden ones, which a killed writer may have begun."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if not path.name.startswith("."))


def test_tokenizing(folder: Path, tmp_path: Path) -> None:
    def words(out: Path) -> list[str]:
        given = ["tokenize", "--tokenizer", folder / "tokenizer", "--data", folder / "toy", "--out", out]
        return [*map(str, given), "--views=12", "--flip", "--shard-size=13", "--batch-size=5", *CPU]

    whole, runs = storm(words, tmp_path, seed=1)
    for run in runs:
        assert files(run) == files(whole)
        for name in files(whole):
            assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_training(folder: Path, tmp_path: Path) -> None:
    def words(out: Path) -> list[str]:
        return [
            *("fit", "--model", "parvideo.training.GeneratorModule"),
            *("--data", "parvideo.training.TokenDataModule", f"--data.tokens={folder / 'tokens'}"),
            *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1"),
            *("--model.num_heads=2", "--model.dropout=0.2", "--model.lr=0.01", "--data.batch_size=4"),
            *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.max_steps=120"),
            *("--trainer.val_check_interval=30", "--trainer.log_every_n_steps=1"),
            *("--trainer.accumulate_grad_batches=2", "--checkpoint_every=10", "--ema_decay=0.9"),
            f"--out={out}",
        ]

    whole, runs = storm(words, tmp_path, seed=2)
    last = f"{FOLDER}/step-00000120.ckpt"
    expected = torch.load(whole / last, weights_only=True)
    curves = read_metrics(whole)
    for run in runs:
        got = torch.load(run / last, weights_only=True)
        for part in ("state_dict", "optimizer_states", "lr_schedulers"):
            equal(expected[part], got[part])
        averages = [
            next(state["average"] for state in states["callbacks"].values() if "average" in state)
            for states in (expected, got)
        ]
        equal(*averages)
        weights = "model/weights.safetensors"
        assert (run / weights).read_bytes() == (whole / weights).read_bytes()
        assert len(curves["train/loss"]) == 120
        resumed = read_metrics(run)
        for name in ("train/loss", "train/lr", "train/grad_norm", "val/loss"):
            assert resumed[name] == curves[name], name
        for name in files(whole / "step_losses"):
            rows = [list(csv.reader((place / "step_losses" / name).open())) for place in (whole, run)]
            assert rows[0] == rows[1]


def test_sampling(folder: Path, tmp_path: Path) -> None:
    def words(out: Path) -> list[str]:
        given = ["sample", "--model", folder / "model", "--out", out, "--clips-per-file=4"]
        return [*map(str, given), "--num=30", "--batch-size=4", "--guidance-scale=2", *CPU]

    whole, runs = storm(words, tmp_path, seed=3)
    for run in runs:
        assert files(run) == files(whole)
        for name in files(whole):
            if name.endswith(".npz"):
                arrays = [np.load(place / name) for place in (whole, run)]
                assert all(np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[0])
            elif name.endswith(".mp4"):
                assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_evaluating(folder: Path, tmp_path: Path) -> None:
    def words(out: Path) -> list[str]:
        given = ["evaluate", "--real", folder / "toy", "--out", out / "report.json"]
        given += ["--model", folder / "model", "--features", folder / "net"]
        form = ["--frames=9", "--size=16", "--fps=12.5", "--real-count=0", "--fake-count=600"]
        return [*map(str, given), *form, "--workers=0", "--split=all", "--batch-size=8", *CPU]

    whole, runs = storm(words, tmp_path, seed=4)
    expected = json.loads((whole / "report.json").read_text())
    for run in runs:
        got = json.loads((run / "report.json").read_text())
        for name in ("fvd", "repeats", "protocol", "generated", "real", "classes_covered"):
            assert got[name] == expected[name], name


def equal(one: Any, other: Any) -> None:
    """Compare nested states, tensors bit for bit."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            equal(a, b)
    else:
        assert one == other

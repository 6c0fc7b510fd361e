"""Runs of a small generator that the tests of training share."""

from pathlib import Path

import pytest

from parvideo.cli import main


def arguments(tokens: Path, out: Path, *more: str) -> list[str]:
    return [
        *("--model", "parvideo.training.GeneratorModule"),
        *("--data", "parvideo.training.TokenDataModule"),
        *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1", "--model.num_heads=2"),
        *(f"--data.tokens={tokens}", "--data.batch_size=2", "--model.lr=0.01"),
        *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.max_steps=4"),
        *("--trainer.val_check_interval=2", "--trainer.log_every_n_steps=1", f"--out={out}", *more),
    ]


def resumable_arguments(tokens: Path, out: Path, steps: int, *more: str) -> list[str]:
    return [
        *("--model", "parvideo.training.GeneratorModule"),
        *("--data", "parvideo.training.TokenDataModule", f"--data.tokens={tokens}"),
        *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1", "--model.num_heads=2"),
        *("--model.dropout=0.2", "--model.label_dropout=0.3", "--model.lr=0.01", "--model.warmup_steps=2"),
        *("--data.batch_size=3", "--trainer.accelerator=cpu", "--trainer.devices=1"),
        *(
            f"--trainer.max_steps={steps}",
            "--trainer.val_check_interval=3",
            "--trainer.num_sanity_val_steps=0",
        ),
        *("--trainer.log_every_n_steps=1", "--checkpoint_every=2", f"--out={out}", "--ema_decay=0.9", *more),
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(
    run: Path, tokens: Path, said: str, capsys: pytest.CaptureFixture[str], *more: str, steps: int = 6
) -> None:
    """Exit 2, one line that says why, and every file as it was."""
    before = files(run)
    assert main(["fit", *resumable_arguments(tokens, run, steps, *more)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert files(run) == before

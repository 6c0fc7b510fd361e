"""Runs of a small generator that the tests of training share."""

from pathlib import Path


def arguments(tokens: Path, out: Path, *more: str) -> list[str]:
    return [
        *("--model", "parvideo.training.generator.GeneratorModule"),
        *("--data", "parvideo.training.data.TokenDataModule"),
        *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1", "--model.num_heads=2"),
        *(f"--data.tokens={tokens}", "--data.batch_size=2", "--model.lr=0.01"),
        *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.max_steps=4"),
        *("--trainer.val_check_interval=2", "--trainer.log_every_n_steps=1", f"--out={out}", *more),
    ]

"""Training runs of a measured length on clips in memory, and held-out figures: what the studies share."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from parvideo.datasets import ClipDataset
from parvideo.metrics.reconstruction import CodebookUsage, ReconstructionQuality
from parvideo.pixels import to_float
from parvideo.progress import Progress
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.training.data import ClipDataModule
from parvideo.training.tokenizer import TokenizerModule

PASSES = 6  # random clips drawn of each training video
MEASURED_STEPS = 20  # how many steps tell the speed


class MemoryClips(Dataset[dict[str, Any]]):
    """Clips decoded once, so that training is measured and not reading.

    Args:
        clips: where they come from.
        passes: how often to draw each; random clips differ from pass to pass.
        name: for the progress bar.
    """

    def __init__(self, clips: ClipDataset, passes: int, name: str) -> None:
        self.class_names = clips.class_names or []
        self.items: list[dict[str, Any]] = []
        for number in Progress(range(passes), title=f"reading {name} clips", unit="round"):
            clips.seed = number
            self.items += [dict(clips[index]) for index in range(len(clips))]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]

    def batches(self, label: int | None = None, size: int = 16) -> Iterator[Tensor]:
        """Float clips ``[B, 3, T, H, W]``, all or those of one class, in order."""
        chosen = [item["clip"] for item in self.items if label is None or item["label"] == label]
        for start in range(0, len(chosen), size):
            yield to_float(torch.stack(chosen[start : start + size]))


def toy_clips(root: Path, frames: int, size: int, fps: float) -> tuple[MemoryClips, MemoryClips]:
    """Random clips of a shapes set's training videos, and the centre clip of each held-out one."""
    data = ClipDataModule(root, frames=frames, size=size, fps=fps)
    return MemoryClips(data.clips("train"), PASSES, "train"), MemoryClips(data.clips("test"), 1, "test")


class StepBar(Callback):
    """One bar for the steps of a run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the bar."""
        self.bar = Progress(title=self.name, unit="step", total=trainer.max_steps)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Move it."""
        self.bar.update()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close it."""
        self.bar.close()


class Curve(Callback):
    """Held-out PSNR and the discriminator's figures, every few steps."""

    def __init__(self, clips: MemoryClips, every: int) -> None:
        self.clips, self.every = clips, every
        self.rows: list[tuple[int, float, dict[str, float]]] = []

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Add a row if it is time."""
        if trainer.global_step % self.every == 0:
            assert isinstance(pl_module, TokenizerModule)
            figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
            psnr = evaluate(pl_module.tokenizer, self.clips)["psnr"]
            self.rows.append((trainer.global_step, psnr, figures))


def fit(
    tokenizer: CausalVideoTokenizer,
    clips: MemoryClips,
    seconds: float,
    batch_size: int,
    lr: float,
    name: str,
    l1_weight: float = 1.0,
    mse_weight: float = 1.0,
    hard_clips: float = 0.0,
) -> tuple[int, float]:
    """Train for about so many seconds of processor time; returns the steps and the seconds it took.

    The schedule needs the number of steps beforehand: a copy is trained a few steps to learn the speed.
    Processor time, because it depends less than the clock on what else the machine does.
    """
    trial = CausalVideoTokenizer(**tokenizer.config)
    for steps in (5, MEASURED_STEPS):
        began = time.process_time()
        train(TokenizerModule(trial, lr=lr), clips, steps, batch_size, [])
        spent = time.process_time() - began
    steps = max(1, round(seconds * MEASURED_STEPS / spent))
    module = TokenizerModule(
        tokenizer,
        lr=lr,
        warmup_steps=50,
        l1_weight=l1_weight,
        mse_weight=mse_weight,
        hard_clips=hard_clips,
    )
    began = time.process_time()
    train(module, clips, steps, batch_size, [StepBar(name)])
    return steps, time.process_time() - began


def evaluate(
    tokenizer: CausalVideoTokenizer, clips: MemoryClips, label: int | None = None
) -> dict[str, float]:
    """Reconstruction figures over the clips, or over those of one class."""
    return measure(tokenizer, clips.batches(label))


@torch.no_grad()
def measure(tokenizer: CausalVideoTokenizer, batches: Iterable[Tensor]) -> dict[str, float]:
    """Reconstruction figures over batches of float clips ``[B, 3, T, H, W]``."""
    training = tokenizer.training
    tokenizer.eval()
    quality, usage = ReconstructionQuality(), CodebookUsage(tokenizer.codebook_size)
    for batch in batches:
        reconstruction = tokenizer(batch)
        quality.update(reconstruction.clips, batch)
        usage.update(reconstruction.ids)
    tokenizer.train(training)
    figures = quality.compute() | usage.compute()
    del figures["counts"]
    return {name: float(value) for name, value in figures.items()}


def train(
    module: TokenizerModule, clips: MemoryClips, steps: int, batch_size: int, callbacks: list[Callback]
) -> None:
    """Train for so many steps of shuffled batches."""
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(clips, batch_size, shuffle=True, drop_last=True, generator=generator)
    lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, loader)


def print_figures(
    names: list[str], runs: list[tuple[CausalVideoTokenizer, int, float]], clips: MemoryClips
) -> None:
    """A table of tokenizers, each with the steps and seconds it was trained."""
    print(
        "\n| tokenizer | steps | CPU seconds | held-out PSNR | above copying frame 0 | SSIM | motion ratio"
        " | PSNR t mod 4 = 0, 1, 2, 3 | usage | perplexity |\n" + "|---" * 10 + "|"
    )
    for name, (tokenizer, steps, spent) in zip(names, runs, strict=True):
        figures = evaluate(tokenizer, clips)
        phases = ", ".join(f"{figures[f'psnr_t{phase}']:.1f}" for phase in range(4))
        print(
            f"| {name} | {steps} | {spent:.0f} | {figures['psnr']:.2f}"
            f" | {figures['psnr'] - figures['psnr_copy_first']:+.2f} | {figures['ssim']:.3f}"
            f" | {figures['motion_ratio']:.2f} | {phases} | {figures['usage']:.1%}"
            f" of {tokenizer.codebook_size} | {figures['perplexity']:.0f} |"
        )

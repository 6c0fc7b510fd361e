"""Measure the tokenizer on toy clips: presets, quantizers at equal time, the adversarial phase.

Figures depend on the machine's speed where a budget is in seconds (of processor time). Make the clips
with `parvideo toy-data`.
"""

import time
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from jsonargparse import auto_cli
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from parvideo.clips import to_float
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.discriminator import ClipDiscriminator
from parvideo.tokenizer.presets import PRESETS
from parvideo.tokenizer.quality import CodebookUsage, ReconstructionQuality
from parvideo.training.adversarial import Adversary
from parvideo.training.data import ClipDataModule
from parvideo.training.tokenizer_module import TokenizerModule

PASSES = 6  # random clips drawn of each training video
MEASURED_STEPS = 20  # how many steps tell the speed

QUANTIZERS: dict[str, dict[str, Any]] = {
    "FSQ [8,5,5,5]": {"quantizer": "fsq", "levels": [8, 5, 5, 5]},
    "LFQ 10 bits": {"quantizer": "lfq", "lfq_bits": 10},
    "VQ-EMA 1000x8": {"quantizer": "vq_ema", "vq_codes": 1000, "vq_dim": 8},
}


class MemoryClips(Dataset[dict[str, Any]]):
    """Clips decoded once, so that training is measured and not reading."""

    def __init__(
        self, root: Path, split: Literal["train", "test"], frames: int, size: int, fps: float
    ) -> None:
        data = ClipDataModule(root, frames=frames, size=size, fps=fps)
        data.setup("fit")
        clips = data.clips(split)
        self.class_names = data.class_names
        self.items: list[dict[str, Any]] = []
        for number in tqdm(range(PASSES if split == "train" else 1), desc=f"reading {split} clips"):
            clips.seed = number
            self.items += [dict(clips[index]) for index in range(len(clips))]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


class Progress(Callback):
    """One bar for the steps of a run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the bar."""
        self.bar = tqdm(total=trainer.max_steps, desc=self.name)

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


def tiny(
    data: Path,
    seconds: float = 240.0,
    preset: str = "tiny",
    frames: int = 9,
    size: int = 32,
    fps: float = 12.5,
    batch_size: int = 8,
    lr: float = 2e-3,
    l1_weight: float = 1.0,
    mse_weight: float = 1.0,
    save: Path | None = None,
) -> None:
    """Train a preset for a time and print its figures, over all held-out clips and by class.

    Args:
        data: folder of toy clips.
        seconds: of training, in processor time.
        preset: of the tokenizer.
        frames: of a clip.
        size: of a frame.
        fps: frames a second.
        batch_size: clips a step.
        lr: highest learning rate.
        l1_weight: of the mean absolute error.
        mse_weight: of the mean squared error.
        save: where to put the weights, for `adversary`.
    """
    train, test = (MemoryClips(data, split, frames, size, fps) for split in ("train", "test"))
    tokenizer = _build(PRESETS[preset])
    steps, spent = fit(tokenizer, train, seconds, batch_size, lr, preset, l1_weight, mse_weight)
    _print_figures([preset], [(tokenizer, steps, spent)], test)
    by_class = [evaluate(tokenizer, test, label) for label in range(len(test.class_names))]
    mean = sum(figures["psnr"] for figures in by_class) / len(by_class)
    print(
        "\n| class | held-out PSNR | against the mean of classes | above copying frame 0 |\n|---|---|---|---|"
    )
    for name, figures in zip(test.class_names, by_class, strict=True):
        psnr, copied = figures["psnr"], figures["psnr_copy_first"]
        print(f"| {name} | {psnr:.2f} | {psnr - mean:+.2f} | {psnr - copied:+.2f} |")
    if save is not None:
        torch.save({"config": tokenizer.config, "state": tokenizer.state_dict()}, save)


def quantizers(
    data: Path,
    seconds: float = 120.0,
    frames: int = 9,
    size: int = 32,
    fps: float = 12.5,
    batch_size: int = 8,
    lr: float = 2e-3,
) -> None:
    """Train the tiny preset with FSQ, LFQ and VQ-EMA for one time each, and print the table.

    Args:
        data: folder of toy clips.
        seconds: of training, each, in processor time.
        frames: of a clip.
        size: of a frame.
        fps: frames a second.
        batch_size: clips a step.
        lr: highest learning rate.
    """
    train, test = (MemoryClips(data, split, frames, size, fps) for split in ("train", "test"))
    runs = []
    for name, settings in QUANTIZERS.items():
        tokenizer = _build(PRESETS["tiny"] | settings)
        runs.append((tokenizer, *fit(tokenizer, train, seconds, batch_size, lr, name)))
    _print_figures(list(QUANTIZERS), runs, test)


def adversary(
    data: Path,
    start: Path,
    steps: int = 500,
    frames: int = 9,
    size: int = 32,
    fps: float = 12.5,
    batch_size: int = 8,
    lr: float = 2e-4,
    weight: float = 0.03,
    warmup_steps: int = 100,
    ramp_steps: int = 100,
) -> None:
    """Go on from a trained tokenizer with the discriminator on, and print the curve.

    Args:
        data: folder of toy clips.
        start: what `tiny --save` wrote.
        steps: to train.
        frames: of a clip.
        size: of a frame.
        fps: frames a second.
        batch_size: clips a step.
        lr: highest learning rate of the tokenizer.
        weight: of the adversarial loss.
        warmup_steps: for which the discriminator trains alone.
        ramp_steps: over which its weight rises.
    """
    train, test = (MemoryClips(data, split, frames, size, fps) for split in ("train", "test"))
    saved = torch.load(start, weights_only=True)
    tokenizer = CausalVideoTokenizer(**saved["config"])
    tokenizer.load_state_dict(saved["state"])
    before = evaluate(tokenizer, test)["psnr"]
    judges = ClipDiscriminator(channels=32, num_layers=2, norm_groups=8, frames=2)
    judge = Adversary(judges, weight=weight, warmup_steps=warmup_steps, ramp_steps=ramp_steps)
    module = TokenizerModule(tokenizer, lr=lr, warmup_steps=20, final_lr=1.0, adversary=judge)
    curve = Curve(test, every=50)
    _train(module, train, steps, batch_size, [Progress("adversarial phase"), curve])
    names = ["train/l1", "train/adversarial", "train/discriminator_hinge"]
    names += ["train/discriminator_real", "train/discriminator_fake", "train/discriminator_lecam"]
    print("| step | held-out PSNR | " + " | ".join(name.removeprefix("train/") for name in names) + " |")
    print("|---" * (len(names) + 2) + f"|\n| 0 | {before:.2f} |" + " |" * len(names))
    for step, psnr, figures in curve.rows:
        cells = " | ".join(f"{figures[name]:.3f}" if name in figures else "" for name in names)
        print(f"| {step} | {psnr:.2f} | {cells} |")


def fit(
    tokenizer: CausalVideoTokenizer,
    clips: MemoryClips,
    seconds: float,
    batch_size: int,
    lr: float,
    name: str,
    l1_weight: float = 1.0,
    mse_weight: float = 1.0,
) -> tuple[int, float]:
    """Train for about so many seconds of processor time; returns the steps and the seconds it took.

    The schedule needs the number of steps beforehand: a copy is trained a few steps to learn the speed.
    Processor time, because it depends less than the clock on what else the machine does.
    """
    trial = CausalVideoTokenizer(**tokenizer.config)
    for steps in (5, MEASURED_STEPS):
        began = time.process_time()
        _train(TokenizerModule(trial, lr=lr), clips, steps, batch_size, [])
        spent = time.process_time() - began
    steps = max(1, round(seconds * MEASURED_STEPS / spent))
    module = TokenizerModule(tokenizer, lr=lr, warmup_steps=50, l1_weight=l1_weight, mse_weight=mse_weight)
    began = time.process_time()
    _train(module, clips, steps, batch_size, [Progress(name)])
    return steps, time.process_time() - began


@torch.no_grad()
def evaluate(
    tokenizer: CausalVideoTokenizer, clips: MemoryClips, label: int | None = None
) -> dict[str, float]:
    """Reconstruction figures over the clips, or over those of one class."""
    training = tokenizer.training
    tokenizer.eval()
    quality, usage = ReconstructionQuality(), CodebookUsage(tokenizer.codebook_size)
    chosen = [item["clip"] for item in clips.items if label is None or item["label"] == label]
    for start in range(0, len(chosen), 16):
        batch: Tensor = to_float(torch.stack(chosen[start : start + 16]))
        reconstruction = tokenizer(batch)
        quality.update(reconstruction.clips, batch)
        usage.update(reconstruction.ids)
    tokenizer.train(training)
    figures = quality.compute() | usage.compute()
    del figures["counts"]
    return {name: float(value) for name, value in figures.items()}


def _build(config: dict[str, Any]) -> CausalVideoTokenizer:
    torch.manual_seed(0)
    return CausalVideoTokenizer(**config)


def _train(
    module: TokenizerModule, clips: MemoryClips, steps: int, batch_size: int, callbacks: list[Callback]
) -> None:
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


def _print_figures(
    names: list[str], runs: list[tuple[CausalVideoTokenizer, int, float]], clips: MemoryClips
) -> None:
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


if __name__ == "__main__":
    auto_cli([tiny, quantizers, adversary])

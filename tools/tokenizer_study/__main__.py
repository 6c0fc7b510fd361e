"""Measure the tokenizer: presets, quantizers at equal time, the adversarial phase, real videos.

Figures depend on the machine's speed where a budget is in seconds (of processor time). Make the shapes
set with `parvideo toy-data`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from PIL import Image

from parvideo.datasets import ClipDataset
from parvideo.pixels import to_uint8
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.discriminator import ClipDiscriminator
from parvideo.tokenizer.presets import PRESETS
from parvideo.training.adversary import Adversary
from parvideo.training.data import split_videos
from parvideo.training.tokenizer import TokenizerModule
from tools.tokenizer_study.curves import Panel, draw_panels
from tools.tokenizer_study.training import (
    Curve,
    MemoryClips,
    StepBar,
    evaluate,
    fit,
    print_figures,
    toy_clips,
    train,
)

HELD_OUT_TIME = 0.2  # the last part of each real video
REAL_PASSES = 40
SHOWN_FRAMES = (0, 2, 4, 6, 8)

QUANTIZERS: dict[str, dict[str, Any]] = {
    "FSQ [8,5,5,5]": {"quantizer": "fsq", "levels": [8, 5, 5, 5]},
    "LFQ 10 bits": {"quantizer": "lfq", "lfq_bits": 10},
    "LFQ 10 bits, annealed": {"quantizer": "lfq", "lfq_bits": 10, "lfq_anneal_steps": 500},
    "VQ-EMA 1000x8": {"quantizer": "vq_ema", "vq_codes": 1000, "vq_dim": 8},
}


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
    hard_clips: float = 0.0,
    save: Path | None = None,
) -> None:
    """Train a preset for a time and print its figures, over all held-out clips and by class.

    Args:
        data: folder of clips of the shapes set.
        seconds: of training, in processor time.
        preset: of the tokenizer.
        frames: of a clip.
        size: of a frame.
        fps: frames a second.
        batch_size: clips a step.
        lr: highest learning rate.
        l1_weight: of the mean absolute error.
        mse_weight: of the mean squared error.
        hard_clips: power of a clip's error by which it counts more.
        save: where to put the weights, for `adversary`.
    """
    clips, test = toy_clips(data, frames, size, fps)
    tokenizer = _build(PRESETS[preset])
    steps, spent = fit(tokenizer, clips, seconds, batch_size, lr, preset, l1_weight, mse_weight, hard_clips)
    print_figures([preset], [(tokenizer, steps, spent)], test)
    by_class = [evaluate(tokenizer, test, label) for label in range(len(test.class_names))]
    mean = sum(figures["psnr"] for figures in by_class) / len(by_class)
    copied_mean = sum(figures["psnr_copy_first"] for figures in by_class) / len(by_class)
    print("\n| class | held-out PSNR | against the mean | copying frame 0 | against the mean | gain |")
    print("|---" * 6 + "|")
    for name, figures in zip(test.class_names, by_class, strict=True):
        psnr, copied = figures["psnr"], figures["psnr_copy_first"]
        print(
            f"| {name} | {psnr:.2f} | {psnr - mean:+.2f} | {copied:.2f} | {copied - copied_mean:+.2f}"
            f" | {psnr - copied:+.2f} |"
        )
    print(f"| mean | {mean:.2f} | | {copied_mean:.2f} | | {mean - copied_mean:+.2f} |")
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
        data: folder of clips of the shapes set.
        seconds: of training, each, in processor time.
        frames: of a clip.
        size: of a frame.
        fps: frames a second.
        batch_size: clips a step.
        lr: highest learning rate.
    """
    clips, test = toy_clips(data, frames, size, fps)
    runs = []
    for name, settings in QUANTIZERS.items():
        tokenizer = _build(PRESETS["tiny"] | settings)
        runs.append((tokenizer, *fit(tokenizer, clips, seconds, batch_size, lr, name)))
    print_figures(list(QUANTIZERS), runs, test)


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
    l1_weight: float = 1.0,
    mse_weight: float = 1.0,
    curves: Path | None = None,
) -> None:
    """Go on from a trained tokenizer with the discriminator on, and print the curve.

    Args:
        data: folder of clips of the shapes set.
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
        l1_weight: of the mean absolute error.
        mse_weight: of the mean squared error.
        curves: SVG file to draw the curves in.
    """
    clips, test = toy_clips(data, frames, size, fps)
    tokenizer = _load(start)
    before = evaluate(tokenizer, test)["psnr"]
    discriminator = ClipDiscriminator(channels=32, num_layers=2, norm_groups=8, frames=2)
    adversarial = Adversary(discriminator, weight=weight, warmup_steps=warmup_steps, ramp_steps=ramp_steps)
    module = TokenizerModule(
        tokenizer,
        lr=lr,
        warmup_steps=20,
        final_lr=1.0,
        adversary=adversarial,
        l1_weight=l1_weight,
        mse_weight=mse_weight,
    )
    curve = Curve(test, every=50)
    train(module, clips, steps, batch_size, [StepBar("adversarial phase"), curve])
    if curves is not None:
        _draw(curves, before, curve, adversarial)
    print(f"gradient at the last layer: {_gradient_shares(module, clips, batch_size)}")
    names = ["train/l1", "train/adversarial", "train/discriminator_hinge"]
    names += ["train/discriminator_real", "train/discriminator_fake", "train/discriminator_lecam"]
    print("| step | held-out PSNR | " + " | ".join(name.removeprefix("train/") for name in names) + " |")
    print("|---" * (len(names) + 2) + f"|\n| 0 | {before:.2f} |" + " |" * len(names))
    for step, psnr, figures in curve.rows:
        cells = " | ".join(f"{figures[name]:.3f}" if name in figures else "" for name in names)
        print(f"| {step} | {psnr:.2f} | {cells} |")


def bf16(data: Path, start: Path, frames: int = 9, size: int = 32, fps: float = 12.5) -> None:
    """Print held-out PSNR of a trained tokenizer decoding in float32 and in bf16.

    Args:
        data: folder of clips of the shapes set.
        start: what `tiny --save` wrote.
        frames: of a clip.
        size: of a frame.
        fps: frames a second.
    """
    _, test = toy_clips(data, frames, size, fps)
    tokenizer = _load(start)
    exact = evaluate(tokenizer, test)["psnr"]
    rough = evaluate(tokenizer.decode_in_bf16(), test)["psnr"]
    print(f"held-out PSNR: float32 {exact:.3f}, decoder in bf16 {rough:.3f} dB")


def real_clips(
    data: Path,
    out: Path,
    seconds: float = 200.0,
    preset: str = "tiny",
    frames: int = 9,
    size: int = 64,
    fps: float = 12.5,
    batch_size: int = 4,
    lr: float = 2e-3,
    l1_weight: float = 0.0,
    mse_weight: float = 1.0,
) -> None:
    """Train on the first 80 % of each video's time; print figures of that part and of the unseen last 20 %.

    Args:
        data: class folders of videos, such as ../shared/data/real_clips.
        out: folder for reconstructed.png: originals above their reconstructions.
        seconds: of training, in processor time.
        preset: of the tokenizer.
        frames: of a clip.
        size: of a frame.
        fps: frames a second.
        batch_size: clips a step.
        lr: highest learning rate.
        l1_weight: of the mean absolute error.
        mse_weight: of the mean squared error.
    """
    seen_videos, seen_span = split_videos(data, "train", held_out_time=HELD_OUT_TIME)
    unseen_videos, unseen_span = split_videos(data, "test", held_out_time=HELD_OUT_TIME)
    random = ClipDataset(seen_videos, frames, size, fps, policy="random", span=seen_span)
    clips = MemoryClips(random, REAL_PASSES, "random training")
    parts = {
        name: MemoryClips(ClipDataset(videos, frames, size, fps, policy="all", span=span), 1, name)
        for name, videos, span in (
            ("train", seen_videos, seen_span),
            ("unseen", unseen_videos, unseen_span),
        )
    }
    tokenizer = _build(PRESETS[preset])
    steps, spent = fit(tokenizer, clips, seconds, batch_size, lr, preset, l1_weight, mse_weight)
    print(
        f"{preset}, {frames}x{size}x{size} at {fps} frames a second, {steps} steps in {spent:.0f} CPU seconds"
    )
    print("| part | video | clips | PSNR | copying frame 0 | SSIM | motion ratio |\n" + "|---" * 7 + "|")
    for part, held in parts.items():
        for label, name in [(None, "all"), *enumerate(held.class_names)]:
            count = sum(len(batch) for batch in held.batches(label))
            figures = evaluate(tokenizer, held, label)
            print(
                f"| {part} | {name} | {count} | {figures['psnr']:.2f} | {figures['psnr_copy_first']:.2f}"
                f" | {figures['ssim']:.3f} | {figures['motion_ratio']:.2f} |"
            )
    out.mkdir(parents=True, exist_ok=True)
    _show(out / "reconstructed.png", tokenizer, list(parts.values()))
    print(f"written {out / 'reconstructed.png'}")


def _build(config: dict[str, Any]) -> CausalVideoTokenizer:
    torch.manual_seed(0)
    return CausalVideoTokenizer(**config)


def _load(start: Path) -> CausalVideoTokenizer:
    saved = torch.load(start, weights_only=True)
    tokenizer = CausalVideoTokenizer(**saved["config"])
    tokenizer.load_state_dict(saved["state"])
    return tokenizer


def _draw(path: Path, before: float, curve: Curve, adversarial: Adversary) -> None:
    def column(name: str) -> list[tuple[int, float]]:
        return [
            (step, figures[f"train/{name}"]) for step, _, figures in curve.rows if f"train/{name}" in figures
        ]

    psnr = [(0, before), *((step, value) for step, value, _ in curve.rows)]
    limit = [(step, before - 1) for step, _ in (psnr[0], psnr[-1])]
    weights = [(step, adversarial.weight_at(step)) for step in range(0, psnr[-1][0], 10)]
    panels = [
        Panel("held-out PSNR (dB)", {"PSNR": psnr, "1 dB below the start": limit}),
        Panel("weight", {"of the adversarial loss": weights}),
        Panel("mean scores", {"real": column("discriminator_real"), "fake": column("discriminator_fake")}),
        Panel("losses", {"hinge": column("discriminator_hinge"), "LeCAM": column("discriminator_lecam")}),
    ]
    starts = adversarial.start + adversarial.warmup_steps
    draw_panels(path, panels, [(starts, "ramp"), (starts + adversarial.ramp_steps, "full")])


def _gradient_shares(module: TokenizerModule, clips: MemoryClips, batch_size: int) -> str:
    """How large the adversarial gradient at the decoder's last weights is against the pixels'."""
    assert module.adversary is not None
    last = [p for p in module.tokenizer.decoder.parameters() if p.ndim == 5][-1]
    generator = torch.Generator().manual_seed(0)
    norms = []
    for batch in list(clips.batches(size=batch_size))[:8]:
        made = module.tokenizer(batch).clips
        frames = module.adversary.discriminator.choose_frames(batch, generator)
        pixels, _ = module.pixel_loss(made, batch)
        adversarial_loss = module.adversary.generator_loss(made, frames)
        norms.append(
            [
                torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
                for loss in (pixels, adversarial_loss)
            ]
        )
    of_pixels, of_discriminator = torch.tensor(norms).mean(dim=0).tolist()
    return (
        f"pixels {of_pixels:.4f}, adversarial {of_discriminator:.4f} (equal at weight"
        f" {of_pixels / of_discriminator:.3f}), at weight {module.adversary.weight}"
        f" {module.adversary.weight * of_discriminator / of_pixels:.2f} of the pixels'"
    )


@torch.no_grad()
def _show(path: Path, tokenizer: CausalVideoTokenizer, parts: list[MemoryClips]) -> None:
    """Frames of one clip of each class and part, originals above reconstructions, enlarged twofold."""
    rows = []
    for part in parts:
        for label in range(len(part.class_names)):
            clips = next(part.batches(label))[:1]
            for shown in (clips, tokenizer.eval().decode(tokenizer.encode(clips))):
                frames = to_uint8(shown)[0, [t for t in SHOWN_FRAMES if t < shown.shape[2]]]
                rows.append(np.concatenate(list(frames.numpy()), axis=1))
    picture = Image.fromarray(np.concatenate(rows, axis=0))
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    auto_cli([tiny, quantizers, adversary, bf16, real_clips], prog="python -m tools.tokenizer_study")

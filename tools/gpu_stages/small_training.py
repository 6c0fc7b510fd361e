"""The stage that trains in earnest, if small: a generator learns a known pattern, and samples show it."""

import math

import torch
from torch import Tensor

from parvideo.benchmark.cuda import check_device
from parvideo.order import regions
from parvideo.pipeline.engines import Steps
from parvideo.pretrained.folder import load_transformer
from parvideo.sampling import SamplingConfig
from parvideo.training.loggers import read_metrics
from tools.gpu_stages.data import fit, write_tokens
from tools.gpu_stages.record import Record

GRID, LEVELS, CODES, CLASSES = (2, 4, 4), (4, 4), 16, 4
SHARE = 0.9
"""The part of the tokens that follow the pattern; the others are drawn from all codes."""
LEAST_LOSS = -(SHARE + (1 - SHARE) / CODES) * math.log(SHARE + (1 - SHARE) / CODES) - (1 - SHARE) * (
    1 - 1 / CODES
) * math.log((1 - SHARE) / CODES)
"""The entropy of a token in nats, which no model can go below."""
MOST_ABOVE = 0.15
"""Of the held-out loss over the entropy after `STEPS` steps; a CPU in float32 prints what it reaches."""
PATTERN = 0.8
"""The least part of sampled tokens that follow the pattern; of the data it is SHARE + (1 - SHARE) / CODES."""
STEPS = 400


def pattern(labels: Tensor) -> Tensor:
    """The token of each place by class and position, int64 ``[B, t, h, w]``."""
    t, h, w = torch.meshgrid(*(torch.arange(size) for size in GRID), indexing="ij")
    return (5 * labels.cpu()[:, None, None, None] + 3 * t + h + 2 * w) % CODES


def _noisy(labels: Tensor, random: torch.Generator) -> Tensor:
    clean = pattern(labels)
    noise = torch.randint(CODES, clean.shape, generator=random)
    return torch.where(torch.rand(clean.shape, generator=random) < SHARE, clean, noise)


def small_training(record: Record) -> str:
    """Train in bfloat16 on a GPU, in float32 on a CPU; one bound for both."""
    device, tokens = check_device(record.device), record.work / "tokens"
    if not tokens.exists():
        write_tokens(tokens, GRID, LEVELS, CLASSES, {"train": 512, "test": 128}, _noisy)
    module = {"order": {"regions": [1, 2, 2]}, "dim": 64, "num_layers": 2, "num_heads": 4}
    module |= {"lr": 0.002, "warmup_steps": 20, "attention_dropout": 0.0, "dropout": 0.0}
    on_gpu = record.device == "cuda"
    changes = {
        "model": {"class_path": "parvideo.training.GeneratorModule", "init_args": module},
        "data": {
            "class_path": "parvideo.training.TokenDataModule",
            "init_args": {"tokens": str(tokens), "batch_size": 32},
        },
        "trainer": {
            "max_steps": STEPS,
            "val_check_interval": STEPS,
            "num_sanity_val_steps": 0,
            "precision": "bf16-mixed" if on_gpu else "32-true",
            "gradient_clip_val": 1.0,
        },
        "ema_decay": 0.98,
    }
    run = fit(record, "run", [], changes)
    record.note(status=run["status"], said=run["said"], steps=len(run["steps"]))
    record.check("exit status", run["status"], most=0)
    if run["status"] != 0:
        return str(run["said"])
    loss = read_metrics(record.work / "run")["val/loss"][-1][1]
    name = f"held-out loss over the entropy {LEAST_LOSS:.3f}"
    record.check(name, loss - LEAST_LOSS, least=-0.05, most=MOST_ABOVE)  # of 128 clips: it may fall below
    transformer = load_transformer(record.work / "run" / "model", device).eval()
    labels = torch.arange(64, device=device) % CLASSES
    steps, config = Steps(transformer), SamplingConfig(seed=1)
    made = steps.generate(regions(GRID, (1, 2, 2)), labels, config, range(64))
    share = (made.cpu() == pattern(labels)).float().mean().item()
    record.note(loss=loss, pattern=share, engine=steps.chosen(config))
    record.check("sampled tokens that follow the pattern", share, least=PATTERN)
    record.check(
        "the device's engine has generated", steps.chosen(config) == ("cuda_graphs" if on_gpu else "cpu")
    )
    return (
        f"held-out loss {loss:.3f} (entropy {LEAST_LOSS:.3f}), {share:.0%} of the samples' tokens as taught"
    )

"""Data that the stages of training make for themselves, and `parvideo fit` on it as a process."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from parvideo.datasets.clip_format import ClipFormat
from parvideo.datasets.tokens import TokenManifest, TokenWriter
from parvideo.files import read_json
from parvideo.pretrained.folder import TOKENIZER, fingerprint, save_tokenizer
from parvideo.tokenizer import CausalVideoTokenizer
from tools.gpu_stages.record import Record

ROOT = Path(__file__).resolve().parents[2]


def write_tokens(
    folder: Path,
    grid: tuple[int, int, int],
    levels: tuple[int, ...],
    class_count: int,
    clips: dict[str, int],
    make: Callable[[Tensor, torch.Generator], Tensor],
) -> None:
    """Write what `parvideo tokenize` leaves.

    Args:
        folder: for the tokens and a tokenizer of random weights.
        grid: (t, h, w); t - 1, h and w powers of two.
        levels: of the codebook.
        class_count: number of classes.
        clips: of each split.
        make: labels ``[B]`` and random numbers -> tokens int64 ``[B, t, h, w]``.
    """
    times, spaces = 1 if grid[0] <= 2 else 2, 1 if grid[1] < 16 else 3
    tokenizer = CausalVideoTokenizer(
        channels=4,
        channel_multipliers=(1,) * (spaces + 1),
        num_res_blocks=1,
        time_strides=(2,) * times + (1,) * (spaces - times),
        space_strides=(2,) * spaces,
        norm_groups=2,
        levels=levels,
    )
    frames, size = 1 + (grid[0] - 1) * 2**times, grid[1] * 2**spaces
    save_tokenizer(folder / TOKENIZER, tokenizer, clip_format=ClipFormat(frames, size, fps=8.0))
    for number, (split, count) in enumerate(clips.items()):
        labels = [index % class_count for index in range(count)]
        plan = TokenManifest(
            tokenizer=fingerprint(folder / TOKENIZER),
            data="none",
            grid=grid,
            codebook_size=tokenizer.codebook_size,
            class_names=[f"Class{index}" for index in range(class_count)],
            frames=frames,
            fps=8.0,
            stride=None,
            views=["center"],
            ids=[f"{split}{index} center" for index in range(count)],
            labels=labels,
        )
        writer = TokenWriter(folder / split, plan)
        random = torch.Generator().manual_seed(number)
        for shard in writer.missing_shards():
            writer.write_shard(
                shard, make(torch.tensor([labels[item] for item in plan.items(shard)]), random)
            )
        writer.finish()


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two configs, the second laid over the first, also inside classes within classes."""
    both = {**under, **over}
    for key in under.keys() & over.keys():
        if isinstance(under[key], dict) and isinstance(over[key], dict):
            both[key] = merged(under[key], over[key])
    return both


def fit(
    record: Record, name: str, configs: list[Path], changes: dict[str, Any], stop_at: int | None = None
) -> dict[str, Any]:
    """Run `parvideo fit` with a `Watch`.

    Args:
        record: of the stage.
        name: of the run.
        configs: YAML files.
        changes: what is laid over them.
        stop_at: have the run stopped after so many steps.

    Returns:
        ``status``: the exit status; ``said``: its last line; ``steps`` and ``peak_bytes`` as of `Watch`.
    """
    watched, path = record.work / f"{name}-watch.json", record.work / f"{name}.yaml"
    watched.unlink(missing_ok=True)
    watch = {
        "class_path": "tools.gpu_stages.watch.Watch",
        "init_args": {"path": str(watched), "stop_at": stop_at},
    }
    accelerator = "gpu" if record.device == "cuda" else "cpu"
    trainer = {"accelerator": accelerator, "devices": 1, "callbacks": [watch]}
    whole: dict[str, Any] = {}
    for config in configs:
        whole = merged(whole, yaml.safe_load(config.read_text(encoding="utf-8")))
    path.write_text(yaml.safe_dump(merged(merged(whole, changes), {"trainer": trainer})), encoding="utf-8")
    words = [sys.executable, "-m", "parvideo.cli", "fit", "--config", str(path)]
    words += ["--out", str(record.work / name)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout[-4000:], done.stderr[-8000:], flush=True)
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    found: dict[str, Any] = read_json(watched) if watched.exists() else {"steps": [], "peak_bytes": None}
    return {"status": done.returncode, "said": lines[-1][:300] if lines else "", **found}

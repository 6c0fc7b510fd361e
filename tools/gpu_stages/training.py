"""Stages about training through `parvideo fit`: the 792M generator, and the base tokenizer and adversary."""

import shutil
import statistics
import subprocess
import sys
from typing import Any

import torch

from parvideo.benchmark.cuda import check_device
from parvideo.order import regions
from parvideo.training.costs import TransformerCosts, training_bytes
from parvideo.transformer import VideoTransformer
from tools.gpu_stages.data import ROOT, fit, write_tokens
from tools.gpu_stages.record import Record

GENERATOR = ROOT / "configs/generator/ucf101_1x2x2.yaml"
TOKENIZER = ROOT / "configs/tokenizer/ucf101_128.yaml"
MICRO_BATCHES = (32, 16, 8, 4, 2, 1)
RESERVED = 0.1
MFU = 0.25
"""The least part of the measured product rate that training's own operations must reach."""
CHECKPOINTS = 45e9
"""Bytes of disk for two checkpoints of 792M parameters, with moments and average, and a model folder."""


def train_792m(record: Record) -> str:
    """Compiled and not, in the micro-batch that the plan allows; then a run that is stopped and goes on."""
    device, tiny = check_device(record.device), record.tiny
    grid, levels = ((2, 4, 4), (8, 8)) if tiny else ((5, 16, 16), (8, 8, 8, 5, 5, 5))
    shape = {"dim": 32, "num_layers": 2, "num_heads": 2} if tiny else {}
    config = {"dim": 1280, "num_layers": 31, "num_heads": 20, "dropout": 0.1} | shape
    order, tokens = regions(grid, (1, 2, 2)), record.work / "tokens"
    codes = torch.tensor(levels).prod().item()
    with torch.device("meta"):
        model = VideoTransformer(
            grid,
            int(codes),
            101,
            num_transitions=order.num_transitions,
            **config,  # type: ignore[arg-type]
        )
    costs = TransformerCosts.of(model.config, order)
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 10**9
    plans = {batch: training_bytes(costs, batch, True, False, True, 1) for batch in MICRO_BATCHES}
    batch = 2 if tiny else next((b for b in MICRO_BATCHES if plans[b] <= memory * (1 - RESERVED)), 1)
    record.note(micro_batch=batch, plan_bytes=plans[batch], parameters=costs.parameters)
    record.show(f"micro-batch {batch}: by the plan {plans[batch] / 1e9:.1f} of {memory / 1e9:.1f} GB")
    if not tokens.exists():
        write_tokens(
            tokens,
            grid,
            levels,
            101,
            {"train": 64 if tiny else 2048, "test": 101},
            lambda labels, random: torch.randint(int(codes), (len(labels), *grid), generator=random),
        )
    data = {"tokens": str(tokens), "batch_size": batch, "num_workers": 0 if tiny else 2}
    changes: dict[str, Any] = {
        # Dropout on attention weights leaves PyTorch its slowest kernel alone.
        "model": {"init_args": {**shape, "attention_dropout": 0.0, "warmup_steps": 100}},
        "data": {"init_args": data},
        "global_batch": None,
    }
    rate = record.earlier("ceilings").get("bfloat16", {}).get("gemm")
    found: dict[str, Any] = {}
    for name, backend in (("plain", None), ("compiled", "aot_eager" if tiny else "inductor")):
        trainer = {"fast_dev_run": 4 if tiny else 16, "precision": "bf16-mixed"}
        run = fit(record, name, [GENERATOR], {**changes, "compile": backend, "trainer": trainer})
        found[name] = run
        if run["status"] == 0 and run["steps"]:
            later = [step["seconds"] for step in run["steps"][len(run["steps"]) // 2 :]]
            run["seconds"] = statistics.median(later)
            run["mfu"] = batch * costs.training_flops / run["seconds"] / (rate * 1e9) if rate else None
        record.note(**found)
        record.show(f"{name}: exit {run['status']}; {_figures(run)}")
        record.check(f"{name}: exit status", run["status"], most=0)
        record.check(f"{name}: every figure finite", all(step["finite"] for step in run["steps"]))
        if run["peak_bytes"]:
            record.check(
                f"{name}: peak over the plan", run["peak_bytes"] / plans[batch], least=0.4, most=1.05
            )
    rates = [run["mfu"] for run in found.values() if run.get("mfu")]
    if rates:
        record.floor("part of the measured product rate", max(rates), least=MFU)
    _stop_and_resume(record, changes)
    times = {name: run["seconds"] for name, run in found.items() if "seconds" in run}
    fastest = min(times, key=lambda name: times[name]) if times else "neither"
    return f"micro-batch {batch}; faster: {fastest}; " + "; ".join(
        f"{name} {_figures(run)}" for name, run in found.items()
    )


def _figures(run: dict[str, Any]) -> str:
    if "seconds" not in run:
        return str(run["said"])
    peak = "" if run["peak_bytes"] is None else f", peak {run['peak_bytes'] / 1e9:.1f} GB"
    mfu = "" if run["mfu"] is None else f", {run['mfu']:.2f} of the product rate"
    return f"{run['seconds']:.3f} s a step{peak}{mfu}"


def _stop_and_resume(record: Record, changes: dict[str, Any]) -> None:
    """A run is sent SIGTERM after four of eight steps; the same command does the other four."""
    free = shutil.disk_usage(record.work).free
    if not record.tiny and free < CHECKPOINTS:
        record.show(f"stop and resume: left out, {free / 1e9:.0f} GB of disk are too few")
        record.check("disk for stop and resume, GB", free / 1e9, least=CHECKPOINTS / 1e9)
        return
    trainer = {"max_steps": 8, "precision": "bf16-mixed", "limit_val_batches": 0, "num_sanity_val_steps": 0}
    settings = {**changes, "trainer": trainer, "checkpoint_every": 1000, "compile": None}
    shutil.rmtree(record.work / "resumed", ignore_errors=True)
    stopped = fit(record, "resumed", [GENERATOR], settings, stop_at=4)
    record.note(stopped=stopped)
    gone_on = fit(record, "resumed", [GENERATOR], settings)
    record.note(gone_on=gone_on)
    numbers = [[step["step"] for step in run["steps"]] for run in (stopped, gone_on)]
    record.show(f"stop and resume: exit {stopped['status']} and {gone_on['status']}, steps {numbers}")
    record.check("stopped run: exit status", stopped["status"], least=143, most=143)
    record.check("resumed run: exit status", gone_on["status"], most=0)
    record.check("each step was done once", numbers == [[1, 2, 3, 4], [5, 6, 7, 8]])
    shutil.rmtree(record.work / "resumed", ignore_errors=True)


def tokenizer(record: Record) -> str:
    """Some steps on drawn videos; the adversary trains from step 0 and judges from step 2."""
    check_device(record.device)
    videos, side = record.work / "videos", 32 if record.tiny else 128
    words = [sys.executable, "-m", "parvideo.cli", "toy-data", "--out", str(videos), "--num-classes", "2"]
    words += ["--groups", "4", "--clips-per-group", "2", "--frames", "40", "--fps", "16"]
    words += ["--height", str(side), "--width", str(side)]
    drawn = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    record.check("toy-data: exit status", drawn.returncode, most=0)
    model: dict[str, Any] = {"adversary": {"init_args": {"start": 0, "warmup_steps": 2, "ramp_steps": 4}}}
    data: dict[str, Any] = {"root": str(videos), "val_clips": 2, "num_workers": 0 if record.tiny else 4}
    if record.tiny:
        model["tokenizer"] = {"init_args": {"preset": "tiny"}}
        model["adversary"]["init_args"]["discriminator"] = {"init_args": {"channels": 8, "norm_groups": 4}}
        data |= {"frames": 9, "size": side, "batch_size": 2}
    changes = {
        "model": {"init_args": model},
        "data": {"init_args": data},
        "trainer": {"fast_dev_run": 6 if record.tiny else 24, "precision": "bf16-mixed"},
    }
    run = fit(record, "run", [TOKENIZER], changes)
    record.note(run=run)
    steps = run["steps"]
    record.check("exit status", run["status"], most=0)
    record.check("every figure finite", bool(steps) and all(step["finite"] for step in steps))
    judged = sorted({name for step in steps for name in step if "disc" in name or "adv" in name})
    record.check("the adversary's figures are there", judged)
    if not steps:
        return str(run["said"])
    time = statistics.median(step["seconds"] for step in steps[len(steps) // 2 :])
    peak = "" if run["peak_bytes"] is None else f", peak {run['peak_bytes'] / 1e9:.1f} GB"
    record.note(seconds=time)
    record.show(f"{len(steps)} steps, {time:.3f} s each{peak}; figures: {', '.join(judged)}")
    return f"{time:.3f} s a step{peak}"

"""`parvideo evaluate`: score clips against real videos: FVD with its error, and a report."""

from pathlib import Path
from typing import Any, Literal

from parvideo.jobs.generation_options import PLAIN, GenerationOptions
from parvideo.jobs.protocol_options import UNCHANGED, ProtocolOptions


def evaluate(
    real: Path | None = None,
    out: Path | None = None,
    model: Path | None = None,
    clips: Path | None = None,
    tokenizer: Path | None = None,
    i3d: Path | None = None,
    features: Path | None = None,
    protocol_options: ProtocolOptions = UNCHANGED,
    split_index: int = 1,
    annotations: Path | None = None,
    reference: Path | None = None,
    held_out: Literal["auto", "yes", "no"] = "auto",
    held_out_reference: Path | None = None,
    generation: GenerationOptions = PLAIN,
    batch_size: int = 16,
    workers: int = 2,
    devices: int = 1,
    accelerator: str = "auto",
    allow_lossy: bool = False,
    self_test: bool = False,
) -> dict[str, Any] | None:
    """Score generated clips (or a tokenizer's reconstructions) against real videos by FVD.

    Writes OUT (report.json), the same as a table beside it (.txt), and features into OUT's folder, from which
    an interrupted run goes on. Give exactly one of --model, --clips and --tokenizer. Features come from the
    I3D that `parvideo weights i3d` keeps, or from --i3d or --features. Any option that changes a field of the
    protocol makes it a custom one.

    Args:
        real: folder of real videos (UCF-101 or class folders).
        out: the report, a file ending in .json.
        model: a generator's folder; clips are generated as they are scored.
        clips: folder of generated clips, .npz or .npy as `parvideo sample` writes them.
        tokenizer: a tokenizer's folder; its reconstructions are scored against their originals (rFVD).
        i3d: Kinetics-400 I3D weights of your own: state dict, safetensors or TorchScript.
        features: folder of a small feature network; the number compares with nothing published.
        protocol_options: what makes the number comparable.
        split_index: which of UCF-101's three splits.
        annotations: folder of UCF-101's lists, if it is neither in nor beside the real videos.
        reference: features of the real clips, written by `parvideo fvd-stats`.
        held_out: whether the report also holds the test split: its FVD, and class accuracy by a linear probe;
            auto: under ucf101-six-64 only.
        held_out_reference: features of the test split, written by `parvideo fvd-stats --split test`.
        generation: how a model generates; each repetition takes the next seed.
        batch_size: clips at a time.
        workers: processes that read videos.
        devices: how many devices.
        accelerator: auto, cpu, gpu, ...
        allow_lossy: score compressed video; the report says so.
        self_test: score nothing; make the known clips, and show whether the I3D gives their known logits,
            FVD and KVD on this machine.

    Returns:
        The report; None in every process but the first.
    """
    from parvideo.evaluation.report import render
    from parvideo.jobs import evaluate as job
    from parvideo.jobs.self_test import self_test as test_network

    if self_test:
        return test_network(i3d, accelerator, print)
    if real is None or out is None:
        raise ValueError("give --real, a folder of real videos, and --out, the report's file")
    report = job.evaluate(
        real,
        out,
        model=model,
        clips=clips,
        tokenizer=tokenizer,
        i3d=i3d,
        features=features,
        protocol_options=protocol_options,
        split_index=split_index,
        annotations=annotations,
        reference=reference,
        held_out=held_out,
        held_out_reference=held_out_reference,
        generation=generation,
        batch_size=batch_size,
        workers=workers,
        devices=devices,
        accelerator=accelerator,
        allow_lossy=allow_lossy,
    )
    if report is not None:
        print(render(report))
    return report

"""`parvideo bench`: how fast this machine generates, against its own limits."""

from pathlib import Path
from typing import Any, Literal

from parvideo.checks import at_least, parse_triple


def bench(
    size: str = "B",
    dim: int | None = None,
    num_layers: int | None = None,
    num_heads: int | None = None,
    codebook_size: int = 16384,
    num_classes: int = 101,
    grid: str = "5,16,16",
    regions: list[str] | None = None,
    batch_size: int | None = None,
    guidance_scale: float = 2.0,
    dtype: Literal["float32", "bfloat16"] | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    threads: int = 1,
    steps_limit: int = 12,
    repeats: int = 5,
    clock: Literal["wall", "cpu"] = "wall",
    plain: bool = True,
    peer: list[Path] | None = None,
    tokenizer: str = "base",
    training: bool = False,
    kernels: bool = False,
    decoders: bool = False,
    cells: bool = False,
    out: Path | None = None,
) -> None:
    """Time generating with random weights: steps, tokens a second, and the fraction of the machine's limit.

    The engine, the plain loop and other people's code are timed in one process, interleaved step by step; the
    best round of each step counts. A fraction of the roofline is the least possible time over the measured
    one; the least possible is, per step, the larger of weight bytes / memory bandwidth and flops / GEMM rate.

    Args:
        size: the model, one of B, L, XL, XXL, 3B, video-792M.
        dim: width, instead of the size's.
        num_layers: number of layers, instead of the size's.
        num_heads: number of heads, instead of the size's.
        codebook_size: number of different tokens.
        num_classes: number of classes.
        grid: latent grid t,h,w.
        regions: regions along t,h,w; repeat it for several. If not given 1,1,1 and 1,2,2 and 1,4,4.
        batch_size: clips at a time; if not given 1 on a CPU, 1 and then 8 on CUDA.
        guidance_scale: of classifier-free guidance; 1 turns guidance off, which halves the rows.
        dtype: of weights and cache; if not given float32 on a CPU, float32 and then bfloat16 on CUDA.
        device: cuda times whole generations by the graph engine and the plain loop, and their memory;
            threads, steps-limit and clock mean nothing to it.
        threads: CPU threads.
        steps_limit: time about so many steps, spread over the sequence, and interpolate; 0 times all.
        repeats: rounds.
        clock: seconds that passed, or that this thread computed (one thread only; for shared machines).
        plain: time the plain loop as well.
        peer: checkout of the official LlamaGen or PAR code to time as well; repeat it for several.
        tokenizer: preset of the tokenizer whose decoding is timed, on a CPU also in bfloat16 and,
            for base, beside the preset light; "none" for none.
        training: time a training step as well: the order's mask against a plainly causal one.
        kernels: time the engine's choices as well, each against what it replaced.
        decoders: time every tokenizer preset decoding a 17x128x128 clip too; nbp takes minutes on a CPU.
        cells: instead, a line for each of both dtypes, batches of 1 and 8, one and all threads, and orders;
            batch_size, dtype, threads and clock are not looked at. With out, an interrupted run goes on.
        out: JSON file to write.
    """
    from parvideo.benchmark.cells import run_cells
    from parvideo.benchmark.cuda_report import run_on_gpu
    from parvideo.benchmark.decoders import bench_decoders
    from parvideo.benchmark.report import Settings, run
    from parvideo.files import write_json

    at_least(1, dim=dim, num_layers=num_layers, num_heads=num_heads, codebook_size=codebook_size)
    at_least(1, num_classes=num_classes, batch_size=batch_size, threads=threads, repeats=repeats)
    at_least(0, steps_limit=steps_limit)
    if device == "cuda":
        for name, given in {
            "peer": peer,
            "training": training,
            "kernels": kernels,
            "decoders": decoders,
            "cells": cells,
        }.items():
            if given:
                raise ValueError(f"{name} is timed on a CPU only; leave it out, or give --device cpu")
    if clock == "cpu" and threads != 1:
        raise ValueError(f"clock cpu counts one thread's time; give threads 1, not {threads}, or clock wall")
    settings = Settings(
        size=size,
        dim=dim,
        layers=num_layers,
        heads=num_heads,
        vocabulary=codebook_size,
        classes=num_classes,
        grid=parse_triple("grid", grid),
        regions=[parse_triple("regions", cut) for cut in regions or ["1,1,1", "1,2,2", "1,4,4"]],
        batch=batch_size or 1,
        guidance=guidance_scale,
        dtype=dtype or "float32",
        threads=threads,
        steps_limit=steps_limit,
        repeats=repeats,
        clock=clock,
        plain=plain,
        peers=[str(folder) for folder in peer or []],
        tokenizer=tokenizer,
        training=training,
        kernels=kernels,
    )
    if cells:
        run_cells(settings, out, print)
        return
    if device == "cuda":
        batches = [1, 8] if batch_size is None else [batch_size]
        dtypes = ["float32", "bfloat16"] if dtype is None else [dtype]
        report: dict[str, Any] = run_on_gpu(settings, batches, dtypes, print)
    else:
        report = run(settings, print)
    if decoders:
        report["decoders"] = bench_decoders(threads, clock, repeats, print)
    if out is not None:
        write_json(out, report)
        print(f"written {out}")

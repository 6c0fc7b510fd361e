"""`parvideo bench`: how fast this machine generates, against its own limits and other code."""

from pathlib import Path
from typing import Any, Literal

from parvideo.commands.numbers import parse_triple


def bench(
    size: str = "B",
    dim: int | None = None,
    layers: int | None = None,
    heads: int | None = None,
    vocabulary: int = 16384,
    classes: int = 101,
    grid: str = "5,16,16",
    regions: list[str] | None = None,
    batch: int = 1,
    guidance: float = 2.0,
    dtype: Literal["float32", "bfloat16"] = "float32",
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
    out: Path | None = None,
) -> None:
    """Time generating with random weights: steps, tokens a second, and the fraction of the machine's limit.

    The engine, the plain loop and other people's code are timed in one process, interleaved step by step; the
    best round of each step counts. A fraction of the roofline is the least possible time over the measured
    one; the least possible is, per step, the larger of weight bytes / memory bandwidth and flops / GEMM rate.

    Args:
        size: the model, one of B, L, XL, XXL, 3B, video-792M.
        dim: width, instead of the size's.
        layers: number of layers, instead of the size's.
        heads: number of heads, instead of the size's.
        vocabulary: number of different tokens.
        classes: number of classes.
        grid: latent grid t,h,w.
        regions: regions along t,h,w; repeat it for several. If not given 1,1,1 and 1,2,2 and 1,4,4.
        batch: clips at a time.
        guidance: guidance scale; 1 turns guidance off, which halves the rows.
        dtype: of weights and cache.
        threads: CPU threads.
        steps_limit: time about so many steps, spread over the sequence, and interpolate; 0 times all.
        repeats: rounds.
        clock: seconds that passed, or that this thread computed (one thread only; for shared machines).
        plain: time the plain loop as well.
        peer: checkout of the official LlamaGen or PAR code to time as well; repeat it for several.
        tokenizer: preset of the tokenizer whose decoding of the tokens is timed; "none" for none.
        training: time a training step as well: the order's mask against a plainly causal one.
        kernels: time the engine's choices as well, each against what it replaced.
        decoders: time every tokenizer preset decoding a 17x128x128 clip as well, with its peak memory; nbp
            takes minutes on a CPU.
        out: JSON file to write.
    """
    from parvideo.bench_report import Settings, run

    if clock == "cpu" and threads != 1:
        raise ValueError(f"clock cpu counts one thread's time; give threads 1, not {threads}, or clock wall")
    cuts = ["1,1,1", "1,2,2", "1,4,4"] if regions is None else regions
    settings = Settings(
        size=size,
        dim=dim,
        layers=layers,
        heads=heads,
        vocabulary=vocabulary,
        classes=classes,
        grid=parse_triple("grid", grid),
        regions=[parse_triple("regions", cut) for cut in cuts],
        batch=_positive("batch", batch),
        guidance=guidance,
        dtype=dtype,
        threads=_positive("threads", threads),
        steps_limit=steps_limit,
        repeats=_positive("repeats", repeats),
        clock=clock,
        plain=plain,
        peers=[str(folder) for folder in peer or []],
        tokenizer=tokenizer,
        training=training,
        kernels=kernels,
    )
    report: dict[str, Any] = run(settings, print)
    if decoders:
        from parvideo.bench_tokenizer import bench_decoders

        report["decoders"] = bench_decoders(threads, clock, repeats, print)
    if out is not None:
        from parvideo.files import write_json

        write_json(out, report)
        print(f"written {out}")


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be positive, got {value}")
    return value

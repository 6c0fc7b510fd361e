"""`parvideo bench`: how fast this machine generates, against its own limits."""

from typing import Any

from parvideo.benchmark.options import BenchOptions


def bench(options: BenchOptions) -> None:
    """Time generating with random weights: steps, tokens a second, and the fraction of the machine's limit.

    The engine, the plain loop and other people's code are timed in one process, interleaved step by step; the
    best round of each step counts. A fraction of the roofline is the least possible time over the measured
    one; the least possible is, per step, the larger of weight bytes / memory bandwidth and flops / GEMM rate.

    Args:
        options: what is timed, and how.
    """
    from parvideo.benchmark.cells import run_cells
    from parvideo.benchmark.cuda_report import run_on_gpu
    from parvideo.benchmark.decoders import bench_decoders
    from parvideo.benchmark.report import run
    from parvideo.files import write_json

    settings, out = options.settings(), options.out
    if options.cells:
        run_cells(settings, out, print)
        return
    if options.device == "cuda":
        batches = [1, 8] if options.batch_size is None else [options.batch_size]
        dtypes = ["float32", "bfloat16"] if options.dtype is None else [options.dtype]
        report: dict[str, Any] = run_on_gpu(settings, batches, dtypes, print)
    else:
        report = run(settings, print)
    if options.decoders:
        report["decoders"] = bench_decoders(options.threads, options.clock, options.repeats, print)
    if out is not None:
        write_json(out, report)
        print(f"written {out}")

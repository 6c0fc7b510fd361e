"""The report of `parvideo bench --device cuda`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from parvideo.benchmark.cuda import (
    DTYPES,
    bench_generation,
    bench_tokenizer,
    check_device,
    describe_device,
    measure_ceilings,
)
from parvideo.benchmark.report import Settings
from parvideo.engine import graph_recipe
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS


def run_on_gpu(
    settings: Settings,
    batches: Sequence[int],
    dtypes: Sequence[str],
    show: Callable[[str], None],
    device: str = "cuda",
) -> dict[str, Any]:
    """Measure, show a table line by line, and return the report.

    Args:
        settings: what to measure; batch and dtype are the next two.
        batches: clips at a time.
        dtypes: names of dtypes.
        show: takes the lines.
        device: where; a test says cpu.

    Raises:
        ValueError: if there is no CUDA here.
    """
    where = check_device(device)
    torch.manual_seed(0)
    transformer = settings.transformer().eval()
    small = where.type == "cpu"
    ceilings = {name: measure_ceilings(where, DTYPES[name], small) for name in dtypes}
    report: dict[str, Any] = {
        "machine": describe_device(where),
        "settings": asdict(settings) | {"batch": list(batches), "dtype": list(dtypes)},
        "parameters": sum(p.numel() for p in transformer.parameters()),
        "recipe": asdict(graph_recipe.DEFAULT),
        "ceilings": {name: asdict(found) for name, found in ceilings.items()},
    }
    for name, value in report["machine"].items():
        show(f"{name:<14}{value}")
    show(
        f"{'model':<14}{report['parameters'] / 1e6:.0f}M parameters, vocabulary {settings.vocabulary}, "
        f"guidance {settings.guidance}, best of {settings.repeats}"
    )
    for name, found in ceilings.items():
        show(f"{'ceilings':<14}memory {found.bandwidth:.0f} GB/s, GEMM {found.gemm:.0f} GFLOP/s ({name})")
    report["results"] = bench_generation(
        transformer,
        settings.orders(),
        batches,
        dtypes,
        where,
        show,
        settings.guidance,
        settings.repeats,
        settings.plain,
        ceilings=ceilings,
    )
    if settings.tokenizer != "none":
        tokenizer = CausalVideoTokenizer(**PRESETS[settings.tokenizer])
        report["tokenizer"] = bench_tokenizer(tokenizer, settings.grid, report["results"], where, show)
    return report

"""The engine in every cell of {orders} x {float32, bfloat16} x {batch 1, 8} x {1, all threads}.

One cell after the other, so that the caches of a large batch exist once; within a cell all contenders are
interleaved. Cells that a report holds already, measured with the same settings on the same machine, are not
measured again: a run that was interrupted goes on.
"""

import gc
import itertools
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from parvideo.benchmark.peers import Peer, supports
from parvideo.benchmark.report import Settings
from parvideo.benchmark.timing import (
    CeilingProbe,
    Clock,
    Contender,
    EngineLoop,
    PlainLoop,
    describe_machine,
    order_name,
    roofline_seconds,
    time_interleaved,
)
from parvideo.engine.cpu import CpuEngine
from parvideo.engine.selection import fastest
from parvideo.files import check_settings, read_json, write_json
from parvideo.order import GenerationOrder
from parvideo.sampling import SamplingConfig
from parvideo.transformer import VideoTransformer

BATCHES = (1, 8)
DTYPES = ("float32", "bfloat16")
LOOKS = 5
"""At the ceilings, a round: others use the memory too, and the best look counts."""
HEAD = (
    f"{'threads':>7} {'dtype':<9}{'batch':>6} {'order':<6}{'ms/step':>9}{'plain is':>10}{'official is':>13}"
    f"{'roofline':>10}{'with cache':>12}"
)


def thread_counts() -> list[int]:
    """One, and as many as there are processors for this process."""
    return sorted(
        {1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1}
    )


def run_cells(settings: Settings, out: Path | None, show: Callable[[str], None]) -> dict[str, Any]:
    """Measure every cell, show a line for each, and return the report; it is written after each cell.

    Args:
        settings: of the model, the orders, the peers and the rounds; dtype, batch, threads and clock are the
            cells' own: seconds that passed with several threads, that the thread computed with one.
        out: JSON file of the report; with cells of the same settings in it, they are not measured again.
        show: takes each line.

    Raises:
        ValueError: if the file holds cells of other settings or another machine.
    """
    torch.set_num_threads(1)
    machine = {name: value for name, value in describe_machine().items() if name not in ("threads", "cores")}
    own = replace(settings, dtype="float32", batch=1, threads=1, clock="wall", tokenizer="none")
    report: dict[str, Any] = {"machine": machine, "settings": asdict(own), "cells": []}
    if out is not None and out.exists():
        held = read_json(out)
        kept = {name: held.get(name) for name in ("machine", "settings")} if isinstance(held, dict) else None
        check_settings(out, kept, {name: report[name] for name in ("machine", "settings")}, "cells")
        report["cells"] = held["cells"]
    for name, value in machine.items():
        show(f"{name:<14}{value}")
    show(HEAD)
    done = {_identity(cell): cell for cell in report["cells"]}
    for threads, batch, dtype in itertools.product(thread_counts(), BATCHES, DTYPES):
        clock: Clock = "cpu" if threads == 1 else "wall"
        cell_settings = replace(settings, dtype=dtype, batch=batch, threads=threads, clock=clock)
        engine: CpuEngine | None = None
        for order in settings.orders():
            identity = (threads, dtype, batch, order_name(order))
            if identity not in done:
                torch.set_num_threads(threads)
                torch.manual_seed(0)
                if engine is None:
                    transformer = settings.transformer().eval().to(cell_settings.torch_dtype)
                    engine = CpuEngine(transformer)
                done[identity] = measure_cell(cell_settings, engine, order)
                report["cells"].append(done[identity])
                if out is not None:
                    write_json(out, report)
                gc.collect()
            show(_line(done[identity]))
    show("what was chosen, of what was timed (us):")
    for line in _chosen_lines(list(done.values())):
        show(line)
    return report


def measure_cell(settings: Settings, engine: CpuEngine, order: GenerationOrder) -> dict[str, Any]:
    """One cell: times of all contenders, ratios to the engine's, fractions of the roofline, and choices."""
    transformer, config = engine.transformer, SamplingConfig(guidance_scale=settings.guidance)
    before = set(engine.selection.timings)
    contenders: list[Contender] = [EngineLoop(engine, order, settings.batch, config)]
    if settings.plain:
        contenders.append(PlainLoop(transformer, order, settings.batch, config))
    if settings.batch == 1 and settings.threads == 1:
        for folder in map(Path, settings.peers):
            if supports(folder, order):
                shape = (settings.batch, settings.guidance, settings.torch_dtype)
                contenders.append(Peer(folder, transformer, order, *shape))
    ceilings = CeilingProbe(settings.torch_dtype, settings.clock)

    def each_round() -> None:
        for _ in range(LOOKS):
            ceilings.measure()

    timings = time_interleaved(contenders, settings.steps_limit, settings.repeats, settings.clock, each_round)
    seconds = {timing.contender: timing.seconds for timing in timings}
    own = seconds["engine"]
    return {
        "threads": settings.threads,
        "dtype": settings.dtype,
        "batch": settings.batch,
        "order": order_name(order),
        "seconds": seconds,
        "steps": order.steps,
        "ratios": {name: value / own for name, value in seconds.items() if name != "engine"},
        "ceilings": asdict(ceilings.best),
        "roofline": _roofline(settings, transformer, order, ceilings, own, with_cache=False),
        "roofline_with_cache": _roofline(settings, transformer, order, ceilings, own, with_cache=True),
        "engine": engine.describe(),
        "timed": {label: t for label, t in engine.selection.timings.items() if label not in before},
    }


def _roofline(
    settings: Settings,
    transformer: VideoTransformer,
    order: GenerationOrder,
    ceilings: CeilingProbe,
    seconds: float,
    with_cache: bool,
) -> float:
    guided, size = settings.guidance != 1, settings.torch_dtype.itemsize
    least = roofline_seconds(transformer, order, settings.batch, guided, size, ceilings.best, with_cache)
    return least / seconds


def _identity(cell: dict[str, Any]) -> tuple[int, str, int, str]:
    return cell["threads"], cell["dtype"], cell["batch"], cell["order"]


def _line(cell: dict[str, Any]) -> str:
    official = [ratio for name, ratio in cell["ratios"].items() if name != PlainLoop.name]
    plain = cell["ratios"].get(PlainLoop.name)
    return (
        f"{cell['threads']:>7} {cell['dtype']:<9}{cell['batch']:>6} {cell['order']:<6}"
        f"{1e3 * cell['seconds']['engine'] / cell['steps']:>9.2f}"
        f"{'' if plain is None else f'{plain:.2f}x':>10}"
        f"{f'{min(official):.2f}x' if official else '':>13}"
        f"{cell['roofline']:>10.2f}{cell['roofline_with_cache']:>12.2f}"
    )


def _chosen_lines(cells: list[dict[str, Any]]) -> list[str]:
    """What was timed, the fastest first, by threads and dtype."""
    lines = {}
    for cell in cells:
        for label, times in cell["timed"].items():
            ways = ", ".join(
                f"{way} {1e6 * t:.0f}" for way, t in sorted(times.items(), key=lambda item: item[1])
            )
            chosen = fastest(times) or "not timed, for want of time"
            lines[f"{cell['threads']} threads, {cell['dtype']}, {label}"] = ways or chosen
    return [f"{label}: {ways}" for label, ways in lines.items()]

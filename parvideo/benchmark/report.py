"""The benchmark's report: what was measured, as data and as a table."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from parvideo.benchmark.end_to_end import end_to_end
from parvideo.benchmark.kernels import time_kernels
from parvideo.benchmark.peers import Peer, supports
from parvideo.benchmark.timing import (
    CLOCKS,
    CeilingProbe,
    Clock,
    Contender,
    DrawProbe,
    EngineLoop,
    PlainLoop,
    Timing,
    as_json,
    describe_machine,
    order_name,
    roofline_seconds,
    time_interleaved,
)
from parvideo.engine.cpu import CpuEngine
from parvideo.engine.memory import decode_bytes
from parvideo.order import GenerationOrder, regions
from parvideo.sampling import SamplingConfig
from parvideo.tokenizer.presets import PRESETS
from parvideo.transformer import VideoTransformer, next_token_loss, transformer_size


@dataclass(frozen=True)
class Settings:
    """What to measure; see `parvideo bench --help`."""

    size: str
    dim: int | None
    layers: int | None
    heads: int | None
    vocabulary: int
    classes: int
    grid: tuple[int, int, int]
    regions: list[tuple[int, int, int]]
    batch: int
    guidance: float
    dtype: str
    threads: int
    steps_limit: int
    repeats: int
    clock: Clock
    plain: bool
    peers: list[str]
    tokenizer: str
    training: bool
    kernels: bool

    def __post_init__(self) -> None:
        if self.tokenizer != "none" and self.tokenizer not in PRESETS:
            raise ValueError(f"tokenizer must be none or one of {', '.join(PRESETS)}; got {self.tokenizer!r}")
        if self.steps_limit < 0:
            raise ValueError(f"steps_limit must be 0 (time all steps) or positive, got {self.steps_limit}")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype itself."""
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.dtype]

    def orders(self) -> list[GenerationOrder]:
        """The orders to time."""
        return [regions(self.grid, cut) for cut in self.regions]

    def transformer(self) -> VideoTransformer:
        """The model, with random weights, able to serve all orders."""
        size, orders = transformer_size(self.size), self.orders()
        return VideoTransformer(
            self.grid,
            self.vocabulary,
            self.classes,
            size.dim if self.dim is None else self.dim,
            size.num_layers if self.layers is None else self.layers,
            size.num_heads if self.heads is None else self.heads,
            num_transitions=max(order.num_transitions for order in orders),
        )


def run(settings: Settings, show: Callable[[str], None]) -> dict[str, Any]:
    """Measure, show a table line by line, and return the report."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    dtype, orders = settings.torch_dtype, settings.orders()
    transformer = settings.transformer().eval()
    parameters = sum(p.numel() for p in transformer.parameters())
    config = SamplingConfig(guidance_scale=settings.guidance)
    report: dict[str, Any] = {
        "machine": describe_machine(),
        "settings": asdict(settings),
        "parameters": parameters,
    }
    for name, value in report["machine"].items():
        show(f"{name:<14}{value}")
    show(
        f"{'model':<14}{parameters / 1e6:.0f}M parameters, vocabulary {settings.vocabulary}, "
        f"{settings.dtype}, batch {settings.batch}, guidance {settings.guidance}, {settings.clock} time, "
        f"best of {settings.repeats}"
    )
    if settings.training:
        report["training"] = _training(settings, transformer, orders, show)
    transformer = transformer.to(dtype)
    contenders = _contenders(settings, transformer, orders, config)
    engine = next(c.engine for c in contenders if isinstance(c, EngineLoop))
    report["engine"] = engine.describe()
    show(f"{'engine':<14}{', '.join(f'{key} {value}' for key, value in report['engine'].items())}")
    report["timed"] = engine.selection.timings
    for label, times in report["timed"].items():
        ways = ", ".join(f"{way} {1e6 * t:.0f}" for way, t in sorted(times.items(), key=lambda item: item[1]))
        show(f"{'chosen':<14}{label}: {ways or 'not timed, for want of time'}{' us' if ways else ''}")
    if settings.kernels:
        counts = [settings.batch * (2 if settings.guidance != 1 else 1) * n for n in _groups(orders)]
        report["kernels"] = time_kernels(transformer, counts, dtype, settings.clock, settings.repeats, show)
    ceilings = CeilingProbe(dtype, settings.clock)
    probes = [DrawProbe(order, settings.batch, settings.vocabulary, settings.clock) for order in orders]

    def each_round() -> None:
        ceilings.measure()
        for probe in probes:
            for _ in range(5):
                probe.measure(config)

    timings = time_interleaved(contenders, settings.steps_limit, settings.repeats, settings.clock, each_round)
    report["ceilings"] = asdict(ceilings.best)
    show(
        f"{'ceilings':<14}memory {ceilings.best.bandwidth:.1f} GB/s, GEMM {ceilings.best.gemm:.0f} GFLOP/s "
        f"({settings.dtype})"
    )
    peak = {order_name(o): _peak_bytes(transformer, o, settings, config) for o in orders}
    report["peak_bytes"] = peak
    sizes = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in peak.items())
    show(f"{'memory':<14}engine's own peak: {sizes}")
    draws = {order_name(order): probe.best for order, probe in zip(orders, probes, strict=True)}
    rows = [
        _row(settings, transformer, order, timing, timings, ceilings, draws)
        for order in orders
        for timing in timings
        if timing.order == order_name(order)
    ]
    report["results"] = [
        {**row, **as_json(timing)} for row, timing in zip(rows, _sorted(timings, orders), strict=True)
    ]
    for line in _table(rows):
        show(line)
    if any(timing.extrapolated for timing in timings):
        show(
            f"Seconds are estimated from about {settings.steps_limit} steps spread over the sequence, each "
            "measured; steps between are interpolated."
        )
    if settings.tokenizer != "none":
        seconds = {row["order"]: row["seconds"] for row in rows if row["contender"] == "engine"}
        report["tokenizer"] = end_to_end(
            settings.tokenizer, settings.batch, settings.grid, settings.clock, seconds, show
        )
    return report


def _groups(orders: list[GenerationOrder]) -> list[int]:
    return [max(map(len, order.step_slots)) for order in orders]


def _contenders(
    settings: Settings, transformer: VideoTransformer, orders: list[GenerationOrder], config: SamplingConfig
) -> list[Contender]:
    engine = CpuEngine(transformer)
    contenders: list[Contender] = []
    for order in orders:
        contenders.append(EngineLoop(engine, order, settings.batch, config))
        if settings.plain:
            contenders.append(PlainLoop(transformer, order, settings.batch, config))
        for folder in settings.peers:
            if supports(Path(folder), order):
                contenders.append(
                    Peer(
                        Path(folder),
                        transformer,
                        order,
                        settings.batch,
                        settings.guidance,
                        settings.torch_dtype,
                    )
                )
    return contenders


def _sorted(timings: list[Timing], orders: list[GenerationOrder]) -> list[Timing]:
    return [timing for order in orders for timing in timings if timing.order == order_name(order)]


def _peak_bytes(
    transformer: VideoTransformer, order: GenerationOrder, settings: Settings, config: SamplingConfig
) -> int:
    return decode_bytes(transformer, order, settings.batch, config.guided(order.steps))


def _row(
    settings: Settings,
    transformer: VideoTransformer,
    order: GenerationOrder,
    timing: Timing,
    timings: list[Timing],
    ceilings: CeilingProbe,
    draws: dict[str, float],
) -> dict[str, Any]:
    same = {other.contender: other.seconds for other in timings if other.order == timing.order}
    slowest = max(
        (other for other in timings if other.contender == timing.contender), key=lambda other: other.steps
    )
    limits = [
        roofline_seconds(
            transformer,
            order,
            settings.batch,
            settings.guidance != 1,
            settings.torch_dtype.itemsize,
            ceilings.best,
            with_cache,
        )
        for with_cache in (False, True)
    ]
    largest = max(map(len, order.step_slots))
    last = timing.sampled[order.steps - 1]
    is_engine = timing.contender == "engine"
    return {
        "order": timing.order,
        "contender": timing.contender,
        "steps": timing.steps,
        "group": largest,
        "seconds": timing.seconds,
        "ms_per_step": 1e3 * timing.seconds / timing.steps,
        "tokens_per_second": settings.batch * timing.tokens / timing.seconds,
        "share_of_slowest_order": timing.seconds / slowest.seconds,
        "engine_speedup": timing.seconds / same["engine"],
        "roofline": limits[0] / timing.seconds,
        "roofline_with_cache": limits[1] / timing.seconds,
        "draw_share": draws[timing.order] / last if is_engine else None,
    }


def _table(rows: list[dict[str, Any]]) -> list[str]:
    head = (
        f"{'order':<6}{'what':<12}{'steps':>6}{'s/batch':>9}{'ms/step':>9}{'tokens/s':>10}{'t/t(1st)':>10}"
        f"{'engine is':>11}{'roofline':>10}{'with cache':>12}{'drawing':>9}"
    )
    lines = [head]
    for row in rows:
        share = "" if row["draw_share"] is None else f"{row['draw_share']:.1%}"
        lines.append(
            f"{row['order']:<6}{row['contender'][:11]:<12}{row['steps']:>6}{row['seconds']:>9.2f}"
            f"{row['ms_per_step']:>9.2f}{row['tokens_per_second']:>10.1f}{row['share_of_slowest_order']:>10.3f}"
            f"{row['engine_speedup']:>10.2f}x{row['roofline']:>10.2f}{row['roofline_with_cache']:>12.2f}"
            f"{share:>9}"
        )
    return lines


def _training(
    settings: Settings,
    transformer: VideoTransformer,
    orders: list[GenerationOrder],
    show: Callable[[str], None],
) -> dict[str, Any]:
    """A training step (forward, loss, backward) in each order against the plainly causal mask of raster."""
    now, cuts = CLOCKS[settings.clock], {"causal": regions(settings.grid, (1, 1, 1))}
    cuts |= {order_name(order): order for order in orders if order.steps < order.num_tokens}
    tokens = torch.randint(settings.vocabulary, (settings.batch, math.prod(settings.grid)))
    labels = torch.arange(settings.batch) % settings.classes
    best = dict.fromkeys(cuts, math.inf)
    for _ in range(settings.repeats):
        for name, order in cuts.items():
            layout = transformer.layout(order)
            transformer.zero_grad()
            start = now()
            next_token_loss(transformer(tokens, labels, layout), tokens).mean().backward()
            best[name] = min(best[name], now() - start)
    transformer.zero_grad()
    for name, seconds in best.items():
        ratio = seconds / best["causal"]
        show(f"{'training':<14}{name}: {seconds:.2f} s a step (float32), {ratio:.2f} x of causal")
    return {"seconds": best, "ratio": {name: seconds / best["causal"] for name, seconds in best.items()}}

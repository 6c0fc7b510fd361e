"""Measuring decoding: several ways to generate, timed step by step and interleaved in one process.

A shared machine drifts by a factor of two within minutes, so only what is measured side by side compares:
every round times one step of each contender before the next step of any, and the best round counts.
"""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from parvideo.engine.cpu import CpuEngine
from parvideo.engine.draw import block_size, draw_tokens
from parvideo.engine.packed import DecodeLinear, packing_obstacle
from parvideo.order import GenerationOrder
from parvideo.sampling import SamplingConfig, sample_tokens
from parvideo.sampling.noise import draw_uniforms
from parvideo.transformer.model import VideoTransformer

Clock = Literal["wall", "cpu"]
CLOCKS: dict[Clock, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.thread_time}
"""Seconds passed, or seconds this thread computed: the latter stands other users of the machine better."""


SUMMED = 100_000_000
"""Float32 numbers that are summed to measure bandwidth: 400 MB, more than any processor's cache."""


class Contender(Protocol):
    """One way to generate a batch in one order."""

    name: str
    order: GenerationOrder

    def step(self, step: int) -> None:
        """Compute one step of the order, drawing included; earlier steps need not have been computed."""


class PlainLoop:
    """`parvideo.sampling.generate`'s body of the loop, on a cache of random numbers."""

    name = "plain loop"

    def __init__(
        self, transformer: VideoTransformer, order: GenerationOrder, batch: int, config: SamplingConfig
    ) -> None:
        self.transformer, self.order, self.config = transformer, order, config
        self.layout = transformer.layout(order)
        labels = torch.arange(batch) % transformer.num_classes
        self.guided = config.guided(order.steps)
        self.labels = torch.cat([labels, labels * 0 + transformer.num_classes]) if self.guided else labels
        self.tokens = torch.randint(transformer.codebook_size, (len(self.labels), order.num_tokens))
        self.cache = transformer.make_cache(len(self.labels))
        self.cache.keys.normal_()
        self.cache.values.normal_()
        self.uniforms = draw_uniforms(0, range(batch), order.num_tokens)

    @torch.inference_mode()
    def step(self, step: int) -> None:
        """One step."""
        slots = self.order.step_slots[step]
        logits = self.transformer(self.tokens, self.labels, self.layout, slots, self.cache)
        if self.guided:
            conditional, unconditional = logits.chunk(2)
            scale = self.config.guidance_at(step, self.order.steps)
            logits = unconditional + (conditional - unconditional) * scale
        uniforms = self.uniforms[:, slots.start : slots.stop]
        sample_tokens(logits, uniforms, self.config, self.transformer.codebook_factors)


class EngineLoop:
    """The decode engine's step, on a cache of random numbers."""

    name = "engine"

    @torch.inference_mode()
    def __init__(self, engine: CpuEngine, order: GenerationOrder, batch: int, config: SamplingConfig) -> None:
        self.engine, self.order = engine, order
        self.run = self.engine.start(order, torch.arange(batch) % engine.transformer.num_classes, config)
        for part in self.run.cache:
            part.normal_()

    def step(self, step: int) -> None:
        """One step."""
        self.engine.step(self.run, step)


@dataclass
class Ceilings:
    """What the machine can do at most: best of several measurements, in GB/s and GFLOP/s."""

    bandwidth: float = 0.0
    gemm: float = 0.0


class CeilingProbe:
    """Measures memory bandwidth by a sum, and the product of large matrices, packed or not."""

    def __init__(self, dtype: torch.dtype, clock: Clock) -> None:
        self.now = CLOCKS[clock]
        self.block = torch.ones(SUMMED)
        self.rows, self.weight = (torch.randn(n, 1024, dtype=dtype) for n in (512, 4096))
        packed = packing_obstacle(self.weight) is None
        self.products = [DecodeLinear(self.weight, packed=kind) for kind in {False, packed}]
        self.best = Ceilings()

    def measure(self) -> None:
        """Measure once more; the best counts."""
        start = self.now()
        self.block.sum()
        self.best.bandwidth = max(self.best.bandwidth, self.block.nbytes / (self.now() - start) / 1e9)
        flops = 2 * len(self.rows) * self.weight.numel()
        for product in self.products:
            start = self.now()
            product(self.rows)
            self.best.gemm = max(self.best.gemm, flops / (self.now() - start) / 1e9)


@dataclass
class Timing:
    """A contender's times: steps sampled over the sequence, and the whole estimated from them.

    ``seconds`` is the sum over all steps, those between two sampled ones interpolated within a phase of equal
    group size; ``extrapolated`` says whether there were any such. ``sampled`` holds step -> best seconds.
    """

    contender: str
    order: str
    steps: int
    tokens: int
    seconds: float
    extrapolated: bool
    sampled: dict[int, float]


def sampled_steps(order: GenerationOrder, limit: int) -> list[int]:
    """At most about ``limit`` steps spread over the order, with each phase's first and last; all if 0."""
    if limit == 0 or limit >= order.steps:
        return list(range(order.steps))
    chosen = {int(x) for x in np.linspace(0, order.steps - 1, limit).round()}
    sizes = [len(slots) for slots in order.step_slots]
    for step in range(order.steps):
        if step in (0, order.steps - 1) or sizes[step] != sizes[step - 1]:
            chosen |= {step, max(step - 1, 0)}
    return sorted(chosen)


def total_seconds(order: GenerationOrder, sampled: dict[int, float]) -> float:
    """The time of all steps: measured ones, and between them linear within a phase of equal group size."""
    sizes = np.array([len(slots) for slots in order.step_slots])
    total = 0.0
    for size in np.unique(sizes):
        steps = np.flatnonzero(sizes == size)
        known = [step for step in sampled if sizes[step] == size]
        total += float(np.interp(steps, known, [sampled[step] for step in known]).sum())
    return total


def time_interleaved(
    contenders: Sequence[Contender],
    limit: int,
    repeats: int,
    clock: Clock,
    each_round: Callable[[], None],
) -> list[Timing]:
    """Time all contenders, interleaved step by step; best of ``repeats`` rounds."""
    now = CLOCKS[clock]
    plans = [sampled_steps(contender.order, limit) for contender in contenders]
    best: list[dict[int, float]] = [{} for _ in contenders]
    for _ in range(repeats):
        each_round()
        for turn in range(max(map(len, plans))):
            for contender, plan, times in zip(contenders, plans, best, strict=True):
                if turn >= len(plan):
                    continue
                step = plan[turn]
                contender.step(step)  # the step before this one would have warmed the same caches
                start = now()
                contender.step(step)
                times[step] = min(times.get(step, float("inf")), now() - start)
    return [
        Timing(
            contender.name,
            order_name(contender.order),
            contender.order.steps,
            contender.order.num_tokens,
            total_seconds(contender.order, times),
            len(times) < contender.order.steps,
            times,
        )
        for contender, times in zip(contenders, best, strict=True)
    ]


def order_name(order: GenerationOrder) -> str:
    """Tokens a step, as people say it: 1x, 4x, 16x."""
    return f"{max(map(len, order.step_slots))}x"


def roofline_seconds(
    transformer: VideoTransformer,
    order: GenerationOrder,
    batch: int,
    guided: bool,
    itemsize: int,
    ceilings: Ceilings,
    with_cache: bool,
) -> float:
    """The least time of a generation: per step the larger of bytes / bandwidth and flops / ceiling.

    Bytes are the weights of the blocks and of the head, read once a step; flops those of the products with
    them, the head on one row a token. ``with_cache`` adds reading keys and values, and attention's flops.
    """
    config = transformer.config
    head = transformer.head.weight.numel()
    blocks = sum(p.numel() for p in transformer.blocks.parameters())
    kv_dim = config["dim"] // config["num_heads"] * config["num_kv_heads"]
    rows = batch * (2 if guided else 1)
    total = 0.0
    for slots in order.step_slots:
        values, flops = blocks + head, 2 * len(slots) * (rows * blocks + batch * head)
        if with_cache:
            values += 2 * transformer.num_layers * rows * slots.stop * kv_dim
            flops += 4 * transformer.num_layers * rows * len(slots) * slots.stop * config["dim"]
        total += max(values * itemsize / ceilings.bandwidth, flops / ceilings.gemm) / 1e9
    return total


class DrawProbe:
    """Times the drawing of one step's tokens by itself, from logits of the right shape."""

    def __init__(self, order: GenerationOrder, batch: int, vocabulary: int, clock: Clock) -> None:
        rows = max(map(len, order.step_slots)) * batch
        self.now, self.best = CLOCKS[clock], float("inf")
        self.logits, self.buffer = torch.randn(rows, vocabulary), torch.empty(rows, vocabulary)
        self.uniforms = torch.rand(rows, dtype=torch.float64)
        self.block = block_size(vocabulary)

    @torch.inference_mode()
    def measure(self, config: SamplingConfig) -> None:
        """Measure once more; the best counts."""
        logits = self.logits.clone()
        start = self.now()
        draw_tokens(logits, self.uniforms, config, self.block, self.buffer)
        self.best = min(self.best, self.now() - start)


def describe_machine() -> dict[str, Any]:
    """The machine and the versions, for a report."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": torch.get_num_interop_threads(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def as_json(timing: Timing) -> dict[str, Any]:
    """A timing as JSON-able data."""
    return {**asdict(timing), "sampled": {str(step): time for step, time in timing.sampled.items()}}

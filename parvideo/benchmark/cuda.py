"""The benchmark on a GPU: whole generations by engine and plain loop, with memory and roofline.

A GPU is one user's at a time and its clock is steady: whole generations are timed, and nothing interpolated.
The same runs on a CPU, where a test tries it out; its times mean nothing there.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from parvideo.benchmark.timing import Ceilings, order_name, roofline_seconds
from parvideo.engine.cuda_graphs import CudaGraphEngine
from parvideo.engine.graph_recipe import GraphRecipe
from parvideo.order import GenerationOrder
from parvideo.sampling import SamplingConfig, generate
from parvideo.tokenizer.base import VideoTokenizer
from parvideo.transformer.model import VideoTransformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Show = Callable[[str], None]


def check_device(name: str) -> torch.device:
    """The device called so, cpu or cuda.

    Raises:
        ValueError: if it is cuda, and there is none here.
    """
    if name == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        why = (
            "this PyTorch is built without CUDA" if built is None else f"PyTorch for CUDA {built} sees no GPU"
        )
        raise ValueError(f"device is cuda, but {why}; --device cpu is what can be measured here")
    return torch.device(name)


def describe_device(device: torch.device) -> dict[str, Any]:
    """A device and its versions, for a report."""
    about: dict[str, Any] = {"torch": torch.__version__, "device": device.type}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        about |= {
            "device": properties.name,
            "memory": properties.total_memory,
            "processors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return about


def seconds(device: torch.device, work: Callable[[], Any]) -> float:
    """How long ``work`` takes, until the device has done all of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def measure_ceilings(device: torch.device, dtype: torch.dtype, small: bool = False) -> Ceilings:
    """Memory bandwidth in GB/s, by copying and by summing 2 GB; products of 8192 x 8192 matrices in GFLOP/s.

    Args:
        device: to measure.
        dtype: of the products.
        small: of 8 MB and 256 x 256 matrices, to see that it runs.
    """
    count, side = (1_000_000, 256) if small else (500_000_000, 8192)
    block = torch.ones(count, device=device)
    other = torch.empty_like(block)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = Ceilings()
    for _ in range(6):
        copied = 2 * block.nbytes / seconds(device, lambda: other.copy_(block))
        summed = block.nbytes / seconds(device, lambda: block.sum())
        best.bandwidth = max(best.bandwidth, copied / 1e9, summed / 1e9)
        best.gemm = max(best.gemm, 2 * side**3 / seconds(device, lambda: left @ right) / 1e9)
    return best


def peak_bytes(device: torch.device, work: Callable[[], Any]) -> int | None:
    """The most memory that tensors take while ``work`` is done; None where nobody counts it."""
    if device.type != "cuda":
        work()
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def equal_share(made: Tensor, expected: Tensor) -> float:
    """The part of the clips, token grids ``[B, t, h, w]``, all of whose tokens are equal."""
    return (made == expected).flatten(1).all(dim=1).float().mean().item()


def bench_generation(
    transformer: VideoTransformer,
    orders: Sequence[GenerationOrder],
    batches: Sequence[int],
    dtypes: Sequence[str],
    device: torch.device,
    show: Show,
    guidance: float = 2.0,
    repeats: int = 3,
    plain: bool = True,
    recipe: GraphRecipe | None = None,
    ceilings: dict[str, Ceilings] | None = None,
    each: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Time generating whole batches: a row for each dtype, batch and order.

    Args:
        transformer: in eval mode, in float32, anywhere.
        orders: to generate in; the one of most steps is what the others' speed-ups are over.
        batches: clips at a time.
        dtypes: names of `DTYPES`.
        device: where to generate.
        show: takes the table line by line.
        guidance: scale of the guidance; 1 is off.
        repeats: how often to time the engine; the best counts. The plain loop is timed once, warm.
        plain: time it as well, and compare its tokens in float32.
        recipe: of the engine.
        ceilings: of the device in each dtype, for the roofline; measured if not given.
        each: takes each row when it is measured.
    """
    config = SamplingConfig(guidance_scale=guidance)
    rows: list[dict[str, Any]] = []
    show(HEAD)
    for name in dtypes:
        limits = (ceilings or {}).get(name) or measure_ceilings(device, DTYPES[name], device.type == "cpu")
        model = copy.deepcopy(transformer).to(device, DTYPES[name])
        engine = CudaGraphEngine(model, recipe=recipe)
        if plain:  # libraries load, kernels are chosen
            shortest = min(orders, key=lambda order: order.steps)
            generate(model, shortest, torch.zeros(1, dtype=torch.int64, device=device), config)
        for batch in batches:
            labels = torch.arange(batch, device=device) % model.num_classes
            longest = 0.0
            for order in sorted(orders, key=lambda order: -order.steps):
                row = _measure(engine, order, labels, config, device, repeats, plain)
                longest = longest or row["seconds"]
                least = [
                    roofline_seconds(
                        model, order, batch, guidance != 1, DTYPES[name].itemsize, limits, with_cache
                    )
                    for with_cache in (False, True)
                ]
                row = {
                    "dtype": name,
                    "batch": batch,
                    **row,
                    "speedup_over_longest": longest / row["seconds"],
                    "roofline": least[0] / row["seconds"],
                    "roofline_with_cache": least[1] / row["seconds"],
                    "ceilings": asdict(limits),
                }
                rows.append(row)
                show(line(row))
                if each is not None:
                    each(row)
        del engine, model
    return rows


def _measure(
    engine: CudaGraphEngine,
    order: GenerationOrder,
    labels: Tensor,
    config: SamplingConfig,
    device: torch.device,
    repeats: int,
    plain: bool,
) -> dict[str, Any]:
    made: list[Tensor] = []

    def run() -> None:
        made[:] = [engine.generate(order, labels, config)]

    first = 0.0

    def begin() -> None:
        nonlocal first
        first = seconds(device, run)

    peak = peak_bytes(device, begin)
    best = min(seconds(device, run) for _ in range(repeats))
    row: dict[str, Any] = {
        "order": order_name(order),
        "steps": order.steps,
        "seconds": best,
        "first_seconds": first,
        "ms_per_step": 1e3 * best / order.steps,
        "tokens_per_second": len(labels) * order.num_tokens / best,
        "peak_bytes": peak,
        "plain_seconds": None,
        "engine_speedup": None,
        "equal_clips": None,
    }
    if plain:
        ours = made[0]

        def loop() -> None:
            made[:] = [generate(engine.transformer, order, labels, config)]

        row["plain_seconds"] = seconds(device, loop)
        row["engine_speedup"] = row["plain_seconds"] / best
        row["equal_clips"] = equal_share(ours, made[0])
    return row


HEAD = (
    f"{'dtype':<10}{'batch':>5} {'order':<6}{'steps':>6}{'engine s':>10}{'ms/step':>9}{'tokens/s':>10}"
    f"{'plain s':>9}{'engine is':>11}{'over 1st':>10}{'roofline':>10}{'with cache':>12}{'peak MiB':>10}"
    f"{'equal':>7}"
)
"""The columns of `line`. ``equal``: part of the clips whose tokens are the plain loop's, all of them."""


def line(row: dict[str, Any]) -> str:
    """A row of the table."""

    def maybe(value: float | None, form: str, scale: float = 1.0) -> str:
        return "-" if value is None else format(value * scale, form)

    return (
        f"{row['dtype']:<10}{row['batch']:>5} {row['order']:<6}{row['steps']:>6}{row['seconds']:>10.3f}"
        f"{row['ms_per_step']:>9.2f}{row['tokens_per_second']:>10.0f}{maybe(row['plain_seconds'], '.2f'):>9}"
        f"{maybe(row['engine_speedup'], '.2f') + 'x':>11}{row['speedup_over_longest']:>9.2f}x"
        f"{row['roofline']:>10.2f}{row['roofline_with_cache']:>12.2f}"
        f"{maybe(row['peak_bytes'], '.0f', 2**-20):>10}{maybe(row['equal_clips'], '.2f'):>7}"
    )


def bench_tokenizer(
    tokenizer: VideoTokenizer,
    grid: tuple[int, int, int],
    rows: Sequence[dict[str, Any]],
    device: torch.device,
    show: Show,
) -> dict[str, Any]:
    """Time decoding each batch's tokens to pixels, and say what part of the whole that is."""
    tokenizer = tokenizer.eval().to(device)
    decoding: dict[int, float] = {}
    ends = []
    for row in rows:
        batch = row["batch"]
        if batch not in decoding:
            tokens = torch.randint(tokenizer.codebook_size, (batch, *grid), device=device)
            with torch.inference_mode():
                decoding[batch] = min(seconds(device, lambda t=tokens: tokenizer.decode(t)) for _ in range(3))  # type: ignore[misc]
            show(f"tokenizer     decodes a batch of {batch} in {decoding[batch]:.3f} s (float32)")
        total = row["seconds"] + decoding[batch]
        share = decoding[batch] / total
        ends.append(
            {key: row[key] for key in ("dtype", "batch", "order")} | {"seconds": total, "decoding": share}
        )
        show(
            f"end to end    {row['dtype']}, batch {batch}, {row['order']}: {total:.3f} s, "
            f"{share:.0%} the tokenizer's"
        )
    return {"decode_seconds": {str(batch): value for batch, value in decoding.items()}, "end_to_end": ends}

"""Count and time the forward calls of exact decoding (`parvideo.sampling.fixed_point`) for a trained model.

    python -m tools.measure.fixed_point_calls --model runs/par1x --windows 32 64 --batches 1 8

For every noise, window and batch size it generates the same clips by the plain loop and in windows, in turn,
and prints calls a batch, how many times fewer they are than the steps, the rows computed for each that the
loop computes, how many tokens differ (see `parvideo.sampling.fixed_point` for when one may), the seconds a
batch of both ways, and two speed-ups: the one measured here, and one by a model of a machine on which every
call reads all weights and every row is computed at the machine's peak:

    seconds = calls * bytes of the weights / bandwidth + rows * operations of a row / peak

The model is arithmetic, not a measurement: it leaves out caches, drawing and the start of each call. It takes
the calls and rows of the model at hand, and weights and operations of ``--modelled-size``.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from parvideo.benchmark.timing import CLOCKS
from parvideo.order import GenerationOrder
from parvideo.pretrained.folder import load_orders, load_transformer
from parvideo.sampling import SamplingConfig, fixed_point, generate
from parvideo.training.costs import TransformerCosts
from parvideo.transformer import SIZES, VideoTransformer, transformer_size


@dataclass(frozen=True)
class Measured:
    """What some clips took.

    Attributes:
        calls: forward calls a batch, in windows; the loop makes one a step.
        rows: slots computed for each that the loop computes.
        differ: tokens that differ from the loop's.
        loop: seconds a batch by the loop.
        windows: seconds a batch in windows.
    """

    calls: float
    rows: float
    differ: int
    loop: float
    windows: float


@dataclass(frozen=True)
class Machine:
    """A machine by its data sheet, and a transformer on it.

    Attributes:
        bandwidth: bytes a second that it reads.
        peak: operations a second that it computes.
        weight_bytes: bytes that a call reads.
        row_flops: operations that a slot takes.
    """

    bandwidth: float
    peak: float
    weight_bytes: float
    row_flops: float

    def seconds(self, calls: float, rows: float) -> float:
        """What so many calls that compute so many rows in all would take."""
        return calls * self.weight_bytes / self.bandwidth + rows * self.row_flops / self.peak

    def speedup(self, measured: Measured, steps: int, rows: float) -> float:
        """How many times faster windows would be than a loop of so many steps and rows in all."""
        return self.seconds(steps, rows) / self.seconds(measured.calls, measured.rows * rows)


def model_machine(
    size: str, order: GenerationOrder, codebook_size: int, bandwidth: float, peak: float
) -> Machine:
    """A transformer of a named size in bfloat16 on a machine of this bandwidth and peak."""
    shape = transformer_size(size)
    with torch.device("meta"):
        transformer = VideoTransformer(
            order.grid, codebook_size, 1, shape.dim, shape.num_layers, shape.num_heads
        )
    costs = TransformerCosts.of(transformer.config, order)
    flops = costs.forward_flops() / order.num_tokens
    return Machine(bandwidth, peak, 2.0 * costs.matrix_parameters, flops)


def measure(
    transformer: VideoTransformer,
    order: GenerationOrder,
    config: SamplingConfig,
    window: int,
    batch: int,
    clips: int,
) -> Measured:
    """Generate ``clips`` clips both ways, batch after batch in turn. Seconds are this thread's own."""
    clock = CLOCKS["cpu"]
    labels = torch.arange(clips) % transformer.num_classes
    count, batches, differ = fixed_point.CallCount(), 0, 0
    loop = windows = 0.0
    for start in range(0, clips, batch):
        some, indices = labels[start : start + batch], range(start, min(start + batch, clips))
        begun = clock()
        expected = generate(transformer, order, some, config, indices)
        done = clock()
        got = fixed_point.generate(transformer, order, some, config, indices, window=window, count=count)
        loop, windows = loop + done - begun, windows + clock() - done
        differ += int((got != expected).sum())
        batches += 1
    copies = 2 if config.guided(order.steps) else 1
    rows = count.rows / (clips * copies * order.num_tokens)
    return Measured(count.calls / batches, rows, differ, loop / batches, windows / batches)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure.fixed_point_calls",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="run folder or model folder")
    parser.add_argument("--order", help="name of one of its orders; its main one if not given")
    parser.add_argument("--windows", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--batches", type=int, nargs="+", default=[1])
    parser.add_argument("--clips", type=int, default=8, help="clips generated for each line")
    parser.add_argument("--noises", nargs="+", choices=["uniform", "gumbel"], default=["uniform", "gumbel"])
    parser.add_argument("--guidance-scale", type=float, default=1.0)
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--double", action="store_true", help="compute in float64")
    parser.add_argument("--modelled-size", choices=sorted(SIZES), default="video-792M")
    parser.add_argument("--bandwidth", type=float, default=3350, help="GB/s (3350: an H100's data sheet)")
    parser.add_argument("--peak", type=float, default=989, help="TFLOP/s (989: an H100's, dense bfloat16)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the clock is of this thread
    transformer = load_transformer(arguments.model).eval()
    orders = {order.name: order for order in load_orders(arguments.model)}
    name = next(iter(orders)) if arguments.order is None else arguments.order
    if name not in orders:
        sys.exit(f"--order is {name!r}; this model was trained in {', '.join(orders)}")
    order = orders[name]
    if arguments.double:
        transformer = transformer.double()
    machine = model_machine(
        arguments.modelled_size,
        order,
        transformer.codebook_size,
        1e9 * arguments.bandwidth,
        1e12 * arguments.peak,
    )
    print(
        f"{arguments.model}: {order.num_tokens} tokens, {order.steps} steps in order {name}, "
        f"{arguments.clips} clips a line\nseconds are a batch's, of one thread; modelled: "
        f"{arguments.modelled_size} at {arguments.bandwidth:g} GB/s and {arguments.peak:g} TFLOP/s, "
        "computed, not measured"
    )
    print(
        f"{'noise':8} {'batch':>5} {'window':>6} {'calls':>7} {'fewer':>6} {'rows':>5} {'differ':>6} "
        f"{'loop s':>7} {'window s':>8} {'faster':>6} {'modelled':>8}"
    )
    for noise in arguments.noises:
        config = SamplingConfig(
            temperature=arguments.temperature,
            top_k=arguments.top_k,
            guidance_scale=arguments.guidance_scale,
            noise=noise,
        )
        for batch in arguments.batches:
            for window in arguments.windows:
                found = measure(transformer, order, config, window, batch, arguments.clips)
                copies = 2 if config.guided(order.steps) else 1
                rows = copies * batch * order.num_tokens
                print(
                    f"{noise:8} {batch:5} {window:6} {found.calls:7.1f} {order.steps / found.calls:5.1f}x "
                    f"{found.rows:5.1f} {found.differ:6} {found.loop:7.2f} {found.windows:8.2f} "
                    f"{found.loop / found.windows:5.1f}x "
                    f"{machine.speedup(found, order.steps, rows):7.1f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()

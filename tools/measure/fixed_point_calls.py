"""Count the forward calls of exact decoding (`parvideo.sampling.fixed_point`) for a trained model.

    python -m tools.measure.fixed_point_calls --model runs/par1x --windows 32 64 --batches 1 8

For every noise, window and batch size it generates the same clips by the plain loop and in windows, and
prints calls a batch, how many times fewer they are than the steps, the rows computed for each that the loop
computes, and how many tokens differ (see `parvideo.sampling.fixed_point` for when one may).
"""

import argparse
import sys
from pathlib import Path

import torch

from parvideo.order import GenerationOrder
from parvideo.pretrained.folder import load_orders, load_transformer
from parvideo.sampling import SamplingConfig, fixed_point, generate
from parvideo.transformer import VideoTransformer


def measure(
    transformer: VideoTransformer,
    order: GenerationOrder,
    config: SamplingConfig,
    window: int,
    batch: int,
    clips: int,
) -> tuple[float, float, int]:
    """Calls a batch, rows for each of the plain loop's, and tokens that differ, over ``clips`` clips."""
    labels = torch.arange(clips) % transformer.num_classes
    count, batches, differ = fixed_point.CallCount(), 0, 0
    for start in range(0, clips, batch):
        some, indices = labels[start : start + batch], range(start, min(start + batch, clips))
        expected = generate(transformer, order, some, config, indices)
        got = fixed_point.generate(transformer, order, some, config, indices, window=window, count=count)
        differ += int((got != expected).sum())
        batches += 1
    copies = 2 if config.guided(order.steps) else 1
    return count.calls / batches, count.rows / (clips * copies * order.num_tokens), differ


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
    parser.add_argument("--guidance-scale", type=float, default=1.0)
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--double", action="store_true", help="compute in float64")
    arguments = parser.parse_args()
    transformer = load_transformer(arguments.model).eval()
    orders = {order.name: order for order in load_orders(arguments.model)}
    name = next(iter(orders)) if arguments.order is None else arguments.order
    if name not in orders:
        sys.exit(f"--order is {name!r}; this model was trained in {', '.join(orders)}")
    order = orders[name]
    if arguments.double:
        transformer = transformer.double()
    print(
        f"{arguments.model}: {order.num_tokens} tokens, {order.steps} steps, {arguments.clips} clips a line"
    )
    print(f"{'noise':8} {'batch':>5} {'window':>6} {'calls':>7} {'fewer':>6} {'rows':>5} {'differ':>6}")
    for noise in ("uniform", "gumbel"):
        config = SamplingConfig(
            temperature=arguments.temperature,
            top_k=arguments.top_k,
            guidance_scale=arguments.guidance_scale,
            noise=noise,
        )
        for batch in arguments.batches:
            for window in arguments.windows:
                calls, rows, differ = measure(transformer, order, config, window, batch, arguments.clips)
                fewer = f"{order.steps / calls:.1f}x"
                print(
                    f"{noise:8} {batch:5} {window:6} {calls:7.1f} {fewer:>6} {rows:5.1f} {differ:6}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

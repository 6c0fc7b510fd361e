"""Measure one softmax over all tokens against heads of digits: time and memory of training and decoding."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import torch
from jsonargparse import auto_cli

from parvideo.benchmark.decoders import peak_memory, start_peak
from parvideo.order import GenerationOrder, regions
from parvideo.sampling import SamplingConfig, sample_tokens
from parvideo.transformer import VideoTransformer, next_token_loss, transformer_size

LEVELS = (8, 8, 8, 5, 5, 5)
HEADS: dict[str, tuple[int, ...] | None] = {
    "one softmax": None,
    "two digits (512, 125)": (512, 125),
    "six FSQ levels": LEVELS,
}
CODEBOOK = 64_000
GRID, REGIONS = (5, 16, 16), (1, 4, 4)


def head(size: str = "B", batch: int = 1, repeats: int = 3, threads: int = 1) -> None:
    """Time a whole model's training step and its largest decode step with each head, each in a fresh process.

    Args:
        size: of the transformer.
        batch: clips of a training step, and of a decode step, which has two rows a clip for guidance.
        repeats: of which the best counts.
        threads: of the processor.
    """
    order = regions(GRID, REGIONS)
    group = max(map(len, order.step_slots))
    print(
        f"transformer {size}, codebook {CODEBOOK}, {order.num_tokens} tokens, batch {batch}, decode step of"
        f" {group} tokens, float32, {threads} thread, processor time"
    )
    print(
        "| head | outputs | head parameters | training step, s | its peak, MiB | decode step, ms"
        " | of which drawing |\n" + "|---" * 7 + "|"
    )
    context = multiprocessing.get_context("spawn")
    for name, codebook_factors in HEADS.items():
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            outputs, weights, step, peak, decode, draw = pool.submit(
                _measure, size, codebook_factors, batch, repeats, threads
            ).result()
        print(
            f"| {name} | {outputs} | {weights / 1e6:.1f}M | {step:.2f} | {peak / 2**20:.0f}"
            f" | {1e3 * decode:.1f} | {1e3 * draw:.1f} |",
            flush=True,
        )


def _measure(
    size: str, codebook_factors: tuple[int, ...] | None, batch: int, repeats: int, threads: int
) -> tuple[int, int, float, int, float, float]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    shape, order = transformer_size(size), regions(GRID, REGIONS)
    model = VideoTransformer(
        GRID,
        CODEBOOK,
        101,
        shape.dim,
        shape.num_layers,
        shape.num_heads,
        codebook_factors=codebook_factors,
        num_transitions=order.num_transitions,
    ).eval()
    decode, draw = _decode(model, order, batch, 5 * repeats)
    tokens, labels = torch.randint(CODEBOOK, (batch, order.num_tokens)), torch.arange(batch)
    model.train()
    held, best = start_peak(), float("inf")
    for _ in range(repeats):
        model.zero_grad()
        start = time.process_time()
        next_token_loss(
            model(tokens, labels, model.layout(order)), tokens, model.codebook_factors
        ).mean().backward()
        best = min(best, time.process_time() - start)
    return model.head.out_features, model.head.weight.numel(), best, peak_memory() - held, decode, draw


@torch.inference_mode()
def _decode(model: VideoTransformer, order: GenerationOrder, batch: int, repeats: int) -> tuple[float, float]:
    """Seconds of the last step, with guidance, and of the drawing in it."""
    layout, slots = model.layout(order), order.step_slots[-1]
    tokens = torch.randint(CODEBOOK, (2 * batch, order.num_tokens))
    labels = torch.tensor([0, model.num_classes]).repeat_interleave(batch)
    cache = model.make_cache(2 * batch)
    uniforms = torch.rand(batch, len(slots), dtype=torch.float64)
    whole = drawing = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        conditional, unconditional = model(tokens, labels, layout, slots, cache).chunk(2)
        logits = unconditional + (conditional - unconditional) * 2.0
        middle = time.process_time()
        sample_tokens(logits, uniforms, SamplingConfig(top_k=100), model.codebook_factors)
        drawing = min(drawing, time.process_time() - middle)
        whole = min(whole, time.process_time() - start)
    return whole, drawing


if __name__ == "__main__":
    auto_cli(head, prog="python -m tools.measure.token_head")

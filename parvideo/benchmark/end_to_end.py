"""From class names to pixels: the transformer alone, and with each decoder of its tokens."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from parvideo.benchmark.timing import CLOCKS, Clock
from parvideo.pipeline.decoding import Decoder
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.transformer.stairs import multiplies_bf16

ROUNDS = 2
LIGHTER = {"base": "light"}
"""A preset and one of a lighter decoder for the same tokens, which is measured beside it."""


@dataclass(frozen=True)
class EndToEnd:
    """One order with one decoder.

    Attributes:
        order: tokens a step, as `order_name` says it.
        preset: of the tokenizer.
        dtype: that its decoder computes in.
        transformer_seconds: of a batch's tokens.
        decode_seconds: of their pixels.
        seconds: of both.
        decoder_share: of those, the decoder's.
        speed_up: over the first order with the same decoder; the transformer's alone is in the table above.
    """

    order: str
    preset: str
    dtype: str
    transformer_seconds: float
    decode_seconds: float
    seconds: float
    decoder_share: float
    speed_up: float


def decode_forms(preset: str) -> list[tuple[str, str]]:
    """(Preset, dtype) of the decoders to measure: float32, bfloat16 where the processor multiplies it."""
    dtypes = ["float32", *(["bfloat16"] if multiplies_bf16(torch.device("cpu")) else [])]
    presets = [preset, *([LIGHTER[preset]] if preset in LIGHTER else [])]
    return [(name, dtype) for name in presets for dtype in dtypes]


@torch.inference_mode()
def time_decoders(
    forms: Sequence[tuple[str, str]], batch: int, grid: tuple[int, int, int], clock: Clock
) -> tuple[dict[tuple[str, str], float], tuple[int, int, int]]:
    """Seconds of decoding one batch in each form, as a pipeline does; interleaved, the best round counts.

    Returns:
        Seconds by form, and the shape (T, H, W) of a clip of the first.
    """
    now, tokenizers = CLOCKS[clock], {}
    for preset, dtype in forms:
        tokenizers[preset, dtype] = Decoder(CausalVideoTokenizer.from_preset(preset).eval())
        tokenizers[preset, dtype].ask(dtype)  # type: ignore[arg-type]
    first = tokenizers[forms[0]].tokenizer
    shape, best = first.clip_shape(grid), dict.fromkeys(forms, math.inf)
    for _ in range(ROUNDS):
        for form, decoder in tokenizers.items():
            network = decoder.tokenizer
            assert isinstance(network, CausalVideoTokenizer)
            tokens = torch.randint(network.codebook_size, (batch, *grid))
            pixels = math.ceil(math.prod(network.clip_shape(grid)) / grid[0])
            start = now()
            decoder.decode(tokens, pixels, batch)
            best[form] = min(best[form], now() - start)
    return best, shape


def end_to_end(
    preset: str,
    batch: int,
    grid: tuple[int, int, int],
    clock: Clock,
    transformer_seconds: dict[str, float],
    show: Callable[[str], None],
) -> dict[str, Any]:
    """Measure the decoders, and show what a batch takes in each order with each of them.

    Args:
        preset: of the tokenizer.
        batch: clips.
        grid: of their tokens.
        clock: see `CLOCKS`.
        transformer_seconds: of a batch, by order, the order to compare with first.
        show: takes a line at a time.

    Returns:
        ``preset``, ``decode_seconds`` and ``end_to_end_seconds`` by order, of the preset in float32; and
        ``decoders``, every `EndToEnd`.
    """
    decoding, shape = time_decoders(decode_forms(preset), batch, grid, clock)
    size = " x ".join(map(str, (batch, *shape)))
    for (name, dtype), seconds in decoding.items():
        show(f"{'tokenizer':<14}{name} decodes {size} pixels in {seconds:.2f} s ({dtype}, best of {ROUNDS})")
    first, rows = next(iter(transformer_seconds)), []
    for (name, dtype), decode in decoding.items():
        for order, transformer in transformer_seconds.items():
            seconds = transformer + decode
            against = transformer_seconds[first] + decode
            times = (transformer, decode, seconds, decode / seconds, against / seconds)
            rows.append(EndToEnd(order, name, dtype, *times))
    show(
        f"{'end to end':<14}{'decoder':<17}{'order':<7}{'transformer s':>14}{'decoder s':>11}{'s/batch':>9}"
        f"{'decoder is':>12}{'against ' + first:>13}"
    )
    for row in rows:
        show(
            f"{'':<14}{row.preset + ' ' + row.dtype:<17}{row.order:<7}{row.transformer_seconds:>14.2f}"
            f"{row.decode_seconds:>11.2f}{row.seconds:>9.2f}{row.decoder_share:>12.0%}{row.speed_up:>12.2f}x"
        )
    own = [row for row in rows if (row.preset, row.dtype) == (preset, "float32")]
    return {
        "preset": preset,
        "decode_seconds": decoding[preset, "float32"],
        "end_to_end_seconds": {row.order: row.seconds for row in own},
        "decoders": [asdict(row) for row in rows],
    }

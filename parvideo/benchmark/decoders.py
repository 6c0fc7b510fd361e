"""Decoding measured: how fast a tokenizer preset turns tokens into a clip, and the memory it peaks at.

Each measurement runs in a process of its own, for a process's peak memory never falls again. Weights are
random: neither time nor memory depends on them.
"""

import gc
import math
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parvideo.benchmark.timing import CLOCKS, Clock
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS
from parvideo.tokenizer.streaming import decode_stream

CLEAR_REFS = Path("/proc/self/clear_refs")
CLIP = (17, 128, 128)
ENOUGH_SECONDS = 20.0  # a decoding that takes longer is not repeated


@dataclass(frozen=True)
class DecodeForm:
    """How to decode.

    Attributes:
        bf16: weights in bf16, not in float32.
        channels_last: weights in channels_last_3d.
        compiled: the decoder through `torch.compile`.
        latent_frames: decode as a stream of so many latent frames at a time; 0 decodes the clip whole.
    """

    bf16: bool = False
    channels_last: bool = False
    compiled: bool = False
    latent_frames: int = 0

    @property
    def name(self) -> str:
        """The form in words."""
        parts = ["bf16" if self.bf16 else "float32"]
        parts += ["channels last"] if self.channels_last else []
        parts += ["compiled"] if self.compiled else []
        parts += [f"stream of {self.latent_frames}"] if self.latent_frames else ["whole"]
        return ", ".join(parts)


@dataclass(frozen=True)
class DecodeFigures:
    """What decoding one clip took.

    Attributes:
        preset: of the tokenizer.
        form: how it decoded, in words.
        frames: frames of the clip.
        seconds: of the quickest decoding.
        weight_bytes: of the whole tokenizer.
        peak_bytes: the process's peak beyond what it held before it decoded.
    """

    preset: str
    form: str
    frames: int
    seconds: float
    weight_bytes: int
    peak_bytes: int


def measure_decode(
    preset: str,
    form: DecodeForm,
    clip: tuple[int, int, int] = CLIP,
    repeats: int = 3,
    threads: int = 1,
    clock: Clock = "wall",
) -> DecodeFigures:
    """Decode one clip of shape (T, H, W) up to ``repeats`` times in a fresh process.

    Raises:
        ValueError: if there is no such preset, it has no clip of that shape, or this is not Linux.
    """
    with torch.device("meta"):
        CausalVideoTokenizer.from_preset(preset).latent_grid(clip)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, preset, form, clip, repeats, threads, clock).result()


def bench_decoders(
    threads: int, clock: Clock, repeats: int, show: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Measure every preset on a 17x128x128 clip, whole and as a stream; show a table line by line."""
    show(
        f"{'decoding':<14}one clip of {' x '.join(map(str, CLIP))} pixels, float32, {clock} time,"
        f" {threads} threads"
    )
    show(
        f"{'tokenizer':<12}{'clip':<14}{'s/clip':>9}{'frames/s':>10}{'weights MiB':>13}"
        f"{'peak beside MiB':>17}"
    )
    rows = []
    for preset in PRESETS:
        for latent_frames in (0, 1):
            form = DecodeForm(latent_frames=latent_frames)
            row = measure_decode(preset, form, CLIP, repeats, threads, clock)
            show(decode_row(row, "stream of 1" if latent_frames else "whole"))
            rows.append(asdict(row))
    return rows


def decode_row(row: DecodeFigures, form: str) -> str:
    """One line of `bench_decoders`' table."""
    return (
        f"{row.preset:<12}{form:<14}{row.seconds:>9.2f}{row.frames / row.seconds:>10.1f}"
        f"{row.weight_bytes / 2**20:>13.0f}{row.peak_bytes / 2**20:>17.0f}"
    )


@torch.inference_mode()
def _measure(
    preset: str, form: DecodeForm, clip: tuple[int, int, int], repeats: int, threads: int, clock: Clock
) -> DecodeFigures:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    tokenizer = CausalVideoTokenizer.from_preset(preset).eval()
    if form.bf16:
        tokenizer.decoder.to(torch.bfloat16)
    if form.channels_last:
        tokenizer.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if form.compiled:
        tokenizer.decode_codes = torch.compile(tokenizer.decode_codes)  # type: ignore[method-assign]
    tokens = torch.randint(tokenizer.codebook_size, (1, *tokenizer.latent_grid(clip)))
    now, best, spent, held = CLOCKS[clock], math.inf, 0.0, start_peak()
    for number in range(repeats + int(form.compiled)):
        start = now()
        frames = sum(part.shape[2] for part in _decode(tokenizer, tokens, form.latent_frames))
        seconds = now() - start
        if number or not form.compiled:  # a compiled decoder's first run compiles
            best, spent = min(best, seconds), spent + seconds
        if spent > ENOUGH_SECONDS:
            break
    weights = sum(p.numel() * p.element_size() for p in tokenizer.parameters())
    return DecodeFigures(preset, form.name, frames, best, weights, peak_memory() - held)


def _decode(tokenizer: CausalVideoTokenizer, tokens: Tensor, latent_frames: int) -> Iterator[Tensor]:
    if latent_frames:
        yield from decode_stream(tokenizer, tokens.split(latent_frames, dim=1))
    else:
        yield tokenizer.decode(tokens)


def start_peak() -> int:
    """Forget this process's peak memory so far; returns the resident memory now, in bytes.

    Raises:
        ValueError: on a system other than Linux, which alone can forget it.
    """
    if not CLEAR_REFS.exists():
        raise ValueError(f"peak memory is measured on Linux alone; there is no {CLEAR_REFS}")
    gc.collect()
    CLEAR_REFS.write_text("5")
    return peak_memory()


def peak_memory() -> int:
    """The process's highest resident memory since `start_peak`, in bytes.

    Not `resource.getrusage`, whose peak begins with that of the process this one was started by.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))

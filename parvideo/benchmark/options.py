"""What `parvideo bench` measures: every option once, with its default and check."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from parvideo.checks import at_least, parse_triple

if TYPE_CHECKING:
    from parvideo.benchmark.report import Settings


@dataclass(frozen=True)
class BenchOptions:
    """What is timed, and how.

    Attributes:
        size: the model, one of B, L, XL, XXL, 3B, video-792M.
        dim: width, instead of the size's.
        num_layers: number of layers, instead of the size's.
        num_heads: number of heads, instead of the size's.
        codebook_size: number of different tokens.
        num_classes: number of classes.
        grid: latent grid t,h,w.
        regions: regions along t,h,w; repeat it for several. If not given 1,1,1 and 1,2,2 and 1,4,4.
        batch_size: clips at a time; if not given 1 on a CPU, 1 and then 8 on CUDA.
        guidance_scale: of classifier-free guidance; 1 turns guidance off, which halves the rows.
        dtype: of weights and cache; if not given float32 on a CPU, float32 and then bfloat16 on CUDA.
        device: cuda times whole generations by the graph engine and the plain loop, and their memory;
            threads, steps-limit and clock mean nothing to it.
        threads: CPU threads.
        steps_limit: time about so many steps, spread over the sequence, and interpolate; 0 times all.
        repeats: rounds.
        clock: seconds that passed, or that this thread computed (one thread only; for shared machines).
        plain: time the plain loop as well.
        peer: checkout of the official LlamaGen or PAR code to time as well; repeat it for several.
        tokenizer: preset of the tokenizer whose decoding is timed, on a CPU also in bfloat16 and,
            for base, beside the preset light; "none" for none.
        training: time a training step as well: the order's mask against a plainly causal one.
        kernels: time the engine's choices as well, each against what it replaced.
        decoders: time every tokenizer preset decoding a 17x128x128 clip too; nbp takes minutes on a CPU.
        cells: instead, a line for each of both dtypes, batches of 1 and 8, one and all threads, and orders;
            batch_size, dtype, threads and clock are not looked at. With out, an interrupted run goes on.
        out: JSON file to write.

    Raises:
        ValueError: if a number lies outside its range, or two options contradict each other.
    """

    size: str = "B"
    dim: int | None = None
    num_layers: int | None = None
    num_heads: int | None = None
    codebook_size: int = 16384
    num_classes: int = 101
    grid: str = "5,16,16"
    regions: list[str] | None = None
    batch_size: int | None = None
    guidance_scale: float = 2.0
    dtype: Literal["float32", "bfloat16"] | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1
    steps_limit: int = 12
    repeats: int = 5
    clock: Literal["wall", "cpu"] = "wall"
    plain: bool = True
    peer: list[Path] | None = None
    tokenizer: str = "base"
    training: bool = False
    kernels: bool = False
    decoders: bool = False
    cells: bool = False
    out: Path | None = None

    def __post_init__(self) -> None:
        at_least(
            1,
            dim=self.dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            codebook_size=self.codebook_size,
        )
        at_least(
            1,
            num_classes=self.num_classes,
            batch_size=self.batch_size,
            threads=self.threads,
            repeats=self.repeats,
        )
        at_least(0, steps_limit=self.steps_limit)
        if self.device == "cuda":
            for name, given in {
                "peer": self.peer,
                "training": self.training,
                "kernels": self.kernels,
                "decoders": self.decoders,
                "cells": self.cells,
            }.items():
                if given:
                    raise ValueError(f"{name} is timed on a CPU only; leave it out, or give --device cpu")
        if self.clock == "cpu" and self.threads != 1:
            raise ValueError(
                f"clock cpu counts one thread's time; give threads 1, not {self.threads}, or clock wall"
            )

    def settings(self) -> "Settings":
        """The same as numbers, for the report.

        Raises:
            ValueError: if grid or regions are no three numbers, or there is no such model or tokenizer.
        """
        from parvideo.benchmark.report import Settings

        return Settings(
            size=self.size,
            dim=self.dim,
            layers=self.num_layers,
            heads=self.num_heads,
            vocabulary=self.codebook_size,
            classes=self.num_classes,
            grid=parse_triple("grid", self.grid),
            regions=[parse_triple("regions", cut) for cut in self.regions or ["1,1,1", "1,2,2", "1,4,4"]],
            batch=self.batch_size or 1,
            guidance=self.guidance_scale,
            dtype=self.dtype or "float32",
            threads=self.threads,
            steps_limit=self.steps_limit,
            repeats=self.repeats,
            clock=self.clock,
            plain=self.plain,
            peers=[str(folder) for folder in self.peer or []],
            tokenizer=self.tokenizer,
            training=self.training,
            kernels=self.kernels,
        )

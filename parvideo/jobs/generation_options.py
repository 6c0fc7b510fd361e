"""How clips are generated: the options that every command which generates has, under one name each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from parvideo.checks import parse_interval, parse_triple, whole_number

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from parvideo.order import GenerationOrder
    from parvideo.pipeline import VideoPipeline
    from parvideo.sampling import SamplingConfig


@dataclass(frozen=True)
class GenerationOptions:
    """How to generate.

    Attributes:
        seed: of the random numbers, 0 to 2^64 - 1; each clip has its own, keyed by seed and number.
        temperature: divides the logits; 0 takes the most likely token.
        top_k: draw from the k most likely tokens; 0 for all.
        top_p: draw from the most likely tokens that together reach this probability.
        guidance_scale: classifier-free guidance; 1 is off.
        guidance_schedule: how guidance grows over the steps.
        guidance_interval: from,to; the part of the steps, as fractions, that is guided.
        regions: t,h,w of the order to generate in, one of those that the model was trained for; its main
            one if not given.
        order: its name, in place of its regions, such as 1x4x4 or dyadic-64.
        latent_frames: length of the clips in latent frames; as the model was trained, if not given. Beyond
            that its window slides.
        overlap: latent frames that each further window takes over.
        unconditional: generate without a class (as a model trained with class dropout can).
        noise: what tokens are drawn by: one uniform number, or a Gumbel number for every code, which gives
            other clips of the same distribution, and more to gain by a window.
        window: compute so many slots a call on guesses until they stand, for the same clips in fewer calls;
            one step a call if not given.
        engine: what computes the steps, all with the same random numbers: the plain loop, the engine for CPUs
            or that of CUDA graphs; auto takes the device's own, on CUDA once it has passed a self-test.
        dtype: what they are computed in; as the model's weights are loaded, float32, if not given.
        decoder_dtype: what tokens become pixels in; auto is bfloat16 where the processor multiplies it and
            the tokenizer's folder states that it costs less than 0.01 dB (`parvideo reconstruct --bf16`).

    Raises:
        ValueError: if one lies outside its range.
    """

    seed: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    guidance_scale: float = 1.0
    guidance_schedule: Literal["constant", "linear", "cosine"] = "constant"
    guidance_interval: str = "0,1"
    regions: str | None = None
    order: str | None = None
    latent_frames: int | None = None
    overlap: int = 1
    unconditional: bool = False
    noise: Literal["uniform", "gumbel"] = "uniform"
    window: int | None = None
    engine: Literal["auto", "plain", "cpu", "cpu_packed", "cpu_native", "cuda_graphs"] = "auto"
    dtype: Literal["float32", "bfloat16"] | None = None
    decoder_dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        if self.latent_frames is not None:
            whole_number(self.latent_frames, "latent_frames", least=1)
        whole_number(self.overlap, "overlap", least=1)
        if self.window is not None:
            whole_number(self.window, "window", least=1)
        if self.unconditional and self.guidance_scale != 1:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale}, but guidance is towards a class, which "
                "unconditional clips have not; leave it at 1"
            )

    @property
    def cut(self) -> tuple[int, int, int] | None:
        """The regions as numbers.

        Raises:
            ValueError: if they are no three numbers.
        """
        return None if self.regions is None else parse_triple("regions", self.regions)

    def config(self) -> "SamplingConfig":
        """How tokens are drawn.

        Raises:
            ValueError: if an option lies outside its range.
        """
        from parvideo.sampling import SamplingConfig

        return SamplingConfig(
            self.temperature,
            self.top_k,
            self.top_p,
            self.guidance_scale,
            self.guidance_schedule,
            parse_interval("guidance_interval", self.guidance_interval),
            self.seed,
            self.noise,
        )

    def load(self, folder: "Path", device: "torch.device") -> "VideoPipeline":
        """A model folder's pipeline on a device, with the engine and the dtype asked for.

        Raises:
            FileNotFoundError: if there is no model.
            ValueError: if the engine is not for this device.
        """
        import torch

        from parvideo.pipeline import VideoPipeline

        dtypes = {None: None, "float32": torch.float32, "bfloat16": torch.bfloat16}
        return VideoPipeline.from_pretrained(folder, device, self.engine, dtype=dtypes[self.dtype])

    def prepare(self, pipeline: "VideoPipeline", given: int = 0) -> "GenerationOrder":
        """Set a pipeline to window and decoder, and see that it can make clips of this length.

        Args:
            pipeline: that is to generate.
            given: latent frames that clips go on from.

        Raises:
            ValueError: if it cannot.
        """
        pipeline.window = self.window
        pipeline.decoder.ask(self.decoder_dtype)
        pipeline.check_length(self.latent_frames, self.overlap, given)
        return pipeline.find_order(self.order, self.cut)


PLAIN = GenerationOptions()
"""As a model generates by itself."""

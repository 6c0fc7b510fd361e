"""What computes a batch's steps: the plain loop, an engine, or exact decoding in windows."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from parvideo.engine.cpu import CpuEngine
from parvideo.engine.cuda_graphs import CudaGraphEngine
from parvideo.order import GenerationOrder
from parvideo.pipeline.choices import EngineChoice, check_engine
from parvideo.sampling import SamplingConfig, StepCallback, TokenCallback, fixed_point, generate
from parvideo.transformer import VideoTransformer

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) over all batches."""


class Steps:
    """Generates batches with one transformer by the engine asked for, which is made when it is first used.

    Attributes:
        transformer: where it lies, it computes.
        engine: see `VideoPipeline`.
        window: slots a call of `parvideo.sampling.fixed_point`; None for a step a call.

    Raises:
        ValueError: if the engine is unknown or not for the transformer's device.
    """

    def __init__(self, transformer: VideoTransformer, engine: EngineChoice = "auto") -> None:
        check_engine(engine, transformer.head.weight.device)
        self.transformer = transformer
        self.engine: EngineChoice = engine
        self.window: int | None = None
        self.made: CpuEngine | CudaGraphEngine | None = None

    def to(self, device: str | torch.device) -> None:
        """Move the transformer, if the engine computes there too; else ValueError, and nothing is moved."""
        check_engine(self.engine, torch.device(device))
        self.transformer.to(device)
        self.made = None  # it holds copies of the weights where they were

    def generate(
        self,
        order: GenerationOrder,
        labels: Tensor,
        config: SamplingConfig,
        indices: Sequence[int],
        prefix: Tensor | None = None,
        rng_stream: int = 0,
        on_step: StepCallback | None = None,
        on_tokens: TokenCallback | None = None,
    ) -> Tensor:
        """One batch of token grids; arguments, result and errors as of `parvideo.sampling.generate`.

        Raises:
            ValueError: also if the engine asked for cannot compute in windows.
        """
        if self.window is not None:
            if self.engine not in ("auto", "plain"):
                raise ValueError(
                    f"engine is {self.engine!r} and window {self.window}: calls of several steps are "
                    "computed by parvideo.sampling.fixed_point; leave engine at 'auto' or window at None"
                )
            asked = (labels, config, indices, prefix, rng_stream, on_step, self.window)
            return fixed_point.generate(self.transformer, order, *asked, on_tokens=on_tokens)
        engine = self.engine
        if engine == "auto":
            on_cpu = self.transformer.head.weight.device.type == "cpu"
            engine = "cpu" if on_cpu and config.noise == "uniform" else "plain"
        if engine == "plain":
            asked_of_loop = (labels, config, indices, prefix, rng_stream, on_step, on_tokens)
            return generate(self.transformer, order, *asked_of_loop)
        kind = CpuEngine if engine == "cpu" else CudaGraphEngine
        if not isinstance(self.made, kind):
            self.made = kind(self.transformer)
        return self.made.generate(order, labels, config, indices, prefix, rng_stream, on_step, on_tokens)


def overall(progress: Progress, batch: int, batches: int) -> Progress:
    """What one of several batches calls after its steps, so that ``progress`` hears of them all."""
    return lambda done, steps: progress(batch * steps + done, batches * steps)

"""What computes a batch's steps: the plain loop, an engine, or exact decoding in windows."""

import copy
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from parvideo.engine.cpu import CpuEngine
from parvideo.engine.cuda_graphs import CudaGraphEngine
from parvideo.engine.selection import Kernels
from parvideo.engine.self_test import graph_engine_obstacle
from parvideo.order import GenerationOrder
from parvideo.pipeline.choices import EngineChoice, check_engine
from parvideo.sampling import SamplingConfig, StepCallback, TokenCallback, fixed_point, generate
from parvideo.transformer import VideoTransformer

DTYPES = (torch.float32, torch.bfloat16)
Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) over all batches."""


class Steps:
    """Generates batches with one transformer by the engine asked for, which is made when it is first used.

    Attributes:
        transformer: where it lies, it computes.
        engine: see `VideoPipeline`.
        dtype: to compute in.
        window: slots a call of `parvideo.sampling.fixed_point`; None for a step a call.

    Raises:
        ValueError: if the engine is unknown or not for the transformer's device, or the dtype is none of
            float32 and bfloat16.
    """

    def __init__(
        self, transformer: VideoTransformer, engine: EngineChoice = "auto", dtype: torch.dtype | None = None
    ) -> None:
        check_engine(engine, transformer.head.weight.device)
        self.transformer = transformer
        self.engine: EngineChoice = engine
        self.dtype = transformer.head.weight.dtype if dtype is None else dtype
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
        self.window: int | None = None
        self.made: CpuEngine | CudaGraphEngine | None = None
        self._made_for: EngineChoice | None = None
        self._converted: VideoTransformer | None = None
        self._graphs_passed: bool | None = None

    def to(self, device: str | torch.device) -> None:
        """Move the transformer, if the engine computes there too; else ValueError, and nothing is moved."""
        check_engine(self.engine, torch.device(device))
        self.transformer.to(device)
        # These are of where it was: copies of the weights, and what the self-test found.
        self.made = self._converted = self._graphs_passed = None

    def chosen(self, config: SamplingConfig) -> EngineChoice:
        """What computes the steps for a way to draw: the engine asked for, or what ``auto`` comes to.

        On CUDA that is the graph engine, once it has passed its self-test there; if it has not, a warning
        says why and the plain loop computes.
        """
        if self.engine != "auto":
            return self.engine
        device = self._device
        if config.noise != "uniform" or self.window is not None or device.type not in ("cpu", "cuda"):
            return "plain"
        if device.type == "cpu":
            return "cpu"
        if self._graphs_passed is None:
            obstacle = graph_engine_obstacle(self.transformer, self.dtype)
            self._graphs_passed = obstacle is None
            if obstacle is not None:
                warnings.warn(
                    f"the CUDA graph engine has failed its self-test on {device}, and the plain loop, which "
                    f"is slower, generates: {obstacle}",
                    stacklevel=2,
                )
        return "cuda_graphs" if self._graphs_passed else "plain"

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
            return fixed_point.generate(self._plain, order, *asked, on_tokens=on_tokens)
        engine = self.chosen(config)
        if engine == "plain":
            asked_of_loop = (labels, config, indices, prefix, rng_stream, on_step, on_tokens)
            return generate(self._plain, order, *asked_of_loop)
        if self.made is None or self._made_for != engine:
            self.made, self._made_for = self._make(engine), engine
        return self.made.generate(order, labels, config, indices, prefix, rng_stream, on_step, on_tokens)

    @property
    def _device(self) -> torch.device:
        return self.transformer.head.weight.device

    @property
    def _plain(self) -> VideoTransformer:
        """The transformer in the dtype to compute in: itself, or a copy, which is made once."""
        if self.dtype == self.transformer.head.weight.dtype:
            return self.transformer
        if self._converted is None:
            self._converted = copy.deepcopy(self.transformer).to(self.dtype)
        return self._converted

    def _make(self, engine: EngineChoice) -> CpuEngine | CudaGraphEngine:
        if engine == "cuda_graphs":
            return CudaGraphEngine(self.transformer, self.dtype)
        kernels: dict[str, Kernels] = {"cpu_packed": "packed", "cpu_native": "native"}
        return CpuEngine(self.transformer, self.dtype, kernels.get(engine, "timed"))


def overall(progress: Progress, batch: int, batches: int) -> Progress:
    """What one of several batches calls after its steps, so that ``progress`` hears of them all."""
    return lambda done, steps: progress(batch * steps + done, batches * steps)

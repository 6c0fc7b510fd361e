"""How tokens are drawn: temperature, filters, guidance over the steps, seed and noise."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from parvideo.checks import check_seed, whole_number

GuidanceSchedule = Literal["constant", "linear", "cosine"]
Noise = Literal["uniform", "gumbel"]


@dataclass(frozen=True)
class SamplingConfig:
    """How tokens are drawn from logits.

    Attributes:
        temperature: divides the logits; 0 takes the most likely token (of equals the first).
        top_k: only the k most likely tokens may be drawn; 0 for all.
        top_p: only the fewest most likely tokens that together reach this probability may be drawn.
        guidance_scale: classifier-free guidance, ``uncond + scale · (cond - uncond)``; 1 is off.
        guidance_schedule: how the scale comes from 1 over the steps: at once (``constant``), evenly
            (``linear``) or slowly at first (``cosine``). The last step has the full scale.
        guidance_interval: the part of all steps, as fractions [from, to), that is guided at all.
        seed: with the sample's index the key of its random numbers, 0 to 2^64 - 1.
        noise: what a token is drawn by: one ``uniform`` number, which the cumulative distribution is inverted
            at, or a ``gumbel`` number for every code (`parvideo.sampling.noise`). The same distribution, but
            other clips.

    Raises:
        ValueError: if a field lies outside its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    guidance_scale: float = 1.0
    guidance_schedule: GuidanceSchedule = "constant"
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    noise: Noise = "uniform"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature must be 0 (greedy) or positive, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1]; {self.top_p} would leave no token or mean nothing")
        if not math.isfinite(self.guidance_scale):
            raise ValueError(f"guidance_scale must be a finite number, got {self.guidance_scale}")
        if self.guidance_schedule not in get_args(GuidanceSchedule):
            raise ValueError(
                f"guidance_schedule must be one of {', '.join(get_args(GuidanceSchedule))}; "
                f"got {self.guidance_schedule!r}"
            )
        start, stop = self.guidance_interval
        if not 0 <= start < stop <= 1:
            raise ValueError(
                "guidance_interval must be two fractions of the steps, 0 <= from < to <= 1, "
                f"got {(start, stop)}"
            )
        if self.noise not in get_args(Noise):
            raise ValueError(f"noise must be one of {', '.join(get_args(Noise))}; got {self.noise!r}")
        object.__setattr__(self, "top_k", whole_number(self.top_k, "top_k"))
        object.__setattr__(self, "seed", check_seed(self.seed))

    def to_dict(self) -> dict[str, Any]:
        """All settings, JSON-able but for the interval; without noise where it is uniform, as it was before
        there was a choice."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("noise", "uniform")}

    def guidance_at(self, step: int, steps: int) -> float:
        """The guidance scale of a step, counted from 0 over all ``steps`` of the order.

        >>> config = SamplingConfig(guidance_scale=5.0, guidance_schedule="linear")
        >>> [config.guidance_at(step, 4) for step in range(4)]
        [2.0, 3.0, 4.0, 5.0]
        """
        start, stop = self.guidance_interval
        if not start <= step / steps < stop:
            return 1.0
        progress = (step + 1) / steps
        weight = {
            "constant": 1.0,
            "linear": progress,
            "cosine": (1 - math.cos(math.pi * progress)) / 2,
        }[self.guidance_schedule]
        return 1.0 + (self.guidance_scale - 1.0) * weight

    def guided(self, steps: int) -> bool:
        """Whether any of the steps needs unguided logits beside the guided ones."""
        return any(self.guidance_at(step, steps) != 1.0 for step in range(steps))

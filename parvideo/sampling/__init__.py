"""From transformer and order to tokens: the plain loop, which is the reference, and exact decoding."""

from parvideo.sampling.config import GuidanceSchedule, Noise, SamplingConfig
from parvideo.sampling.loop import (
    BROKEN_LOGITS,
    NO_TOKEN,
    Generate,
    StepCallback,
    TokenCallback,
    check_largest,
    check_request,
    cooled,
    draw_unchecked,
    extend,
    filter_logits,
    filtered,
    generate,
    invert_cumulative,
    prefix_tokens,
    sample_tokens,
)

__all__ = [
    "BROKEN_LOGITS",
    "NO_TOKEN",
    "Generate",
    "GuidanceSchedule",
    "Noise",
    "SamplingConfig",
    "StepCallback",
    "TokenCallback",
    "check_largest",
    "check_request",
    "cooled",
    "draw_unchecked",
    "extend",
    "filter_logits",
    "filtered",
    "generate",
    "invert_cumulative",
    "prefix_tokens",
    "sample_tokens",
]

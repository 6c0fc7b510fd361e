"""Drawing tokens fast: the draws of `parvideo.sampling.sample_tokens` without a cumulative sum of them all.

The cumulative distribution at a block's end needs only the sums of blocks, which vectorise; one block alone
is then summed token by token. Sums are taken in float64 and rounded once to float32, as a cumulative sum in
float32 on a CPU does, so the draws agree.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from parvideo.sampling import (
    SamplingConfig,
    check_largest,
    cooled,
    filter_logits,
    invert_cumulative,
    sample_tokens,
)


def block_size(vocabulary: int) -> int:
    """The divisor of the vocabulary's size that makes blocks and their number most alike (at least 32).

    0 if there is none below half of it, for which the plain cumulative sum is as good.
    """
    divisors = [d for d in range(32, vocabulary // 2 + 1) if vocabulary % d == 0]
    return min(divisors, key=lambda d: abs(d - 256), default=0)


def draw_tokens(
    logits: Tensor,
    uniforms: Tensor,
    config: SamplingConfig,
    block: int,
    buffer: Tensor,
    codebook_factors: Sequence[int] | None = None,
    checked: bool = True,
) -> Tensor:
    """Draw one token a row as `parvideo.sampling.sample_tokens` does.

    Args:
        logits: ``[M, V]``; overwritten.
        uniforms: float64 ``[M]`` in [0, 1).
        config: temperature, top-k and top-p.
        block: see `block_size`; 0 to draw by `parvideo.sampling.sample_tokens` itself.
        buffer: float32 ``[.., V]`` of at least M rows, overwritten: no large allocation in the loop.
        codebook_factors: of a model that predicts tokens as digits, whose logits are few.
        checked: look for broken logits. If not, the caller sees to it that the largest of each row (and
            digit) is finite, and the host never waits for the device.

    Returns:
        int64 ``[M]``.

    Raises:
        ValueError: if checked logits hold NaN or infinity, or leave no token to draw.
    """
    if block == 0 or codebook_factors is not None:
        draw = sample_tokens if checked else invert_cumulative
        return draw(logits, uniforms, config, codebook_factors)
    if config.temperature == 0:
        best, tokens = logits.max(dim=-1)
        if checked:
            check_largest(best)
        return tokens
    kept = logits.float()
    if config.temperature != 1:
        largest = kept.amax(dim=-1, keepdim=True)
        if checked:
            check_largest(largest)
        kept = cooled(kept, largest, config.temperature)
    probabilities = torch.softmax(
        filter_logits(kept, config.top_k, config.top_p), dim=-1, out=buffer[: len(kept)]
    )
    blocks = probabilities.unflatten(-1, (-1, block))
    ends = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    rounded = ends.float()
    total = rounded[:, -1]
    if checked and not bool(torch.isfinite(total).all()):
        check_largest(logits.amax(dim=-1))
    threshold = torch.minimum(uniforms.float() * total, below(total))
    chosen = torch.searchsorted(rounded, threshold[:, None], right=True)
    before = torch.where(chosen > 0, ends.gather(1, (chosen - 1).clamp_(min=0)), 0.0)
    inside = blocks[torch.arange(len(blocks), device=blocks.device), chosen[:, 0]]
    cumulative = (inside.cumsum(dim=-1, dtype=torch.float64) + before).float()
    threshold = torch.minimum(threshold, below(cumulative[:, -1]))
    return (chosen * block + torch.searchsorted(cumulative, threshold[:, None], right=True)).squeeze(1)


def below(x: Tensor) -> Tensor:
    """The next smaller float."""
    return torch.nextafter(x, torch.zeros_like(x))

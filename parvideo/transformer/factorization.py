"""Tokens of a large codebook as digits, so that a head needs a softmax per digit instead of one over all.

With factors (512, 125) token 1000 of 64,000 is the pair (488, 1): the first digit varies fastest, as in FSQ's
ids, whose levels a factor groups. The digits of a token are predicted independently given the slot.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def check_factors(codebook_factors: Sequence[int], codebook_size: int) -> tuple[int, ...]:
    """The factors as a tuple.

    Raises:
        ValueError: unless they are positive and their product is the codebook size.
    """
    if min(codebook_factors, default=0) < 1 or math.prod(codebook_factors) != codebook_size:
        raise ValueError(
            f"codebook_factors must be positive and multiply to codebook_size {codebook_size}, "
            f"got {list(codebook_factors)} with product {math.prod(codebook_factors)}"
        )
    return tuple(codebook_factors)


def split_tokens(tokens: Tensor, codebook_factors: Sequence[int]) -> list[Tensor]:
    """The digits of tokens ``[...]``: for each factor an int64 ``[...]`` below it.

    >>> [digit.tolist() for digit in split_tokens(torch.tensor([1000]), (512, 125))]
    [[488], [1]]
    """
    digits = []
    for factor in codebook_factors:
        digits.append(tokens % factor)
        tokens = tokens // factor
    return digits


def join_tokens(digits: Sequence[Tensor], codebook_factors: Sequence[int]) -> Tensor:
    """Tokens from their digits; the inverse of `split_tokens`.

    >>> join_tokens([torch.tensor([488]), torch.tensor([1])], (512, 125)).tolist()
    [1000]
    """
    tokens = torch.zeros_like(digits[0])
    for digit, factor in zip(reversed(digits), reversed(codebook_factors), strict=True):
        tokens = tokens * factor + digit
    return tokens


def next_token_loss(logits: Tensor, tokens: Tensor, codebook_factors: Sequence[int] | None = None) -> Tensor:
    """Cross entropy of each slot: logits ``[B, N, V]`` and ordered tokens ``[B, N]`` give ``[B, N]``.

    Slot k predicts token k, so nothing is shifted. With them the logits are ``[B, N, S]``, S their sum,
    and the loss is the sum over the digits, still the negative log likelihood of the token.
    """
    sizes = [logits.shape[-1]] if codebook_factors is None else list(codebook_factors)
    parts = logits.split(sizes, dim=-1)
    digits = [tokens] if codebook_factors is None else split_tokens(tokens, codebook_factors)
    losses = [
        F.cross_entropy(part.flatten(0, 1).float(), digit.flatten(), reduction="none")
        for part, digit in zip(parts, digits, strict=True)
    ]
    return torch.stack(losses).sum(dim=0).view_as(tokens)


def token_divergence(
    teacher: Tensor, logits: Tensor, codebook_factors: Sequence[int] | None = None
) -> Tensor:
    """How far each slot's distribution is from a teacher's: KL(teacher || logits) in nats, ``[B, N]``.

    Logits are ``[B, N, V]``, or with ``codebook_factors`` as many as their sum, and the digits' divergences
    are summed.
    """
    sizes = [logits.shape[-1]] if codebook_factors is None else list(codebook_factors)
    parts = zip(teacher.split(sizes, dim=-1), logits.split(sizes, dim=-1), strict=True)
    divergences = [
        F.kl_div(
            ours.float().log_softmax(-1), theirs.float().log_softmax(-1), reduction="none", log_target=True
        ).sum(-1)
        for theirs, ours in parts
    ]
    return torch.stack(divergences).sum(dim=0)

"""The random numbers of sampling, from a counter-based generator keyed by (seed, sample index).

A token is drawn by one uniform number, at which the cumulative distribution is inverted, or by a Gumbel
number for every code: added to the logits, the largest sum is a draw from their softmax (Gumbel-max). A small
change of the logits then seldom changes the token, where in the cumulative distribution it moves every later
code's share; that is what `parvideo.sampling.fixed_point` gains by.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

GUMBEL = 1
"""Third word of the generator's counter, which is 0 where uniforms are drawn: the two never meet."""


def draw_uniforms(seed: int, indices: Sequence[int], count: int, rng_stream: int = 0) -> Tensor:
    """Uniforms in [0, 1) for each sample, float64 ``[len(indices), count]``, keyed by (seed, index).

    Seeds and indices are whole numbers of 64 bits. Streams are parts of one key's sequence too far apart to
    meet.

    >>> one, both = draw_uniforms(7, [3], 2), draw_uniforms(7, [0, 3], 2)
    >>> bool((one[0] == both[1]).all())  # whatever else is in the batch
    True
    """
    # Of a list of mixed sizes numpy would make floats, in which large numbers are equal.
    keys = [np.array([seed, index], np.uint64) for index in indices]
    rows = [
        np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, rng_stream])).random(count)
        for key in keys
    ]
    return torch.from_numpy(np.stack(rows))


def draw_gumbels(
    seed: int, indices: Sequence[int], places: Sequence[Sequence[int]], codes: int, rng_stream: int = 0
) -> Tensor:
    """Standard Gumbel numbers from a counter-based generator, float32 ``[B, S, codes]``, on the CPU.

    Args:
        seed: first half of the key, a whole number of 64 bits.
        indices: of the B samples, the other half.
        places: for each sample the S places on the grid, as raster indices: the noise of a token does not
            depend on the order in which tokens are generated.
        codes: numbers a token: the codebook, or with factors the sum of them.
        rng_stream: one of a key's independent streams.
    """
    numbers = np.empty((len(indices), len(places[0]) if places else 0, codes))
    for row, (index, cells) in enumerate(zip(indices, places, strict=True)):
        key = np.array([seed, index], np.uint64)
        for column, cell in enumerate(cells):
            generator = np.random.Philox(key=key, counter=[0, cell, GUMBEL, rng_stream])
            numbers[row, column] = np.random.Generator(generator).random(codes)
    with np.errstate(divide="ignore"):  # of a uniform that is 0 comes -inf: that code is not drawn
        return torch.from_numpy((-np.log(-np.log(numbers))).astype(np.float32))

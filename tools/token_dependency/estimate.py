"""Dependency: how much one token of a clip tells about another, by their offset in space and time.

PAR (arXiv 2412.15119, section 3.1) generates tokens together that depend weakly on each other. This measures
it: the mutual information, in nats, of two tokens of the same clip at an offset (dt, dh, dw).
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

Tokens = NDArray[np.int64]
Offset = tuple[int, int, int]


@dataclass(frozen=True)
class Dependence:
    """The mutual information of two tokens at an offset.

    Attributes:
        offset: (dt, dh, dw) in cells of the latent grid, from the first token to the second.
        information: corrected estimate in nats; may be slightly negative where there is none.
        error: its standard error, from a jackknife over blocks of clips.
        plug_in: the uncorrected estimate from the same pairs, which is biased upwards.
        shuffled: what the estimator gives (bias corrected) when the second token is another clip's.
        pairs: number of pairs counted.
    """

    offset: Offset
    information: float
    error: float
    plug_in: float
    shuffled: float
    pairs: int


def mutual_information(
    tokens: Tokens, offset: Offset, num_symbols: int, shuffles: int = 4, blocks: int = 20, seed: int = 0
) -> Dependence:
    """Estimate I(X; Y) of tokens X at any place and Y at ``offset`` from it, over places and clips.

    Two corrections are made. Miller-Madow (1955) takes off the plug-in estimate's first-order bias,
    (K_xy - K_x - K_y + 1) / 2N for K occupied bins. Then the same estimate with Y from another clip, at
    the same places, is subtracted: it holds what is left of the bias, and what two tokens tell about each
    other merely because codes are more frequent in some places than in others, which no clip decides.
    Shuffling alone would take too much where dependence is strong (independent pairs occupy more bins).

    Args:
        tokens: ``[n, t, h, w]`` with values in [0, num_symbols). Clips that are related (of one scene) should
            follow each other: blocks are runs of clips, and the error is honest if blocks are unrelated.
        offset: (dt, dh, dw), any signs.
        num_symbols: number of symbols; ``num_symbols ** 2`` should be far below the number of pairs.
        shuffles: number of pairings with other clips that are averaged.
        blocks: number of blocks of clips for the error, at most n.
        seed: of the pairings.

    Raises:
        ValueError: if the tokens are not as said, there are under 4 clips, or the offset leaves the grid.
    """
    _check_tokens(tokens, num_symbols)
    if len(tokens) < 4:
        raise ValueError(f"tokens hold {len(tokens)} clips; at least 4 are needed to compare clips")
    if shuffles < 1 or blocks < 2:
        raise ValueError(f"shuffles must be at least 1 and blocks at least 2, got {shuffles} and {blocks}")
    if any(abs(step) >= size for step, size in zip(offset, tokens.shape[1:], strict=True)):
        raise ValueError(f"offset {offset} leaves no pairs on the grid {tokens.shape[1:]}")
    rng = np.random.default_rng(seed)
    first, second = _pairs(tokens, offset)
    block = np.arange(len(tokens)) * min(blocks, len(tokens)) // len(tokens)
    turns = rng.permutation(np.arange(1, len(tokens)))[:shuffles]
    counted = _counts(first, second, block, num_symbols)
    shuffled = [_counts(first, np.roll(second, turn, axis=0), block, num_symbols) for turn in turns]

    def corrected(left_out: int | None) -> tuple[float, float]:
        null = [_miller_madow(_without(counts, left_out)) for counts in shuffled]
        return _miller_madow(_without(counted, left_out)), float(np.mean(null))

    value, null = corrected(None)
    folds = np.array([np.subtract(*corrected(fold)) for fold in range(len(counted))])
    error = np.sqrt((len(folds) - 1) / len(folds) * ((folds - folds.mean()) ** 2).sum())
    plug_in = _plug_in(counted.sum(0))
    return Dependence(offset, value - null, float(error), plug_in, null, int(first.size))


def coarsen(tokens: Tokens, codebook_size: int, num_groups: int) -> Tokens:
    """Group a codebook's ids so that the groups keep what neighbouring tokens tell about each other.

    With thousands of ids most pairs are never seen twice and no correction saves the estimate. Groups of ids
    can only lower the information (data processing), so that what is found is really there; but groups
    drawn at random would lose nearly all of it. So: correspondence analysis of the counts of neighbours
    (offset 1 along each axis) gives every id coordinates, and the group of largest variance is cut across its
    longest axis, where the variance left is least, until there are enough. Deterministic. Fit it on other
    clips than those measured, or the result is too high.

    Args:
        tokens: ``[n, t, h, w]``.
        codebook_size: V, number of ids.
        num_groups: at least 2.

    Returns:
        The group of every id, ``[V]``; the ids themselves where V <= num_groups. Ids not seen are in group 0.

    Raises:
        ValueError: if num_groups is under 2, or the tokens are not as said.
    """
    _check_tokens(tokens, codebook_size)
    if num_groups < 2:
        raise ValueError(f"num_groups must be at least 2, got {num_groups}")
    if codebook_size <= num_groups:
        return np.arange(codebook_size)
    seen, frequency = np.unique(tokens, return_counts=True)
    groups = np.zeros(codebook_size, dtype=np.int64)
    if len(seen) <= num_groups:
        groups[seen] = np.arange(len(seen))
        return groups
    coordinates = _correspondence(np.searchsorted(seen, tokens), len(seen), min(16, len(seen) - 2))
    cells = [np.arange(len(seen))]
    while len(cells) < num_groups:
        scatter = [_scatter(coordinates[cell], frequency[cell]) if len(cell) > 1 else -1.0 for cell in cells]
        widest = cells.pop(int(np.argmax(scatter)))
        cells += _halves(widest, coordinates[widest], frequency[widest])
    for number, cell in enumerate(cells):
        groups[seen[cell]] = number
    return groups


def entropy(tokens: Tokens, num_symbols: int) -> float:
    """Entropy in nats of a token drawn anywhere, Miller-Madow corrected: the most that information can be."""
    counts = np.bincount(tokens.reshape(-1), minlength=num_symbols)
    return _entropy(counts) + (np.count_nonzero(counts) - 1) / (2 * counts.sum())


def _pairs(tokens: Tokens, offset: Offset) -> tuple[Tokens, Tokens]:
    sizes = tokens.shape[1:]
    start = tuple(slice(max(0, -step), size - max(0, step)) for step, size in zip(offset, sizes, strict=True))
    end = tuple(slice(max(0, step), size - max(0, -step)) for step, size in zip(offset, sizes, strict=True))
    return tokens[:, *start], tokens[:, *end]


def _counts(first: Tokens, second: Tokens, block: Tokens, num_symbols: int) -> Tokens:
    """Joint counts ``[blocks, K, K]``."""
    number = int(block[-1]) + 1
    joint = (block[:, None, None, None] * num_symbols + first) * num_symbols + second
    flat = np.bincount(joint.reshape(-1), minlength=number * num_symbols**2)
    return flat.reshape(number, num_symbols, num_symbols)


def _without(counts: Tokens, block: int | None) -> Tokens:
    total: Tokens = counts.sum(0)
    return total if block is None else total - counts[block]


def _miller_madow(joint: Tokens) -> float:
    occupied = [np.count_nonzero(counts) for counts in (joint, joint.sum(0), joint.sum(1))]
    return _plug_in(joint) - float(occupied[0] - occupied[1] - occupied[2] + 1) / (2 * float(joint.sum()))


def _plug_in(joint: Tokens) -> float:
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint)


def _entropy(counts: Tokens) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _scatter(points: NDArray[np.float64], weights: Tokens) -> float:
    centred = points - np.average(points, axis=0, weights=weights)
    return float((weights[:, None] * centred**2).sum())


def _halves(cell: Tokens, points: NDArray[np.float64], weights: Tokens) -> list[Tokens]:
    """Cut a cell of at least two ids across its longest axis where the halves differ most."""
    centred = points - np.average(points, axis=0, weights=weights)
    _, axes = np.linalg.eigh((weights[:, None] * centred).T @ centred)
    along = centred @ axes[:, -1]
    sorted_ids = np.argsort(along, kind="stable")
    mass = np.cumsum(weights[sorted_ids])[:-1]
    moment = np.cumsum((weights * along)[sorted_ids])[:-1]
    cut = int(np.argmax(moment**2 / (mass * (weights.sum() - mass)))) + 1
    return [cell[sorted_ids[:cut]], cell[sorted_ids[cut:]]]


def _correspondence(tokens: Tokens, num_ids: int, dimensions: int) -> NDArray[np.float64]:
    """Coordinates ``[num_ids, dimensions]`` of ids: those with like neighbours lie close."""
    matrix = scipy.sparse.csr_array((num_ids, num_ids), dtype=np.float64)
    for offset in ((0, 0, 1), (0, 1, 0), (1, 0, 0)):
        first, second = (side.reshape(-1) for side in _pairs(tokens, offset))
        ones = np.ones(len(first))
        matrix = matrix + scipy.sparse.coo_array((ones, (first, second)), shape=(num_ids, num_ids)).tocsr()
    matrix = matrix + matrix.T
    weight = np.sqrt(np.maximum(matrix.sum(axis=1), 1.0))
    scaled = scipy.sparse.diags_array(1 / weight) @ matrix @ scipy.sparse.diags_array(1 / weight)
    trivial = weight / np.linalg.norm(weight)

    def deflated(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        return scaled @ vector.reshape(-1) - trivial * (trivial @ vector.reshape(-1))

    operator = scipy.sparse.linalg.LinearOperator(
        (num_ids, num_ids), matvec=deflated, rmatvec=deflated, dtype=np.float64
    )
    start = np.random.default_rng(0).standard_normal(num_ids)
    values, vectors = scipy.sparse.linalg.eigsh(operator, k=dimensions, which="LM", v0=start)
    coordinates: NDArray[np.float64] = vectors * np.abs(values) / weight[:, None]
    return coordinates


def _check_tokens(tokens: Tokens, num_symbols: int) -> None:
    if tokens.ndim != 4 or tokens.dtype != np.int64 or tokens.size == 0:
        raise ValueError(f"tokens must be int64 [n, t, h, w], got {tokens.dtype} {tokens.shape}")
    if tokens.min() < 0 or tokens.max() >= num_symbols:
        raise ValueError(
            f"tokens must lie in 0..{num_symbols - 1}; they run from {tokens.min()} to {tokens.max()}"
        )

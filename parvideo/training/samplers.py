"""Batches: which samples training sees, in an order that (seed, place) alone fixes.

The sample at a place is known without those before it, so a run that starts again after p samples goes on
with exactly the samples it would have seen, on any number of devices and with any batch size.
"""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from parvideo.checks import place_seed

SampleKey = tuple[int, int]
"""A sample to read: (epoch, index)."""


class EndlessBatches(Sampler[list[SampleKey]]):
    """Shuffled samples for ever: every epoch is a permutation of all samples, and epochs follow seamlessly.

    Sample number p is entry ``p mod length`` of the permutation of epoch ``p // length``. Batch b over all
    devices holds samples b·W·B to (b+1)·W·B - 1, of which device r takes the r-th B; so nothing is dropped,
    padded or seen twice, and a batch's samples do not depend on how many devices share it.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: Callable[[], int] = lambda: 0,
    ) -> None:
        """Describe the order.

        Args:
            length: number of samples in the data set.
            batch_size: B, samples per batch and device.
            seed: of the permutations.
            rank: r, this device.
            world_size: W, number of devices.
            start: asked when iteration begins: how many samples all devices together have drawn before.

        Raises:
            ValueError: if there are no samples, or the batch size or the rank is out of range.
        """
        if length < 1:
            raise ValueError(f"length is {length}; training needs at least one sample")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}; it must be in 0..{world_size - 1}")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.world_size, self.start = rank, world_size, start
        self.started_at = 0

    def __iter__(self) -> Iterator[list[SampleKey]]:
        self.started_at = self.start()  # asked now, not at the first next()
        return self._batches(self.started_at)

    def batch(self, number: int) -> list[SampleKey]:
        """The samples on this device of batch ``number`` of a run that begins at the first sample."""
        return self._batch_at(number * self.world_size * self.batch_size)

    def _batch_at(self, place: int) -> list[SampleKey]:
        first = place + self.rank * self.batch_size
        return [self._key(own) for own in range(first, first + self.batch_size)]

    def _batches(self, place: int) -> Iterator[list[SampleKey]]:
        while True:
            yield self._batch_at(place)
            place += self.world_size * self.batch_size

    def _key(self, place: int) -> SampleKey:
        epoch, entry = divmod(place, self.length)
        return epoch, int(self._permutation(epoch)[entry])

    def _permutation(self, epoch: int) -> Tensor:
        if getattr(self, "_cached_epoch", None) != epoch:
            generator = torch.Generator().manual_seed(place_seed(self.seed, epoch))
            self._cached = torch.randperm(self.length, generator=generator)
            self._cached_epoch = epoch
        return self._cached


def held_out_batches(length: int, batch_size: int, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """The batches of indices that device ``rank`` validates on: over all devices every sample exactly once.

    All devices have the same number of batches, which differ in size by one at most: devices that meet at
    every batch (DDP's buffers, FSDP's weights) wait for nobody, and nothing is repeated to even them out. So
    a mean over samples, weighted by how many each device had, is that of the whole set.

    Args:
        length: number of samples.
        batch_size: the most samples in a batch; at 1, some of 2 may be needed.
        rank: this device.
        world_size: number of devices.

    Raises:
        ValueError: if there are fewer samples than devices.
    """
    if length < world_size:
        raise ValueError(
            f"the held-out set has {length} samples, fewer than the {world_size} devices; validate on more "
            "samples or train on fewer devices"
        )
    first, end = (length * place // world_size for place in (rank, rank + 1))
    smallest, largest = length // world_size, -(-length // world_size)
    count = min(-(-largest // batch_size), smallest)
    edges = [first + (end - first) * batch // count for batch in range(count + 1)]
    return [list(range(start, stop)) for start, stop in itertools.pairwise(edges)]

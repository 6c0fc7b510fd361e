"""The order of samples: a function of seed and batch number, shared out without loss."""

import itertools

import pytest

from parvideo.training.samplers import EndlessBatches, held_out_batches


def first(batches: EndlessBatches, count: int) -> list[list[tuple[int, int]]]:
    return list(itertools.islice(batches, count))


def test_every_epoch_sees_every_sample_once() -> None:
    draws = [draw for batch in first(EndlessBatches(10, 4, seed=3), 5) for draw in batch]
    for epoch in (0, 1):
        assert sorted(index for e, index in draws if e == epoch) == list(range(10))
    assert [index for e, index in draws if e == 0] != [index for e, index in draws if e == 1]


def test_starting_later_goes_on_with_the_same_batches() -> None:
    whole = first(EndlessBatches(7, 3, seed=1), 9)
    assert first(EndlessBatches(7, 3, seed=1, start=lambda: 12), 5) == whole[4:]


@pytest.mark.parametrize(("batch_size", "world_size"), [(3, 1), (1, 2), (5, 3)])
def test_another_batch_size_goes_on_at_the_same_sample(batch_size: int, world_size: int) -> None:
    alone = [draw for batch in first(EndlessBatches(7, 1, seed=1), 60) for draw in batch]
    devices = [
        first(EndlessBatches(7, batch_size, 1, rank, world_size, start=lambda: 8), 3)
        for rank in range(world_size)
    ]
    later = [draw for batches in zip(*devices, strict=True) for batch in batches for draw in batch]
    assert later == alone[8 : 8 + 3 * batch_size * world_size]


def test_start_is_asked_when_iteration_begins() -> None:
    position = 0
    batches = EndlessBatches(7, 3, start=lambda: position)
    position = 6
    assert next(iter(batches)) == batches.batch(2)
    assert batches.started_at == 6


@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_share_each_global_batch(world_size: int) -> None:
    alone = first(EndlessBatches(11, 6, seed=5), 8)
    shares = [
        first(EndlessBatches(11, 6 // world_size, seed=5, rank=rank, world_size=world_size), 8)
        for rank in range(world_size)
    ]
    assert [[*itertools.chain(*parts)] for parts in zip(*shares, strict=True)] == alone


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"length": 0, "batch_size": 1}, "length"),
        ({"length": 1, "batch_size": 0}, "batch_size"),
        ({"length": 1, "batch_size": 1, "rank": 2, "world_size": 2}, "rank"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, int], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        EndlessBatches(**settings)


@pytest.mark.parametrize("length", [2, 3, 7, 12, 13, 101])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 200])
@pytest.mark.parametrize("world_size", [1, 2])
def test_held_out_samples_are_shared_out_once(length: int, batch_size: int, world_size: int) -> None:
    devices = [held_out_batches(length, batch_size, rank, world_size) for rank in range(world_size)]
    assert [index for batches in devices for batch in batches for index in batch] == list(range(length))
    assert len({len(batches) for batches in devices}) == 1
    sizes = [len(batch) for batches in devices for batch in batches]
    assert min(sizes) >= 1
    assert max(sizes) <= max(batch_size, 2)


def test_held_out_batches_are_as_few_as_their_size_allows() -> None:
    assert [len(batch) for batch in held_out_batches(17, 8)] == [5, 6, 6]
    assert [len(held_out_batches(17, 8, rank, 2)) for rank in (0, 1)] == [2, 2]


def test_fewer_held_out_samples_than_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="3 samples, fewer than the 4 devices"):
        held_out_batches(3, 8, 0, 4)

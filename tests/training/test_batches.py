"""The order of samples: a function of seed and batch number, shared out without loss."""

import itertools

import pytest

from parvideo.training.batches import EndlessBatches


def first(batches: EndlessBatches, count: int) -> list[list[tuple[int, int]]]:
    return list(itertools.islice(batches, count))


def test_every_epoch_sees_every_sample_once() -> None:
    draws = [draw for batch in first(EndlessBatches(10, 4, seed=3), 5) for draw in batch]
    for epoch in (0, 1):
        assert sorted(index for e, index in draws if e == epoch) == list(range(10))
    assert [index for e, index in draws if e == 0] != [index for e, index in draws if e == 1]


def test_starting_later_goes_on_with_the_same_batches() -> None:
    whole = first(EndlessBatches(7, 3, seed=1), 9)
    assert first(EndlessBatches(7, 3, seed=1, start=lambda: 4), 5) == whole[4:]


def test_start_is_asked_when_iteration_begins() -> None:
    position = 0
    batches = EndlessBatches(7, 3, start=lambda: position)
    position = 2
    assert next(iter(batches)) == batches.batch(2)
    assert batches.started_at == 2


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

"""The metric's value depends on the clips alone: not on batches, order, processes, dtype or mode."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.utils.data import DistributedSampler

from parvideo.metrics.frechet import frechet_distance
from parvideo.metrics.fvd import FrechetVideoDistance, id_keys

DIM = 6


def features(n: int = 50) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n, DIM, generator=generator), 1.3 * torch.randn(n, DIM, generator=generator) + 0.4


def filled(order: list[int] | None = None, batch: int = 50) -> FrechetVideoDistance:
    metric = FrechetVideoDistance(DIM)
    real, fake = features()
    for rows in torch.tensor(order or range(len(real))).split(batch):
        metric.update(real[rows], True, rows)
        metric.update(fake[rows], False, rows)
    return metric


def test_is_the_frechet_distance_of_the_features() -> None:
    real, fake = (x.double().numpy() for x in features())
    value = filled().compute()
    assert value.dtype == torch.float64
    assert value.item() == frechet_distance(real, fake).value


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_batches_order_and_repeats_leave_no_trace(batch: int) -> None:
    order = torch.randperm(50).tolist()
    metric = filled(order + order[:9], batch)
    assert metric.compute().item() == filled().compute().item()
    assert metric.result().dropped == 18


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.to(torch.bfloat16),
        lambda m: m.half(),
        lambda m: m.set_dtype(torch.bfloat16),
        lambda m: m.train(),
        lambda m: m.eval(),
    ],
)
def test_casts_and_modes_leave_the_value_alone(change) -> None:
    metric = filled()
    change(metric)
    assert metric.real_features[0].dtype == torch.float64
    real, _ = features()
    metric.update(real[:5] + 1, True, torch.arange(100, 105))
    plain = filled()
    plain.update(real[:5] + 1, True, torch.arange(100, 105))
    assert metric.compute().item() == plain.compute().item()


def test_reset_forgets() -> None:
    metric = filled()
    metric.reset()
    with pytest.raises(ValueError, match="no real features"), pytest.warns(UserWarning, match="before"):
        metric.compute()


def test_result_agrees_with_compute_and_contains_it() -> None:
    metric = filled()
    result = metric.result()
    assert result.fvd == metric.compute().item() == pytest.approx(result.mean_term + result.covariance_term)
    low, high = result.interval or (0, 0)
    assert low < result.fvd < high
    assert (result.real_count, result.fake_count, result.dim, result.real_rank) == (50, 50, DIM, DIM)
    assert result.warnings == []


def test_warns_of_too_few_clips() -> None:
    metric = FrechetVideoDistance(DIM)
    real, fake = features(DIM)
    metric.update(real, True, torch.arange(DIM))
    metric.update(fake, False, torch.arange(DIM))
    assert any("6 real clips cannot fill" in text for text in metric.result().warnings)


@pytest.mark.parametrize(
    ("feature", "ids", "message"),
    [
        (torch.zeros(2, DIM + 1), torch.arange(2), r"\[B, 6\]"),
        (torch.zeros(2, DIM, dtype=torch.bfloat16), torch.arange(2), "half precision"),
        (torch.full((2, DIM), torch.nan), torch.arange(2), "NaN"),
        (torch.zeros(2, DIM), torch.arange(3), r"sample_id must be int64 \[2\]"),
        (torch.zeros(2, DIM), torch.zeros(2), "int64"),
    ],
)
def test_refuses_bad_updates(feature: Tensor, ids: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrechetVideoDistance(DIM).update(feature, True, ids)


def test_refuses_one_id_for_different_clips() -> None:
    metric = filled()
    metric.update(torch.ones(1, DIM) * 9, True, torch.tensor([3]))
    with pytest.raises(ValueError, match="share a sample id"):
        metric.compute()


def test_paired_needs_the_same_ids() -> None:
    real, fake = features()
    metric = FrechetVideoDistance(DIM, paired=True)
    metric.update(real, True, torch.arange(50))
    metric.update(fake[:49], False, torch.arange(49))
    with pytest.raises(ValueError, match="1 ids are only real"):
        metric.compute()
    metric.update(fake[49:], False, torch.tensor([49]))
    assert metric.result().fvd == filled().compute().item()


def test_id_keys_are_stable_and_distinct() -> None:
    keys = id_keys([f"Class/v_{k}" for k in range(1000)])
    assert keys.dtype == torch.int64
    assert len(keys.unique()) == 1000
    assert id_keys(["Archery/v_Archery_g01_c01"]).item() == 4788693678801292231


def _worker(rank: int, world: int, folder: str, count: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous-{world}-{count}", rank=rank, world_size=world
    )
    real, fake = features()
    metric = FrechetVideoDistance(DIM)
    sampler = DistributedSampler(range(50), world, rank, shuffle=False)  # pads: 50 is not a multiple of 3
    for row in torch.tensor(list(sampler)).split(4):
        metric.update(real[row], True, row)
    if count == 50:
        for row in torch.tensor(list(sampler)).split(3):
            metric.update(fake[row], False, row)
    elif rank == 0:  # the others see no generated clip at all
        metric.update(fake, False, torch.arange(50))
    value, result = metric.compute().item(), metric.result()
    np.save(f"{folder}/{world}-{count}-{rank}.npy", [value, result.fvd, result.dropped])
    dist.destroy_process_group()


@pytest.mark.parametrize(("world", "count", "dropped"), [(1, 50, 0), (2, 50, 0), (3, 50, 2), (3, 0, 1)])
def test_number_of_processes_leaves_no_trace(tmp_path: Path, world: int, count: int, dropped: int) -> None:
    mp.start_processes(_worker, (world, str(tmp_path), count), nprocs=world, start_method="fork")
    expected = filled().compute().item()
    for rank in range(world):
        value, full, lost = np.load(tmp_path / f"{world}-{count}-{rank}.npy")
        assert value == full == expected
        assert lost == dropped

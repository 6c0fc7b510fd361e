"""Sharded tensors on one process: put together they are what was cut up, and others pass as they are.

Two processes are in tests/slow/test_processes.py.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, SingleDeviceStrategy
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from parvideo.training.fsdp import ShardedStrategy, as_local_tensor, check_strategy, gather, place_like


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    """A group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("placement", [Shard(0), Shard(1), Replicate()], ids=str)
def test_what_was_sharded_is_put_together(mesh: DeviceMesh, placement: Shard | Replicate) -> None:
    values = {"weight": torch.randn(5, 3), "step": torch.tensor(7)}
    reference = distribute_tensor(torch.zeros(5, 3), mesh, [placement])
    placed = {
        "weight": place_like(values["weight"], reference),
        "step": place_like(values["step"], values["step"]),
    }
    assert isinstance(placed["weight"], DTensor)
    assert placed["weight"].placements == (placement,)
    assert not isinstance(placed["step"], DTensor)
    again = place_like(placed["weight"], reference)  # what is sharded already stays so
    assert isinstance(again, DTensor)
    whole = gather(placed)
    assert whole.keys() == values.keys()
    for name, value in values.items():
        assert type(whole[name]) is torch.Tensor
        assert torch.equal(whole[name], value)


def test_a_process_that_only_helps_gets_nothing(mesh: DeviceMesh) -> None:
    state = {"weight": distribute_tensor(torch.ones(4), mesh, [Shard(0)]), "step": torch.tensor(7)}
    assert gather(state, keep=False) == {}


def test_numbers_computed_with_shards_become_plain(mesh: DeviceMesh) -> None:
    values = torch.randn(6)
    total = distribute_tensor(values, mesh, [Shard(0)]).sum()
    assert isinstance(total, DTensor)
    assert type(as_local_tensor(total)) is torch.Tensor
    torch.testing.assert_close(as_local_tensor(total), values.sum())
    assert as_local_tensor(values) is values


def test_strategies_that_shard_in_other_ways_are_refused() -> None:
    check_strategy(ShardedStrategy())
    check_strategy(SingleDeviceStrategy("cpu"))
    for other in (FSDPStrategy(), ModelParallelStrategy()):
        with pytest.raises(ValueError, match=f"{type(other).__name__}; to shard .* use 'sharded'"):
            check_strategy(other)

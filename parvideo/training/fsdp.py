"""Sharding: a generator's weights, gradients and optimizer states split over the devices (FSDP)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
    StrategyRegistry,
)
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from parvideo.training.generator import GeneratorModule


class ShardedStrategy(ModelParallelStrategy):
    """PyTorch's FSDP2 over all devices: each block of the transformer is a unit, what is left another.

    Every process must have built the same weights, which `parvideo fit` sees to by its seed. A checkpoint is
    one file that holds everything whole, so that it is the same as without sharding: a run may go on with
    another strategy, or another number of devices, and `parvideo export` reads it.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Start the processes' group and its mesh, which has all devices in its first dimension."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def setup(self, trainer: lightning.Trainer) -> None:
        """Shard the transformer, before optimizers are made for its parameters.

        Raises:
            ValueError: if what is trained is no generator.
        """
        module = self.lightning_module
        if not isinstance(module, GeneratorModule):
            raise ValueError(
                f"trainer.strategy shards generators only, not a {type(module).__name__}, whose weights are "
                "small; use ddp"
            )
        mesh = self.device_mesh["data_parallel"]
        for block in module.transformer.blocks:
            fully_shard(block, mesh=mesh)
        # Not kept whole after a forward pass either: weights are read and exchanged between steps.
        fully_shard(module.transformer, mesh=mesh, reshard_after_forward=True)
        super().setup(trainer)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimizer's state, whole, as the optimizer alone would give it; on the first process only.

        Lightning's own numbers the parameters as the module lists them, an optimizer as its groups do.
        """
        if isinstance(optimizer, LightningOptimizer):
            optimizer = optimizer.optimizer
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state: dict[str, Any] = get_optimizer_state_dict(self._network, optimizer, options=options)
        if not self.is_global_zero:
            return {}
        names = [name for group in state["param_groups"] for name in group["params"]]
        return _renamed(state, {name: number for number, name in enumerate(names)})

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Take weights and optimizer states from a checkpoint, of which nothing is executed; return it."""
        del weights_only
        path = Path(self.broadcast(checkpoint_path))
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_model_state_dict(self._network, checkpoint["state_dict"], options=options)
        names = {parameter: name for name, parameter in self._network.named_parameters()}
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            ordered = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
            renamed = _renamed(state, dict(enumerate(ordered)))
            set_optimizer_state_dict(self._network, optimizer, renamed, options=options)
        return checkpoint

    @property
    def _network(self) -> nn.Module:
        assert self.model is not None
        return self.model


def _renamed(state: Mapping[str, Any], names: Mapping[Any, Any]) -> dict[str, Any]:
    """An optimizer's state dict with other names for the parameters."""
    return {
        "state": {names[name]: value for name, value in state["state"].items()},
        "param_groups": [
            {**group, "params": [names[name] for name in group["params"]]} for group in state["param_groups"]
        ],
    }


StrategyRegistry.register("sharded", ShardedStrategy, description="FSDP2 for parvideo's generators")


def check_strategy(strategy: Strategy) -> None:
    """Refuse strategies that shard in ways that the run's average, checkpoints and export do not follow.

    Raises:
        ValueError: if it is such a strategy.
    """
    others = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)
    if isinstance(strategy, others) and not isinstance(strategy, ShardedStrategy):
        raise ValueError(
            f"trainer.strategy is {type(strategy).__name__}; to shard a generator over devices use 'sharded'"
        )


def gather(state: Mapping[str, Tensor], keep: bool = True) -> dict[str, Tensor]:
    """A state dict with every sharded tensor put together, on the CPU; all processes must call it.

    Args:
        state: tensors, sharded or not; those that are not stay as they are.
        keep: whether this process wants the result; without, it helps the others and gets nothing.
    """
    whole = {}
    for name, value in state.items():
        if isinstance(value, DTensor):
            value = value.full_tensor()
            value = value.cpu() if keep else value
        if keep:
            whole[name] = value
    return whole


def place_like(value: Tensor, reference: Tensor) -> Tensor:
    """A whole tensor, the same in all processes, on ``reference``'s device and sharded as that is."""
    if not isinstance(reference, DTensor) or isinstance(value, DTensor):
        return value.to(reference.device)
    # Each process cuts out its own part: nothing is sent.
    return distribute_tensor(
        value.to(reference.device), reference.device_mesh, reference.placements, src_data_rank=None
    )


def as_local_tensor(value: Tensor) -> Tensor:
    """A number that may be the result of computing with sharded tensors, as an ordinary tensor."""
    whole: Tensor = value.full_tensor() if isinstance(value, DTensor) else value
    return whole

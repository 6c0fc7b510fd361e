"""Devices: a command's processes, one a device, started and kept in step by Lightning Fabric."""

from collections.abc import Sequence
from typing import TypeVar

from lightning import Fabric

Work = TypeVar("Work")


def launch(accelerator: str, devices: int) -> Fabric:
    """Start one process a device through Lightning (torchrun and SLURM are recognised) and return its handle.

    Raises:
        ValueError: if ``devices`` < 1.
    """
    if devices < 1:
        raise ValueError(f"devices is {devices}; it must be at least 1")
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy="auto")
    fabric.launch()
    return fabric


def shard_work(fabric: Fabric, missing: Sequence[Work]) -> list[Work]:
    """This process's part of the work that is missing, which every process must have listed alike.

    Nobody begins, and so makes the others see less missing, before everybody has listed it.
    """
    fabric.barrier()
    return list(missing[fabric.global_rank :: fabric.world_size])

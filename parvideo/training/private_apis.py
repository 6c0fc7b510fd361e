"""All that training takes from Lightning and torch beside their public interfaces, in one place.

An upgrade of either can change it without a word. So `CHECKED_WITH` names the versions that it was checked
with, and tests/training/test_private_apis.py fails where ``constraints.txt`` names others, or where something
used here is gone.
"""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.optim.lr_scheduler import LambdaLR

CHECKED_WITH = {"lightning": "2.6", "torch": "2.13"}
"""The versions of which all this holds."""
SUBCLASSED = {
    "lightning.pytorch.cli.LightningCLI": "_instantiate_trainer",
    "lightning.pytorch.strategies.ModelParallelStrategy": "_data_parallel_size",
}
"""Private members that our subclasses (`FitCLI`, `ShardedStrategy`) use of what they inherit."""


def batches_begun(trainer: lightning.Trainer) -> int:
    """Batches that a run has begun to train on, over all its starts, the present one included."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


def log_step_now(trainer: lightning.Trainer) -> None:
    """Log the step that was just made. Lightning does so after the hook in which it is saved."""
    trainer._logger_connector.update_train_step_metrics()


def set_progress(checkpoint: dict[str, Any], steps: int, batches: int, epochs: int, in_epoch: int) -> None:
    """Rewrite the progress in a checkpoint to what it is right after a whole step.

    Args:
        checkpoint: what Lightning made; changed.
        steps: optimizer steps made.
        batches: that were trained on.
        epochs: that are over.
        in_epoch: batches of the present epoch that were trained on.
    """
    loops = checkpoint["loops"]["fit_loop"]
    # As in a checkpoint that is made at the end of a batch: Lightning completes that batch when it loads.
    loops["epoch_loop.batch_progress"] = {
        "total": {"ready": batches, "started": batches, "processed": batches, "completed": batches - 1},
        "current": {"ready": in_epoch, "started": in_epoch, "processed": in_epoch, "completed": in_epoch - 1},
        "is_last_batch": False,
    }
    begun = {"ready": epochs + 1, "started": epochs + 1, "processed": epochs, "completed": epochs}
    loops["epoch_progress"] = {"total": dict(begun), "current": dict(begun)}
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = steps - 1


def saved_batches(checkpoint: dict[str, Any]) -> int:
    """`batches_begun` when a checkpoint was made."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"])


def set_last_rates(schedule: LambdaLR, rates: Sequence[float | torch.Tensor]) -> None:
    """Let a schedule say, when asked for the last learning rates, that they were these."""
    schedule._last_lr = list(rates)


def storage_key(tensor: torch.Tensor) -> int:
    """Equal for tensors that share their memory; on the meta device too, where all addresses are 0."""
    return tensor.untyped_storage()._cdata


def add_summary(writer: Any, summary: Summary, step: int) -> None:
    """Add a summary to the file of torch's ``SummaryWriter`` that none of its own methods makes."""
    writer._get_file_writer().add_summary(summary, step)

"""A callback that writes down each step's time, memory and figures, and can have the run stopped."""

import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning
import torch

from parvideo.files import write_json


class Watch(lightning.Callback):
    """Writes a file after every step, which is whole at every moment.

    Args:
        path: of the JSON file.
        stop_at: after so many steps send this process SIGTERM, as a cluster does; never if null.
    """

    def __init__(self, path: Path, stop_at: int | None = None) -> None:
        self.path, self.stop_at = Path(path), stop_at
        self.steps: list[dict[str, Any]] = []
        self._begun = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count memory from here."""
        del trainer
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock."""
        del trainer, batch, batch_idx
        _wait(pl_module.device)
        self._begun = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note the step."""
        del outputs, batch, batch_idx
        device = pl_module.device
        _wait(device)
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.steps.append(
            {
                "step": trainer.global_step,
                "seconds": time.perf_counter() - self._begun,
                "finite": all(map(math.isfinite, figures.values())),
                **figures,
            }
        )
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        write_json(self.path, {"steps": self.steps, "peak_bytes": peak})
        if self.stop_at is not None and trainer.global_step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

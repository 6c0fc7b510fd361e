"""Rates of training: samples, tokens and operations a second."""

import time
from collections.abc import Callable
from typing import Any

import lightning
import torch

from parvideo.training.costs import TransformerCosts
from parvideo.training.fsdp import as_local_tensor
from parvideo.training.generator import GeneratorModule


class Throughput(lightning.Callback):
    """Logs the learning rate, samples (and for generators tokens) a second, and the gradient's norm.

    Rates are those of training alone: the time that validation takes does not count. The norm is the one
    before clipping; where a module optimizes, and clips, by itself, it logs that itself.

    Args:
        peak_flops: operations a second that one device can do; with it a generator's MFU is logged, the part
            of it that the model's own operations take (none recomputed, see `parvideo.training.costs`).
        clock: gives the time in seconds.

    Raises:
        ValueError: if ``peak_flops`` is not positive.
    """

    def __init__(self, peak_flops: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        if peak_flops is not None and peak_flops <= 0:
            raise ValueError(f"peak_flops is {peak_flops}; it must be positive, or None if unknown")
        self.peak_flops, self.clock = peak_flops, clock
        self._since = (0, 0.0)
        self._validates_since = 0.0
        self._flops = 0  # of one sample

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        if self.peak_flops is not None and isinstance(pl_module, GeneratorModule):
            self._flops = TransformerCosts.of(
                pl_module.transformer.config, pl_module.orders[0]
            ).training_flops
        self._since = (trainer.global_step, self.clock())

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock."""
        del trainer, pl_module
        self._validates_since = self.clock()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Let the clock go on."""
        del trainer, pl_module
        step, started = self._since
        self._since = (step, started + self.clock() - self._validates_since)

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """The gradient's norm, before it is clipped by the trainer."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if pl_module.automatic_optimization and trainer.global_step % every == every - 1:
            gradients = [
                parameter.grad
                for group in optimizer.param_groups
                for parameter in group["params"]
                if parameter.grad is not None
            ]
            pl_module.log("train/grad_norm", as_local_tensor(torch.nn.utils.get_total_norm(gradients)))

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the rates since the last time they were logged."""
        del outputs, batch_idx
        step, now = trainer.global_step, self.clock()
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if step % every != 0 or step == self._since[0]:
            return
        samples = len(batch["label"]) * trainer.world_size * trainer.accumulate_grad_batches
        rate = samples * (step - self._since[0]) / (now - self._since[1])
        self._since = (step, now)
        pl_module.log("train/lr", trainer.optimizers[0].param_groups[0]["lr"])
        pl_module.log("train/samples_per_s", rate)
        if "tokens" in batch:
            pl_module.log("train/tokens_per_s", rate * batch["tokens"][0].numel())
        if self.peak_flops is not None and self._flops:
            pl_module.log("train/mfu", rate * self._flops / (self.peak_flops * trainer.world_size))

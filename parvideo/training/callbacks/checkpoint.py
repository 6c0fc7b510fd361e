"""Saves a run: every so many steps, at its end, and when it is told to stop."""

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from parvideo.training.checkpoints import list_checkpoints
from parvideo.training.private_apis import batches_begun, log_step_now


class RunCheckpoints(Checkpoint):
    """Saves every ``every`` steps and at the end; the newest ``keep`` stay.

    A checkpoint says that everything up to its step is done. So its step is logged before it is saved; where
    validation follows a step, it is saved after it, and the last one after all else: a run killed in between
    logs, validates, or exports, again.

    Attributes:
        stopped_by: the signal that any process was sent and that stops the run at the end of this step.
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        keep: int = 2,
        stop_signals: Sequence[signal.Signals] = (signal.SIGTERM,),
    ) -> None:
        """Describe when and where.

        Args:
            folder: of the checkpoints.
            every: steps from one to the next.
            keep: how many of the newest stay.
            stop_signals: signals that stop the run at the end of a step.

        Raises:
            ValueError: if ``every`` or ``keep`` is not positive.
        """
        if every < 1 or keep < 1:
            raise ValueError(f"every is {every} and keep {keep}; both must be 1 or more")
        self.folder, self.every, self.keep, self.stop_signals = folder, every, keep, stop_signals
        self.stopped_by: signal.Signals | None = None
        self._saved_at = self._signal_received = 0
        self._due = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count from where the run goes on, and listen for signals.

        In place of Lightning's handler, which talks to the other processes from within the handler and can
        wait for ever. Lightning puts the handlers from before the run back.
        """
        del pl_module
        self._saved_at = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for signum in self.stop_signals:
                signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self._signal_received = max(self._signal_received, signum)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop, if the run was told to at the step before: that step is saved and logged.

        Raises:
            SIGTERMException: if any process was sent one of the signals.
        """
        del trainer, pl_module, batch, batch_idx
        if self.stopped_by is not None:
            raise SIGTERMException

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save if it is time, or the run is to stop, and no validation follows."""
        del pl_module, outputs, batch, batch_idx
        trained = batches_begun(trainer)
        if trained % trainer.accumulate_grad_batches:
            return
        step = trainer.global_step
        own = torch.tensor(self._signal_received, device=trainer.strategy.root_device)
        told = int(trainer.strategy.reduce(own, reduce_op="max"))
        self.stopped_by = signal.Signals(told) if told else None
        due = bool(told) or step // self.every > self._saved_at // self.every
        self._due = due and step < trainer.max_steps
        interval = trainer.val_check_batch if trainer.enable_validation else None
        if self._due and (interval is None or trained % interval != 0):
            # Lightning logs a step after this hook; killed in between, the run would lack that point.
            log_step_now(trainer)
            self._save(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save if it was time at the step before; the trained weights are back in place."""
        del pl_module
        if self._due and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the end of the run, unless the run was at its end before."""
        del pl_module
        self._save(trainer)

    def _save(self, trainer: lightning.Trainer) -> None:
        step, self._due = trainer.global_step, False
        if step != self._saved_at:
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                    logger.experiment.flush()
            trainer.save_checkpoint(self.folder / f"step-{step:08d}.ckpt", weights_only=False)
            self._saved_at = step
            if trainer.is_global_zero:
                for old in list_checkpoints(self.folder)[self.keep :]:
                    old.unlink()

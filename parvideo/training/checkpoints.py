"""Checkpoints: everything a run needs to go on, written in one step, and the newest sound one found again."""

import signal
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from parvideo.files import atomic_path
from parvideo.state_dicts import unpickle

FOLDER = "checkpoints"
DESCRIPTION = "parvideo_model"
"""Where a checkpoint says how to rebuild its model."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path`` in one step.

        Raises:
            OSError: if the disk does not take it; what was at ``path`` stays.
        """
        if storage_options is not None:
            raise ValueError("storage_options are for remote files; checkpoints are local")
        try:
            # Through Python's own file, which says what went wrong with the disk.
            with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:
            cause = error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OSError(cause.errno, cause.strerror, str(path)) from error


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
        self._saved_at = self._told = 0
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
                signal.signal(signum, self._hear)

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self._told = max(self._told, signum)

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
        trained = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        if trained % trainer.accumulate_grad_batches:
            return
        step = trainer.global_step
        own = torch.tensor(self._told, device=trainer.strategy.root_device)
        told = int(trainer.strategy.reduce(own, reduce_op="max"))
        self.stopped_by = signal.Signals(told) if told else None
        due = bool(told) or step // self.every > self._saved_at // self.every
        self._due = due and step < trainer.max_steps
        interval = trainer.val_check_batch if trainer.enable_validation else None
        if self._due and (interval is None or trained % interval != 0):
            # Lightning logs a step after this hook; killed in between, the run would lack that point.
            trainer._logger_connector.update_train_step_metrics()
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


def list_checkpoints(folder: Path) -> list[Path]:
    """A folder's checkpoints, newest first."""
    return sorted(folder.glob("step-*.ckpt"), reverse=True)


def find_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint of a run whose bytes are whole, or None."""
    return next(filter(is_whole, list_checkpoints(run / FOLDER)), None)


def is_whole(path: Path) -> bool:
    """Whether a file is a zip archive, as checkpoints are, whose checksums hold."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    # What a damaged archive's own directory says can be anything.
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError):
        return False


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint of `parvideo fit` holds; nothing in the file is executed.

    Tensors are mapped from the file, not read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or something else.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; a checkpoint is a file, such as {FOLDER}/step-00000100.ckpt")
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        checkpoint = unpickle(path)
    except ValueError as error:
        raise ValueError(f"{path} is damaged or no checkpoint: {error}") from error
    needed = {DESCRIPTION, "state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step"}
    whole = isinstance(checkpoint, dict) and needed <= checkpoint.keys()
    if not whole or not isinstance(checkpoint[DESCRIPTION], dict) or "kind" not in checkpoint[DESCRIPTION]:
        raise ValueError(f"{path} is no checkpoint of `parvideo fit` (it does not say what model it holds)")
    if not is_whole(path):
        raise ValueError(f"{path} is damaged or no checkpoint: its checksums do not hold")
    return checkpoint


@dataclass(frozen=True)
class TrainedModel:
    """The model in a checkpoint.

    Attributes:
        description: its kind, configuration, and what else its folder states.
        own: its weights as trained, by the names of the network's state dict.
        average: their moving average, if the run kept one.
    """

    description: dict[str, Any]
    own: dict[str, Tensor]
    average: dict[str, Tensor] | None


def read_model(path: Path) -> TrainedModel:
    """The model in a checkpoint of `parvideo fit`; nothing in the file is executed.

    Raises:
        ValueError: if it is no such checkpoint.
    """
    checkpoint = read_checkpoint(path)
    description = checkpoint[DESCRIPTION]
    prefix = {"generator": "transformer.", "tokenizer": "tokenizer."}[description["kind"]]
    own = {
        name.removeprefix(prefix): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }
    states = checkpoint.get("callbacks", {}).values()
    average = next((state["average"] for state in states if state.get("average")), None)
    return TrainedModel(description, own, average)

"""Checkpoints: everything a run needs to go on, written in one step, and the newest sound one found again."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
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

"""The model folder of a run."""

from pathlib import Path

import lightning
from torch import Tensor

from parvideo.datasets.clip_format import UNKNOWN
from parvideo.pretrained.folder import save_generator, save_tokenizer
from parvideo.training.callbacks.ema import WeightAverage
from parvideo.training.data import ClipDataModule
from parvideo.training.fsdp import gather
from parvideo.training.generator import GeneratorModule
from parvideo.training.networks import trained_network
from parvideo.training.tokenizer import TokenizerModule


class ModelExport(lightning.Callback):
    """Writes the model folder after each validation and at the end: averaged weights, if there are any."""

    def __init__(self, folder: Path, average: WeightAverage | None = None) -> None:
        self.folder, self.average = folder, average

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Export, except after the sanity check."""
        if not trainer.sanity_checking:
            self._export(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Export the final weights."""
        self._export(trainer, pl_module)

    def _export(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        kept = self.average.average if self.average is not None else trained_network(module).state_dict()
        state = gather(kept, keep=trainer.is_global_zero)
        if trainer.is_global_zero:
            self._write(trainer, module, state)

    def _write(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, state: dict[str, Tensor]
    ) -> None:
        if isinstance(module, GeneratorModule):
            spec = module.spec
            save_generator(
                self.folder,
                module.transformer,
                spec.class_names,
                spec.tokenizer,
                module.orders,
                state,
                spec.clip_format,
            )
        elif isinstance(module, TokenizerModule):
            data = trainer.datamodule  # type: ignore[attr-defined]
            clip_format = data.clip_format if isinstance(data, ClipDataModule) else UNKNOWN
            save_tokenizer(self.folder, module.tokenizer, state, clip_format)

"""rFVD in validation: the Fréchet distance between the validation clips and their reconstructions."""

from functools import cached_property
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from parvideo.metrics import FeatureExtractor, FrechetVideoDistance, I3DExtractor, id_keys
from parvideo.metrics.extractors import i3d_weights


class ReconstructionFVD(lightning.Callback):
    """Logs ``val/rfvd`` of whatever a validation step returns as uint8 clips ``[B, T, H, W, 3]``.

    Args:
        extractor: the feature network; None for the I3D that `parvideo weights i3d` keeps (2 to 4 seconds a
            clip on one core, so validate on few clips there).

    """

    def __init__(self, extractor: FeatureExtractor | None = None) -> None:
        super().__init__()
        self._given = extractor

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """The feature network, loaded when first asked for."""
        return self._given or I3DExtractor(i3d_weights.find(), bn_eps=i3d_weights.BN_EPS)

    @cached_property
    def distance(self) -> FrechetVideoDistance:
        """Of the clips of a validation so far."""
        return FrechetVideoDistance(self.extractor.dim)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Load the network before anything is trained.

        Raises:
            FileNotFoundError: without an extractor where `parvideo weights i3d` has not been run.
        """
        _ = self.extractor

    def on_validation_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Forget the validation before, and follow the module to its device."""
        self.distance.reset()
        self.distance.to(pl_module.device)
        if isinstance(self.extractor, nn.Module):
            self.extractor.to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch, which names its clips in ``id``."""
        if not isinstance(outputs, Tensor):
            raise ValueError(f"{type(pl_module).__name__}.validation_step returned no reconstructions")
        ids = id_keys(batch["id"]).to(pl_module.device)
        with torch.no_grad(), torch.autocast(pl_module.device.type, enabled=False):
            self.distance.update(self.extractor(batch["clip"]), real=True, sample_id=ids)
            self.distance.update(self.extractor(outputs), real=False, sample_id=ids)

    def on_validation_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Log the distance over the whole validation set, on all devices."""
        pl_module.log("val/rfvd", self.distance.compute().float())

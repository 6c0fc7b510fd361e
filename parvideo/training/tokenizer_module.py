"""The Lightning module that trains a tokenizer to reconstruct clips."""

import math
from typing import Any, TypedDict

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from parvideo.clips import to_float
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.quality import CodebookUsage, ReconstructionQuality


class ClipBatch(TypedDict):
    """What a clip data module yields: ``clip`` uint8 ``[B, T, H, W, 3]``, ``label`` ``[B]``, ``id``."""

    clip: Tensor
    label: Tensor
    id: list[str]


class TokenizerModule(lightning.LightningModule):
    """Trains a tokenizer with AdamW and a warm-up + cosine schedule.

    Args:
        tokenizer: what to train.
        lr: learning rate at the end of the warm-up.
        betas: AdamW's.
        weight_decay: AdamW's.
        warmup_steps: steps over which the learning rate rises from 0.
        final_lr: the learning rate at the end, as a part of ``lr``.
        max_steps: length of the schedule; by default the trainer's.
        clip_gradients: largest norm of the gradient; 0 for no clipping. (The trainer's own setting does not
            work with manual optimization.)
        l1_weight: weight of the mean absolute error.
        mse_weight: weight of the mean squared error.
    """

    def __init__(
        self,
        tokenizer: CausalVideoTokenizer,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        warmup_steps: int = 100,
        final_lr: float = 0.02,
        max_steps: int | None = None,
        clip_gradients: float = 1.0,
        l1_weight: float = 1.0,
        mse_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if lr <= 0:
            raise ValueError(f"lr must be positive, got {lr}")
        if l1_weight < 0 or mse_weight < 0 or l1_weight + mse_weight == 0:
            raise ValueError(
                f"l1_weight and mse_weight must be 0 or more and not both 0, got {l1_weight}, {mse_weight}"
            )
        if warmup_steps < 0 or clip_gradients < 0:
            raise ValueError(
                f"warmup_steps and clip_gradients must be 0 or more, got {warmup_steps}, {clip_gradients}"
            )
        self.automatic_optimization = False
        self.tokenizer = tokenizer
        self.lr, self.betas, self.weight_decay = lr, betas, weight_decay
        self.warmup_steps, self.final_lr, self.max_steps = warmup_steps, final_lr, max_steps
        self.clip_norm = clip_gradients
        self.l1_weight, self.mse_weight = l1_weight, mse_weight
        self.quality = ReconstructionQuality()
        self.usage = CodebookUsage(tokenizer.codebook_size)

    def training_step(self, batch: ClipBatch, batch_index: int) -> None:
        clips = to_float(batch["clip"])
        reconstruction = self.tokenizer(clips)
        l1 = F.l1_loss(reconstruction.clips, clips)
        mse = F.mse_loss(reconstruction.clips, clips)
        loss = self.l1_weight * l1 + self.mse_weight * mse + reconstruction.aux_loss
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.clip_norm:
            self.clip_gradients(optimizer.optimizer, self.clip_norm, gradient_clip_algorithm="norm")
        optimizer.step()
        schedule = self.lr_schedulers()
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
        schedule.step()
        self.log_dict({"train/loss": loss, "train/l1": l1, "train/mse": mse}, batch_size=len(clips))
        self.log("train/aux_loss", reconstruction.aux_loss, batch_size=len(clips))
        self.log("train/loss_bar", loss, prog_bar=True, logger=False, batch_size=len(clips))

    def validation_step(self, batch: ClipBatch, batch_index: int) -> None:
        clips = to_float(batch["clip"])
        reconstruction = self.tokenizer(clips)
        self.quality.update(reconstruction.clips, clips)
        self.usage.update(reconstruction.ids)

    def on_validation_epoch_end(self) -> None:
        figures = self.quality.compute() | self.usage.compute()
        self.log_dict({f"val/{name}": value for name, value in figures.items()})
        self.quality.reset()
        self.usage.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.AdamW(
            self.tokenizer.parameters(), lr=self.lr, betas=self.betas, weight_decay=self.weight_decay
        )
        steps = self.max_steps or int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, steps, self.warmup_steps, self.final_lr)
        )
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how to rebuild the tokenizer, so that the checkpoint can be exported without its YAML."""
        checkpoint["tokenizer"] = {
            "class_name": type(self.tokenizer).__name__,
            "config": self.tokenizer.config,
        }


def warmup_cosine(step: int, steps: int, warmup_steps: int, final: float) -> float:
    """The learning rate's factor: a line from 0 over ``warmup_steps``, then half a cosine to ``final``."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2

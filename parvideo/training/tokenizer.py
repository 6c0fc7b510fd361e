"""The Lightning module that trains a tokenizer to reconstruct clips."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import lightning
import torch
from lightning.fabric.loggers.logger import Logger
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from parvideo.checks import check_seed, place_seed, whole_number
from parvideo.metrics.reconstruction import CodebookUsage, ReconstructionQuality
from parvideo.pixels import to_float, to_uint8
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.autoencoder import Reconstruction
from parvideo.tokenizer.losses import PerceptualLoss, motion_weights
from parvideo.tokenizer.mobilenet import MobileNetFeatureLoss
from parvideo.tokenizer.quantizers import FSQ
from parvideo.training.adversary import Adversary
from parvideo.training.initial_weights import start_from
from parvideo.training.media import add_level_histograms, add_side_by_side, takes_media
from parvideo.training.schedules import warmup_cosine


class ClipBatch(TypedDict):
    """What a clip data module yields: ``clip`` uint8 ``[B, T, H, W, 3]``, ``label`` ``[B]``, ``id``."""

    clip: Tensor
    label: Tensor
    id: list[str]


class TokenizerModule(lightning.LightningModule):
    """Trains a tokenizer with AdamW and a warm-up + cosine schedule; optionally against a discriminator.

    Optimization is manual, for there may be two optimizers. The trainer's step count is the number of
    batches: the discriminator's steps are not counted. Use of random numbers depends on ``seed`` and the
    step alone, so a run that resumes goes on as if it had not stopped.

    Args:
        tokenizer: what to train.
        lr: learning rate at the end of the warm-up.
        betas: AdamW's.
        weight_decay: AdamW's.
        warmup_steps: steps over which the learning rate rises from 0.
        final_lr: the learning rate at the end, as a part of ``lr``.
        max_steps: length of the schedule; the trainer's own if null.
        clip_gradients: largest norm of the gradient; 0 for no clipping. (The trainer's own setting does not
            work with manual optimization.)
        l1_weight: weight of the mean absolute error.
        mse_weight: weight of the mean squared error.
        hard_clips: how much more the batch's badly reconstructed clips count: a clip's weight in L1 and MSE
            is its MSE to this power, over the batch's mean. 0 counts all alike.
        motion_share: the part of a clip's weight in L1 and MSE, 0 to 1, that goes to its pixels by how much
            they change between frames, so that a small object that moves is not outvoted by still ground.
        perceptual: LPIPS with weights the user brings, or `MobileNetFeatureLoss`, whose weights
            `parvideo weights mobilenet` fetches; none without.
        perceptual_weight: its weight.
        perceptual_frames: how many random frames of a clip it looks at.
        adversary: a discriminator and its schedule; none without.
        image_ratio: the part of steps that train on single frames of the batch's clips.
        side_by_side: how many validation clips to show in the logs beside their reconstruction.
        init_from: a model folder whose weights training starts from; random ones without.
        decoder_only: train the decoder and leave encoder and quantizer as ``init_from`` has them, so that
            every clip keeps its tokens: a decoder for a generator that is trained already. It may have
            another form than the folder's (the preset light after base), and then starts from random weights.
        seed: of the random frames and of which steps are image steps.
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
        hard_clips: float = 0.0,
        motion_share: float = 0.0,
        perceptual: PerceptualLoss | MobileNetFeatureLoss | None = None,
        perceptual_weight: float = 0.1,
        perceptual_frames: int = 2,
        adversary: Adversary | None = None,
        image_ratio: float = 0.0,
        side_by_side: int = 4,
        init_from: Path | None = None,
        decoder_only: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if lr <= 0:
            raise ValueError(f"lr must be positive, got {lr}")
        if max_steps is not None:
            whole_number(max_steps, "max_steps", least=1)
        if l1_weight + mse_weight <= 0:
            raise ValueError(f"l1_weight + mse_weight must be positive, got {l1_weight} + {mse_weight}")
        for name, value in (
            ("warmup_steps", warmup_steps),
            ("clip_gradients", clip_gradients),
            ("l1_weight", l1_weight),
            ("mse_weight", mse_weight),
            ("hard_clips", hard_clips),
            ("perceptual_weight", perceptual_weight),
            ("side_by_side", side_by_side),
        ):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")
        if perceptual_frames < 1:
            raise ValueError(f"perceptual_frames must be at least 1, got {perceptual_frames}")
        if not 0 <= motion_share <= 1:
            raise ValueError(f"motion_share must be in [0, 1], got {motion_share}")
        if not 0 <= image_ratio < 1:
            raise ValueError(f"image_ratio must be in [0, 1), got {image_ratio}")
        if decoder_only and init_from is None:
            raise ValueError(
                "decoder_only trains a decoder for an encoder that is trained: give init_from too"
            )
        if decoder_only and image_ratio:
            raise ValueError(f"image_ratio must be 0 with decoder_only, got {image_ratio}")
        self.automatic_optimization = False
        self.tokenizer = tokenizer
        self.init_from, self.decoder_only, self._started = init_from, decoder_only, False
        self.lr, self.betas, self.weight_decay = lr, betas, weight_decay
        self.warmup_steps, self.final_lr, self.max_steps = warmup_steps, final_lr, max_steps
        self.clip_norm = clip_gradients
        self.l1_weight, self.mse_weight, self.hard_clips = l1_weight, mse_weight, hard_clips
        self.motion_share = motion_share
        self.perceptual, self.perceptual_weight = perceptual, perceptual_weight
        self.perceptual_frames = perceptual_frames
        self.adversary = adversary
        self.image_ratio, self.side_by_side, self.seed = image_ratio, side_by_side, check_seed(seed)
        self.quality = ReconstructionQuality()
        self.usage = CodebookUsage(tokenizer.codebook_size)

    def configure_model(self) -> None:
        """Take the weights to start from; a checkpoint's, if the run goes on, come after."""
        if self.init_from is not None and not self._started:
            start_from(self.tokenizer, self.init_from, new_decoder=self.decoder_only)
            self._started = True
        if self.decoder_only:
            for part in (self.tokenizer.encoder, self.tokenizer.quantizer):
                part.requires_grad_(False)

    def on_train_start(self) -> None:
        """Hold still a quantizer that is not to train: a codebook by moving averages learns by itself."""
        if self.decoder_only:
            self.tokenizer.quantizer.eval()

    def on_fit_start(self) -> None:
        """Say what is off, and refuse what would go wrong silently."""
        if self.perceptual is None:
            rank_zero_info("No perceptual loss: none is given (model.init_args.perceptual).")
        if self.trainer.precision == "16-mixed":  # which scales gradients, and would have them clipped so
            raise ValueError("precision must not be '16-mixed' for a tokenizer; use 'bf16-mixed' or 32")
        if self.trainer.precision in ("bf16-true", "16-true"):
            raise ValueError(
                f"precision is {self.trainer.precision!r}; a tokenizer's weights, and so its tokens, take "
                "float32: use 'bf16-mixed'"
            )

    def training_step(self, batch: ClipBatch, batch_index: int) -> None:
        """One step of the tokenizer and, from its start on, one of the discriminator."""
        step = self.trainer.global_step
        generator = torch.Generator().manual_seed(place_seed(self.seed, step))
        clips = to_float(batch["clip"])
        if self.image_ratio and float(torch.rand((), generator=generator)) < self.image_ratio:
            clips = self.images(clips, generator)
        optimizers, schedules = self._optimizers()
        # Otherwise the adversarial loss would leave gradients, and cost time, in the discriminator.
        self.toggle_optimizer(optimizers[0])
        reconstructions = self._train_tokenizer(clips, optimizers[0], step, generator)
        self.untoggle_optimizer(optimizers[0])
        schedules[0].step()
        if self.adversary is not None and step >= self.adversary.start:
            self.toggle_optimizer(optimizers[1])
            self._train_discriminator(self.adversary, clips, reconstructions, optimizers[1], generator)
            self.untoggle_optimizer(optimizers[1])

    def images(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """As many random frames of each clip as it has latent frames, each a clip of one frame.

        Args:
            clips: float ``[B, 3, T, H, W]``.
            generator: where the choice comes from.

        Returns:
            float ``[B * t, 3, 1, H, W]``.
        """
        frames = clips.shape[2]
        count = self.tokenizer.latent_grid((frames, clips.shape[3], clips.shape[4]))[0]
        chosen = torch.randperm(frames, generator=generator)[:count].to(clips.device)
        return clips.index_select(2, chosen).transpose(1, 2).flatten(0, 1).unsqueeze(2)

    def pixel_loss(self, reconstructions: Tensor, clips: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What reconstructions ``[B, 3, T, H, W]`` cost for their pixels, and plain ``l1`` and ``mse``."""
        difference = reconstructions - clips
        l1, mse = difference.abs().flatten(1).mean(dim=1), difference.square().flatten(1).mean(dim=1)  # [B]
        weights = mse.detach() ** self.hard_clips
        weights = weights / weights.mean().clamp(min=torch.finfo(weights.dtype).tiny)
        errors = self.l1_weight * l1 + self.mse_weight * mse
        if self.motion_share:
            pixels = self.l1_weight * difference.abs() + self.mse_weight * difference.square()
            by_motion = (pixels * motion_weights(clips)).flatten(1).mean(dim=1)
            errors = (1 - self.motion_share) * errors + self.motion_share * by_motion
        return (errors * weights).mean(), {"l1": l1.mean(), "mse": mse.mean()}

    def reconstruct(self, clips: Tensor) -> Reconstruction:
        """What the losses look at: one pass of clips ``[B, 3, T, H, W]``.

        With ``decoder_only`` the tokens are those that `parvideo tokenize` gives, so in float32.
        """
        if not self.decoder_only:
            reconstruction: Reconstruction = self.tokenizer(clips)
            return reconstruction
        with torch.no_grad(), torch.autocast(clips.device.type, enabled=False):
            ids = self.tokenizer.encode(clips)
            codes = self.tokenizer.quantizer.ids_to_codes(ids)
        return Reconstruction(self.tokenizer.decode_codes(codes), ids, clips.new_zeros(()))

    def _train_tokenizer(
        self, clips: Tensor, optimizer: LightningOptimizer, step: int, generator: torch.Generator
    ) -> Tensor:
        reconstruction = self.reconstruct(clips)
        error, figures = self.pixel_loss(reconstruction.clips, clips)
        loss = error + reconstruction.aux_loss
        figures["aux_loss"] = reconstruction.aux_loss
        if self.perceptual is not None:
            chosen = torch.randint(clips.shape[2], (self.perceptual_frames,), generator=generator)
            distance = self.perceptual(
                _frames(reconstruction.clips, chosen.to(clips.device)),
                _frames(clips, chosen.to(clips.device)),
            )
            loss = loss + self.perceptual_weight * distance
            figures["perceptual"] = distance
        gan_weight = self.adversary.weight_at(step) if self.adversary is not None else 0.0
        if self.adversary is not None and gan_weight:
            frames = self.adversary.discriminator.choose_frames(clips, generator)
            adversarial = self.adversary.generator_loss(reconstruction.clips, frames)
            loss = loss + gan_weight * adversarial
            figures |= {"adversarial": adversarial}
        optimizer.zero_grad()
        self.manual_backward(loss)
        figures["grad_norm"] = self._clip(optimizer)
        optimizer.step()
        self._log(figures | {"loss": loss}, len(clips))
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=len(clips))
        return reconstruction.clips.detach()

    def _train_discriminator(
        self,
        adversary: Adversary,
        clips: Tensor,
        reconstructions: Tensor,
        optimizer: LightningOptimizer,
        generator: torch.Generator,
    ) -> None:
        frames = adversary.discriminator.choose_frames(clips, generator)
        loss, figures = adversary.discriminator_loss(clips, reconstructions, frames)
        optimizer.zero_grad()
        self.manual_backward(loss)
        figures["grad_norm"] = self._clip(optimizer)
        # Of all devices' clips: each by its own would step on some devices alone, and weights drift apart.
        figures["hinge"] = self.trainer.strategy.reduce(figures["hinge"], reduce_op="mean")
        if figures["hinge"] >= adversary.skip_below:
            # The raw optimizer: Lightning's wrapper would count this as another step of the training.
            optimizer.optimizer.step()
        self._log({f"discriminator_{name}": value for name, value in figures.items()}, len(clips))

    def _clip(self, optimizer: LightningOptimizer) -> Tensor:
        """Clip the gradient's norm; return what it was before."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if self.clip_norm:
            return torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

    def validation_step(self, batch: ClipBatch, batch_index: int) -> Tensor:
        """Add a batch to the figures, show its first clips; return uint8 reconstructions, for callbacks."""
        clips = to_float(batch["clip"])
        reconstruction = self.tokenizer(clips)
        self.quality.update(reconstruction.clips, clips)
        self.usage.update(reconstruction.ids)
        made = to_uint8(reconstruction.clips)
        if batch_index == 0 and self.side_by_side and self._shown_in():
            real, shown = batch["clip"][: self.side_by_side], made[: self.side_by_side]
            add_side_by_side(self._shown_in(), "val/real_and_reconstructed", real, shown, self.global_step)
        return made

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the whole validation set."""
        figures = self.quality.compute() | self.usage.compute()
        counts = figures.pop("counts")
        known = {name: value for name, value in figures.items() if not torch.isnan(value)}
        self.log_dict({f"val/{name}": value for name, value in known.items()})
        quantizer = self.tokenizer.quantizer
        if isinstance(quantizer, FSQ):
            add_level_histograms(self._shown_in(), quantizer, counts, self.global_step)
        self.quality.reset()
        self.usage.reset()

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """AdamW for the tokenizer with its schedule, and for the discriminator at a constant rate."""
        trained = [parameter for parameter in self.tokenizer.parameters() if parameter.requires_grad]
        main = AdamW(trained, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay)
        steps = self.trainer.max_steps if self.max_steps is None else self.max_steps
        schedule = LambdaLR(main, lambda step: warmup_cosine(step, steps, self.warmup_steps, self.final_lr))
        optimizers: list[Optimizer] = [main]
        if self.adversary is not None:
            parameters = self.adversary.discriminator.parameters()
            optimizers.append(AdamW(parameters, lr=self.adversary.lr, betas=self.adversary.betas))
        return optimizers, [schedule]

    def _optimizers(self) -> tuple[Sequence[LightningOptimizer], Sequence[LRScheduler]]:
        optimizers, schedules = self.optimizers(), self.lr_schedulers()
        return (
            optimizers if isinstance(optimizers, list) else [optimizers],
            schedules if isinstance(schedules, list) else [schedules],  # type: ignore[list-item]
        )

    def _shown_in(self) -> list[Logger]:
        """The loggers to show pictures in; not in the check before training, nor in other processes."""
        if not self.trainer.is_global_zero or self.trainer.sanity_checking:
            return []
        return [logger for logger in self.loggers if takes_media(logger)]

    def _log(self, figures: dict[str, Tensor], batch_size: int) -> None:
        self.log_dict({f"train/{name}": value for name, value in figures.items()}, batch_size=batch_size)


def _frames(clips: Tensor, chosen: Tensor) -> Tensor:
    """Chosen frames ``[k]`` of clips ``[B, 3, T, H, W]`` as images ``[B * k, 3, H, W]``."""
    return clips.index_select(2, chosen).transpose(1, 2).flatten(0, 1)

"""The adversarial part of tokenizer training: the discriminator's loss, its schedule, and its weight."""

import torch
from torch import Tensor, nn

from parvideo.tokenizer.discriminator import ClipDiscriminator
from parvideo.tokenizer.losses import LeCAM, discriminator_hinge, generator_hinge


class Adversary(nn.Module):
    """A discriminator and how it is used.

    From step ``start`` on the discriminator trains alone; after ``warmup_steps`` more its loss enters
    the tokenizer's loss, with a weight that rises from 0 to ``weight`` over ``ramp_steps``.

    Args:
        discriminator: what tells real clips from reconstructions.
        weight: of the adversarial loss once the ramp is over. At 0.03 its gradient at the decoder's last
            weights is as large as the pixels' for the tiny preset (docs/tokenizer.md); other losses and
            sizes want another.
        start: step at which the discriminator begins to train.
        warmup_steps: steps for which it trains alone.
        ramp_steps: steps over which its weight rises.
        lecam_weight: of the LeCAM regulariser; 0 for none.
        skip_below: the discriminator takes no step while its hinge loss is below this, so that it does not
            run away from the tokenizer.
        lr: the discriminator's learning rate, constant.
        betas: of the discriminator's AdamW.
    """

    def __init__(
        self,
        discriminator: ClipDiscriminator,
        weight: float = 0.03,
        start: int = 0,
        warmup_steps: int = 1000,
        ramp_steps: int = 1000,
        lecam_weight: float = 0.05,
        skip_below: float = 0.05,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.9),
    ) -> None:
        super().__init__()
        for name, value in (
            ("weight", weight),
            ("start", start),
            ("warmup_steps", warmup_steps),
            ("ramp_steps", ramp_steps),
            ("lecam_weight", lecam_weight),
            ("skip_below", skip_below),
        ):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")
        if lr <= 0:
            raise ValueError(f"lr must be positive, got {lr}")
        self.discriminator = discriminator
        self.weight, self.start = weight, start
        self.warmup_steps, self.ramp_steps = warmup_steps, ramp_steps
        self.lecam_weight, self.skip_below = lecam_weight, skip_below
        self.lr, self.betas = lr, betas
        self.lecam = LeCAM()

    def weight_at(self, step: int) -> float:
        """The weight of the adversarial loss in the tokenizer's loss at a step."""
        ramped = step - self.start - self.warmup_steps
        if ramped < 0:
            return 0.0
        return self.weight * min(1.0, (ramped + 1) / (self.ramp_steps + 1))

    def generator_loss(self, reconstructions: Tensor, frames: Tensor) -> Tensor:
        """What the tokenizer minimises: reconstructions ``[B, 3, T, H, W]``, frames for the 2D one."""
        return generator_hinge(self.discriminator(reconstructions, frames))

    def discriminator_loss(
        self, clips: Tensor, reconstructions: Tensor, frames: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminator minimises, and figures to log.

        Args:
            clips: real ones, ``[B, 3, T, H, W]``.
            reconstructions: of the same shape; no gradient flows into them.
            frames: int64 ``[k]``, for the 2D discriminator.

        Returns:
            The loss, and ``hinge``, ``lecam``, and the mean scores ``real`` and ``fake``.
        """
        real = self.discriminator(clips, frames)
        fake = self.discriminator(reconstructions.detach(), frames)
        hinge, lecam = discriminator_hinge(real, fake), self.lecam(real, fake)
        figures = {
            "hinge": hinge.detach(),
            "lecam": lecam.detach(),
            "real": torch.stack([scores.mean() for scores in real]).mean().detach(),
            "fake": torch.stack([scores.mean() for scores in fake]).mean().detach(),
        }
        return hinge + self.lecam_weight * lecam, figures

"""Losses of tokenizer training beyond pixel errors: perceptual distance, hinge losses, LeCAM."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvideo.files import AnyPath
from parvideo.state_dicts import read_state

# Widths of VGG-16's convolutions, in stages that end where LPIPS looks.
VGG_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


STILL = 0.02
"""A change between frames, in pixel units of [-1, 1], that is as likely noise as motion: 2.5 grey levels."""


def motion_weights(clips: Tensor) -> Tensor:
    """How much each pixel of a clip counts by its motion: ``[B, 1, T, H, W]``, of mean 1 over every clip.

    A pixel's motion is its larger change to the frame before or after, averaged over colours. Where nothing
    moves (in a clip of one frame, too), all pixels count 1.

    Args:
        clips: float ``[B, 3, T, H, W]`` in [-1, 1].
    """
    change = clips.diff(dim=2).abs().mean(dim=1, keepdim=True)  # [B, 1, T - 1, H, W]
    since, until = F.pad(change, (0, 0, 0, 0, 1, 0)), F.pad(change, (0, 0, 0, 0, 0, 1))
    motion = torch.maximum(since, until) + STILL
    return motion / motion.mean(dim=(1, 2, 3, 4), keepdim=True)


class PerceptualLoss(nn.Module):
    """LPIPS (Zhang et al., arXiv 1801.03924) with VGG-16, from weights the user brings.

    parvideo ships no weights and downloads none. ``vgg`` is torchvision's ``vgg16-397923af.pth`` and
    ``linear`` the LPIPS package's ``weights/v0.1/vgg.pth``. The weights are frozen, and are not part of
    state dicts.

    Raises:
        ValueError: if a file lacks a tensor of the network or has it in another shape.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, vgg: AnyPath, linear: AnyPath) -> None:
        super().__init__()
        shapes: dict[str, list[int]] = {}
        self._stages: list[list[str]] = []
        channels, index = 3, 0
        for widths in VGG_STAGES:
            stage = []
            for width in widths:
                name = f"features.{index}"
                shapes |= {f"{name}.weight": [width, channels, 3, 3], f"{name}.bias": [width]}
                stage.append(name)
                channels, index = width, index + 2  # torchvision counts each ReLU as a layer,
            self._stages.append(stage)
            index += 1  # and each pooling
        self._weights = self._register(_read_weights(vgg, shapes))
        self._weights |= self._register(
            _read_weights(
                linear,
                {f"lin{i}.model.1.weight": [1, widths[-1], 1, 1] for i, widths in enumerate(VGG_STAGES)},
            )
        )
        # ImageNet's statistics, for images in [-1, 1], to the digits that LPIPS uses.
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Mean distance of images, float ``[B, 3, H, W]`` in [-1, 1]; H and W at least 16."""
        x, y = (images - self.shift) / self.scale, (targets - self.shift) / self.scale
        total = images.new_zeros(())
        for number, stage in enumerate(self._stages):
            x, y = self._stage(stage, x, pool=number > 0), self._stage(stage, y, pool=number > 0)
            linear = self._weight(f"lin{number}.model.1.weight")
            total = total + F.conv2d((_unit(x) - _unit(y)).square(), linear).mean()
        return total

    def _stage(self, stage: Sequence[str], x: Tensor, pool: bool) -> Tensor:
        if pool:
            x = F.max_pool2d(x, 2)
        for name in stage:
            x = F.relu(F.conv2d(x, self._weight(f"{name}.weight"), self._weight(f"{name}.bias"), padding=1))
        return x

    def _register(self, weights: dict[str, Tensor]) -> dict[str, str]:
        names = {name: name.replace(".", "_") for name in weights}
        for name, buffer in names.items():
            self.register_buffer(buffer, weights[name], persistent=False)
        return names

    def _weight(self, name: str) -> Tensor:
        return self.get_buffer(self._weights[name])


class LeCAM(nn.Module):
    """The LeCAM regulariser (Tseng et al., arXiv 2104.03310): keeps a discriminator's scores of real clips
    near its running mean score of fake ones, and the reverse, so that it cannot run away on little data.

    Args:
        decay: of the running means.
    """

    real_mean: Tensor
    fake_mean: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.register_buffer("real_mean", torch.zeros(()))
        self.register_buffer("fake_mean", torch.zeros(()))

    def forward(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """Move the running means by these scores ``[B, patches]``, and return the regulariser."""
        with torch.no_grad():
            self.real_mean.lerp_(_mean(real), 1 - self.decay)
            self.fake_mean.lerp_(_mean(fake), 1 - self.decay)
        above = [F.relu(scores - self.fake_mean).square() for scores in real]
        below = [F.relu(self.real_mean - scores).square() for scores in fake]
        return _mean(above) + _mean(below)


def discriminator_hinge(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The discriminator's hinge loss (Lim and Ye, arXiv 1705.02894), averaged over discriminators.

    0 when every real score is above 1 and every fake one below -1; 1 when all scores are 0.
    """
    return (_mean([F.relu(1 - s) for s in real]) + _mean([F.relu(1 + s) for s in fake])) / 2


def generator_hinge(fake: Sequence[Tensor]) -> Tensor:
    """The generator's loss: minus the mean score of its clips."""
    return -_mean(fake)


def _mean(scores: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.mean() for part in scores]).mean()


def _unit(features: Tensor) -> Tensor:
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)


def _read_weights(path: AnyPath, shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    state = read_state(path)
    for name, shape in shapes.items():
        found = list(state[name].shape) if name in state else "nothing of that name"
        if found != shape:
            raise ValueError(f"{path} must hold {name} {shape}, found {found}")
    return {name: state[name].float() for name in shapes}

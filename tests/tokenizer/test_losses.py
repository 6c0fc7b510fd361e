from pathlib import Path

import pytest
import torch
from torch import Tensor

from parvideo.tokenizer.losses import (
    LeCAM,
    PerceptualLoss,
    discriminator_hinge,
    generator_hinge,
    motion_weights,
)

VGG_LAYERS = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256),
    17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512),
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Random weights in the two files' own layout (torchvision's VGG-16, and LPIPS's linear layers)."""
    folder = tmp_path_factory.mktemp("lpips")
    torch.manual_seed(0)
    vgg: dict[str, Tensor] = {"classifier.0.weight": torch.zeros(1)}
    for index, (outer, inner) in VGG_LAYERS.items():
        vgg[f"features.{index}.weight"] = torch.randn(outer, inner, 3, 3) * (2 / inner / 9) ** 0.5
        vgg[f"features.{index}.bias"] = torch.zeros(outer)
    linear = {
        f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate((64, 128, 256, 512, 512))
    }
    torch.save(vgg, folder / "vgg.pth")
    torch.save(linear, folder / "linear.pth")
    return folder / "vgg.pth", folder / "linear.pth"


def test_perceptual_distance(weights: tuple[Path, Path]) -> None:
    loss = PerceptualLoss(*weights)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    assert float(loss(images, images)) == 0
    near = (images + 0.05 * torch.randn_like(images)).requires_grad_()
    far = images + 0.5 * torch.randn_like(images)
    assert 0 < float(loss(near, images).detach()) < float(loss(far, images))
    torch.testing.assert_close(loss(far, images), loss(images, far))
    (gradient,) = torch.autograd.grad(loss(near, images), near)
    assert gradient.abs().sum() > 0


def test_perceptual_weights_are_neither_trained_nor_saved(weights: tuple[Path, Path]) -> None:
    loss = PerceptualLoss(*weights)
    assert not list(loss.parameters())
    assert not loss.state_dict()
    assert sum(buffer.numel() for buffer in loss.buffers()) == 14_714_688 + 1472 + 6


def test_perceptual_weights_must_fit(weights: tuple[Path, Path], tmp_path: Path) -> None:
    vgg, linear = weights
    with pytest.raises(ValueError, match=r"must hold features.0.weight \[64, 3, 3, 3\], found nothing"):
        PerceptualLoss(linear, linear)
    state = torch.load(linear)
    torch.save(state | {"lin2.model.1.weight": torch.zeros(1, 1)}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"lin2.model.1.weight \[1, 256, 1, 1\], found \[1, 1\]"):
        PerceptualLoss(vgg, tmp_path / "bad.pth")


def test_hinge_losses() -> None:
    zeros, ones = torch.zeros(2, 4), torch.ones(2, 4)
    assert float(discriminator_hinge([zeros], [zeros])) == 1
    assert float(discriminator_hinge([ones], [-ones])) == 0
    assert float(discriminator_hinge([2 * ones, zeros], [-2 * ones, zeros])) == 0.5
    assert float(generator_hinge([ones, 3 * ones])) == -2


def test_lecam_follows_the_scores_and_pulls_outliers_back() -> None:
    lecam = LeCAM(decay=0.5)
    real, fake = torch.full((2, 3), 2.0), torch.full((2, 3), -2.0, requires_grad=True)
    value = lecam([real], [fake])
    assert float(lecam.real_mean) == 1
    assert float(lecam.fake_mean) == -1
    assert float(value.detach()) == 3**2 + 3**2
    (gradient,) = torch.autograd.grad(value, fake)
    assert (gradient < 0).all()  # descent raises the fake scores towards the real mean
    assert set(lecam.state_dict()) == {"real_mean", "fake_mean"}
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1"):
        LeCAM(decay=1)


def test_motion_weights_are_a_clips_own_and_of_mean_one() -> None:
    clips = torch.rand(3, 3, 5, 8, 8) * 2 - 1
    clips[1] = clips[1, :, :1]  # stands still
    weights = motion_weights(clips)
    assert weights.shape == (3, 1, 5, 8, 8)
    torch.testing.assert_close(weights.mean(dim=(1, 2, 3, 4)), torch.ones(3))
    torch.testing.assert_close(weights[1], torch.ones(1, 5, 8, 8))
    torch.testing.assert_close(motion_weights(clips[2:]), weights[2:])
    torch.testing.assert_close(motion_weights(clips[:, :, :1]), torch.ones(3, 1, 1, 8, 8))  # images

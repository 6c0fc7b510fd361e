"""A small video classifier whose features give a Fréchet distance where no published weights are at hand.

It follows I3D in kind (3D convolutions, batch normalisation, features averaged over space and time before the
classifier) but is trained in a minute on the very data it scores. An FVD from it is NOT comparable with
published FVD; `SmallI3DExtractor.comparability` says so in every report.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from parvideo.files import AnyPath, atomic_path, read_json, write_json
from parvideo.metrics.extractors.i3d import check_batch
from parvideo.metrics.extractors.resize import resize
from parvideo.pixels import TensorLike, as_tensor, to_float
from parvideo.state_dicts import read_safetensors

KIND = "parvideo-small-i3d"


class SmallI3D(nn.Module):
    """3D convolutional classifier for small clips: four stages, halving space and widening channels.

    Args:
        num_classes: outputs of the classifier.
        width: channels of the first stage; features are 4 x ``width`` wide.

    Raises:
        ValueError: if ``num_classes`` < 2 or ``width`` < 1.
    """

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2")
        if width < 1:
            raise ValueError(f"width is {width}; it must be at least 1")
        self.num_classes, self.width, self.feature_dim = num_classes, width, 4 * width
        self.stem = _Stage(3, width, kernel=(3, 5, 5), stride=(1, 2, 2))
        self.stages = nn.Sequential(
            _Stage(width, 2 * width, kernel=(3, 3, 3), stride=(2, 2, 2)),
            _Stage(2 * width, 3 * width, kernel=(3, 3, 3), stride=(1, 1, 1)),
            _Stage(3 * width, 4 * width, kernel=(3, 3, 3), stride=(2, 2, 2)),
        )
        self.classifier = nn.Linear(self.feature_dim, num_classes)

    def features(self, clips: Tensor) -> Tensor:
        """Features ``[B, 4 width]`` of float clips ``[B, 3, T, H, W]`` in [-1, 1]."""
        return self.stages(self.stem(clips)).mean((2, 3, 4))

    def forward(self, clips: Tensor) -> Tensor:
        """Class logits ``[B, num_classes]`` of float clips ``[B, 3, T, H, W]`` in [-1, 1]."""
        logits: Tensor = self.classifier(self.features(clips))
        return logits


class SmallI3DExtractor(nn.Module):
    """Feature extractor and classifier around a trained `SmallI3D`; always in eval mode.

    Args:
        network: a trained classifier.
        frames: frames of the clips it was trained on; reported, not enforced beyond ``min_frames``.
        size: height and width of those clips; clips of another size are resized to it (antialiased).
    """

    min_frames = 9
    comparability = (
        "The features come from a small network trained on this very data, not from the Kinetics-400 I3D: "
        "this FVD is not comparable with any published FVD. Compare it only with numbers that carry the same "
        "feature fingerprint."
    )

    def __init__(self, network: SmallI3D, frames: int, size: int) -> None:
        super().__init__()
        self.network = network.eval()
        self.network.requires_grad_(False)
        self.dim = network.feature_dim
        self.frames, self.size = frames, size

    @property
    def fingerprint(self) -> str:
        """Hash of architecture and weights: equal fingerprints give equal features."""
        digest = hashlib.sha256(f"{KIND} {self.network.width} {self.size}".encode())
        for key, value in sorted(self.network.state_dict().items()):
            digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
        return f"small-i3d-{digest.hexdigest()}"

    def __call__(self, clips: TensorLike) -> Tensor:
        """Features ``[B, dim]`` (float32) of uint8 clips ``[B, T, H, W, 3]``.

        Raises:
            ValueError: if the clips are not uint8 ``[B, T, H, W, 3]`` or have fewer than 9 frames.
        """
        with torch.inference_mode():
            return self.network.features(self._input(clips))

    def classify(self, clips: TensorLike) -> Tensor:
        """Class logits ``[B, num_classes]`` of uint8 clips ``[B, T, H, W, 3]``; raises as ``__call__``."""
        with torch.inference_mode():
            logits: Tensor = self.network(self._input(clips))
        return logits

    def train(self, mode: bool = True) -> "SmallI3DExtractor":
        """Stay in eval mode: the network that scores does not learn."""
        return super().train(False)

    def save(self, folder: AnyPath) -> None:
        """Write ``config.json`` and ``weights.safetensors`` into ``folder``."""
        folder = Path(folder)
        with atomic_path(folder / "weights.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in self.network.state_dict().items()}, temporary)
        config = {"num_classes": self.network.num_classes, "width": self.network.width}
        write_json(
            folder / "config.json",
            {"kind": KIND, "network": config, "frames": self.frames, "size": self.size},
        )

    @classmethod
    def load(cls, folder: AnyPath) -> "SmallI3DExtractor":
        """Read what `save` wrote.

        Raises:
            OSError: if the folder holds no such files (see `parvideo.files.check_file`).
            ValueError: if it is another kind of folder, or the weights are damaged or do not fit.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        if not isinstance(config, dict) or config.get("kind") != KIND:
            raise ValueError(f"{folder / 'config.json'} does not describe a {KIND}")
        try:
            network = SmallI3D(**config["network"])
            form = int(config["frames"]), int(config["size"])
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{folder / 'config.json'} describes no {KIND}: {error}") from error
        state = read_safetensors(folder / "weights.safetensors")
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(
                f"{folder / 'weights.safetensors'} does not fit its config.json: {error}"
            ) from error
        return cls(network, *form)

    def _input(self, clips: TensorLike) -> Tensor:
        clips = check_batch(clips, self.min_frames)
        return resize(to_float(clips), self.size, "antialiased")  # [B, 3, T, size, size]


def train_classifier(
    clips: TensorLike,
    labels: TensorLike,
    num_classes: int,
    steps: int = 300,
    lr: float = 3e-3,
    batch_size: int = 32,
    seed: int = 0,
    width: int = 16,
    on_step: Callable[[int, float], None] | None = None,
) -> SmallI3DExtractor:
    """Train a `SmallI3D` on labelled clips.

    Augmentation keeps labels valid: shifts by an eighth of the size, brightness, contrast and noise; never a
    flip or a reversal, since classes may differ by direction of motion.

    Args:
        clips: uint8 ``[N, T, H, W, 3]``, T >= 9, square.
        labels: int64 ``[N]`` in [0, num_classes).
        num_classes: how many classes there are.
        steps: of AdamW under a one-cycle schedule.
        lr: its peak learning rate.
        batch_size: clips a step, drawn with replacement.
        seed: of initialisation, batches and augmentation; the global random state is left alone.
        width: see `SmallI3D`.
        on_step: called after each step with the step (from 1) and the loss.

    Raises:
        ValueError: if clips or labels have another shape, T < 9, a label is out of range, or steps < 1.
    """
    clips = check_batch(clips, SmallI3DExtractor.min_frames)
    labels = as_tensor(labels, "labels")
    if clips.shape[2] != clips.shape[3]:
        raise ValueError(f"clips are {clips.shape[2]}x{clips.shape[3]} pixels; they must be square")
    if labels.shape != clips.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 [{len(clips)}], got {labels.dtype} {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels span {labels.min()}..{labels.max()}; they must be in 0..{num_classes - 1}")
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SmallI3D(num_classes, width)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1, pct_start=0.2)
    for step in range(1, steps + 1):
        rows = torch.randint(len(clips), (batch_size,), generator=generator)
        batch = _augment(to_float(clips[rows]), generator)
        loss = F.cross_entropy(network(batch), labels[rows], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_step is not None:
            on_step(step, loss.item())
    return SmallI3DExtractor(network, frames=clips.shape[1], size=clips.shape[2])


class _Stage(nn.Module):
    """3D convolution, batch normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


def _augment(clips: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, brighten, contrast and add noise to float clips ``[B, 3, T, S, S]``, each in its own way."""
    size = clips.shape[-1]
    reach = size // 8
    padded = F.pad(clips.flatten(1, 2), (reach,) * 4, mode="replicate").unflatten(1, clips.shape[1:3])
    shifts = torch.randint(0, 2 * reach + 1, (len(clips), 2), generator=generator).tolist()
    shifted = torch.stack(
        [clip[..., y : y + size, x : x + size] for clip, (y, x) in zip(padded, shifts, strict=True)]
    )
    scale = 1 + 0.2 * (torch.rand(len(clips), 1, 1, 1, 1, generator=generator) - 0.5)
    offset = 0.2 * (torch.rand(len(clips), 1, 1, 1, 1, generator=generator) - 0.5)
    noise = 0.05 * torch.randn(shifted.shape, generator=generator)
    return (shifted * scale + offset + noise).clamp(-1, 1)

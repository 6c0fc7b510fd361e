"""Feature networks brought by users as TorchScript, such as C3D for Inception Score, VideoMAE for CD-FVD."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parvideo.files import AnyPath, read_json, sha256_file, sha256_json
from parvideo.metrics.extractors.i3d import check_batch
from parvideo.metrics.extractors.resize import resize
from parvideo.metrics.extractors.scripts import load_script, run_script
from parvideo.pixels import TensorLike, to_float

KIND = "parvideo-scripted-features"
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "name": str,
    "dim": int,
    "min_frames": int,
    "size": int,
    "mean": list,
    "std": list,
    "logits": bool,
}


class ScriptedExtractor(nn.Module):
    """A TorchScript network as feature extractor; always in eval mode.

    The folder holds ``network.pt``, which maps float clips ``[B, 3, T, size, size]`` to ``[B, dim]``, and
    ``config.json`` with ``kind``, ``name``, ``dim``, ``min_frames``, ``size``, ``mean``, ``std`` (three each,
    of pixels in [0, 1]) and ``logits`` (whether the outputs are class logits).

    Args:
        folder: with the two files. TorchScript is a program: open only what you trust.

    Raises:
        OSError: if a file is missing (see `parvideo.files.check_file`).
        ValueError: if the configuration does not fit, or the network is not TorchScript.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, folder: AnyPath) -> None:
        super().__init__()
        config = _read_config(Path(folder) / "config.json")
        self.path = path = Path(folder) / "network.pt"
        self.network = load_script(path)
        self.name: str = config["name"]
        self.dim: int = config["dim"]
        self.min_frames: int = config["min_frames"]
        self.size: int = config["size"]
        self.gives_logits: bool = config["logits"]
        self.weights_sha256 = sha256_file(path)
        self.fingerprint = f"scripted-{sha256_json([self.weights_sha256, config])}"
        self.comparability = (
            f"The features come from {self.name}, not from the Kinetics-400 I3D: this is not comparable with "
            "published FVD, only with numbers of the same network and protocol."
        )
        shape = (1, 3, 1, 1, 1)
        self.register_buffer("mean", torch.tensor(config["mean"]).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).reshape(shape), persistent=False)

    def __call__(self, clips: TensorLike) -> Tensor:
        """Features float32 ``[B, dim]`` of uint8 clips ``[B, T, H, W, 3]``, resized antialiased.

        Raises:
            ValueError: if the clips are not uint8 ``[B, T, H, W, 3]`` or too short, or the network gives
                another shape than its configuration says.
        """
        clips = check_batch(clips, self.min_frames)
        with torch.inference_mode():
            pixels = (resize(to_float(clips), self.size, "antialiased") + 1) / 2
            inputs = (pixels - self.mean) / self.std
            return run_script(self.network, self.path, [len(clips), self.dim], inputs)

    def train(self, mode: bool = True) -> "ScriptedExtractor":
        """Stay in eval mode."""
        return super().train(False)


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path)
    if not isinstance(config, dict) or config.get("kind") != KIND:
        raise ValueError(f"{path} does not describe a {KIND}")
    if config.keys() != _FIELDS.keys():
        missing, unknown = sorted(_FIELDS.keys() - config.keys()), sorted(config.keys() - _FIELDS.keys())
        raise ValueError(f"{path} lacks {missing} and has the unknown {unknown}")
    for name, kind in _FIELDS.items():
        value = config[name]
        if not isinstance(value, kind):
            raise ValueError(f"{path}: {name} is {value!r}; it must be of type {kind}")
        if kind is int and config[name] < 1:
            raise ValueError(f"{path}: {name} is {value!r}; it must be 1 or more")
    for name in ("mean", "std"):
        if len(config[name]) != 3 or not all(isinstance(value, int | float) for value in config[name]):
            raise ValueError(f"{path}: {name} is {config[name]}; it must have three numbers")
    return config

"""First frames: what clips go on from, read from video or image files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from parvideo.datasets import UnreadableVideoError, probe, read_frames, resize_and_crop
from parvideo.datasets.clip_format import ClipFormat
from parvideo.datasets.folders import is_media
from parvideo.files import sha256_file
from parvideo.pixels import to_float
from parvideo.tokenizer import VideoTokenizer


@rank_zero_only
def _say(line: str) -> None:
    print(line, file=sys.stderr)


class FirstFrames:
    """The first frames of each of some files, resized and cropped to one size.

    Args:
        path: a video or image, or a folder of them (taken in the order of their names).
        frames: frames to take of each, at the rate of the model; of an image there is one.
        latent_frames: how many latent frames the tokenizer makes of them.
        size: (height, width) in pixels.
        clip_format: the model's clips; its rate is needed for more than one frame.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if the folder holds neither, or more frames than one are wanted and the rate is not known.
    """

    def __init__(
        self,
        path: Path,
        frames: int,
        latent_frames: int,
        size: tuple[int, int],
        clip_format: ClipFormat,
    ) -> None:
        if not path.exists():
            raise FileNotFoundError(f"there is no file or folder {path}")
        found = sorted(path.iterdir()) if path.is_dir() else [path]
        self.files = [file for file in found if is_media(file)]
        others = [file for file in found if not is_media(file) and not file.name.startswith(".")]
        if self.files and others:
            _say(f"{path}: left out: {len(others)} that are no videos or images, such as {others[0].name}")
        if not self.files:
            raise ValueError(f"{path} holds no video or image; first_frames takes one, or a folder of them")
        if frames > 1 and not clip_format.has_rate:
            raise ValueError(
                f"given_frames is {frames}, and the model does not say at which rate to take them; give 1"
            )
        self.frames, self.latent_frames, self.size = frames, latent_frames, size
        self.fps, self.stride = clip_format.fps, clip_format.stride

    @torch.inference_mode()
    def encode(self, tokenizer: VideoTokenizer, numbers: Sequence[int]) -> Tensor:
        """The tokens of the first frames of these files (numbers may repeat): int64 ``[B, k, h, w]``.

        Each is encoded by itself, so that its tokens do not depend on what goes with it.

        Raises:
            ValueError: if a file cannot be read, is too short, or has fewer frames a second than the model.
        """
        device = next(tokenizer.parameters()).device
        tokens = {
            number: tokenizer.encode(to_float(self._read(self.files[number])[None].to(device)))
            for number in dict.fromkeys(numbers)
        }
        return torch.cat([tokens[number] for number in numbers])

    def description(self) -> dict[str, Any]:
        """What was given, for a record: frames, and the files by name and hash."""
        return {
            "frames": self.frames,
            "files": [{"name": file.name, "sha256": sha256_file(file)} for file in self.files],
        }

    def _read(self, file: Path) -> Tensor:
        info = probe(file)
        if self.frames == 1:
            indices = [0]
        elif self.stride is None and self.fps is not None and self.fps > info.highest_fps * 1.01:
            raise ValueError(f"{file} has {info.highest_fps:g} frames a second, the model is of {self.fps:g}")
        else:
            indices = info.frames_from(0, self.frames, self.fps, self.stride)
        if indices[-1] >= info.frames:
            raise UnreadableVideoError(
                file,
                f"has {info.frames} frames in {info.seconds:.3g} s, "
                + (f"{indices[-1] + 1} frames are needed" if info.times is None else "the model takes more"),
            )
        return resize_and_crop(read_frames(file, indices, info=info), self.size)

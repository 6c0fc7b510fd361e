"""The clips that a command reads: as given, or as its tokenizer was trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from parvideo.datasets.clip_format import ClipFormat
from parvideo.pretrained.folder import load_clip_format


@dataclass(frozen=True)
class ClipForm:
    """A complete `ClipFormat`: frames, size in pixels, and either frames a second or a stride."""

    frames: int
    size: int
    fps: float | None
    stride: int | None

    @classmethod
    def of(
        cls,
        tokenizer: Path,
        frames: int | None = None,
        size: int | None = None,
        fps: float | None = None,
        stride: int | None = None,
    ) -> Self:
        """What is given, and for the rest what the tokenizer's folder says it was trained on.

        Raises:
            ValueError: if both fps and stride are given, a number is not positive, or something is neither
                given nor recorded.
        """
        chosen = ClipFormat(frames, size, fps, stride).filled_from(load_clip_format(tokenizer))
        if chosen.frames is None or chosen.size is None or not chosen.is_complete:
            raise ValueError(
                f"{tokenizer} does not say what clips it was trained on: give --frames, --size and --fps"
            )
        return cls(chosen.frames, chosen.size, chosen.fps, chosen.stride)

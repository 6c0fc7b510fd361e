"""The form of clips that a command reads: as given, or as its tokenizer was trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from parvideo.checks import at_least, positive
from parvideo.pretrained.folder import load_extra


@dataclass(frozen=True)
class ClipForm:
    """Frames, size in pixels, and either frames a second or a stride."""

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
        at_least(1, frames=frames, size=size, stride=stride)
        positive(fps=fps)
        if fps is not None and stride is not None:
            raise ValueError(f"fps is {fps} and stride {stride}; give one of the two")
        recorded = load_extra(tokenizer)
        if fps is None and stride is None:
            fps, stride = recorded.get("fps"), recorded.get("stride")
        frames = recorded.get("frames") if frames is None else frames
        size = recorded.get("size") if size is None else size
        if frames is None or size is None or (fps is None and stride is None):
            raise ValueError(
                f"{tokenizer} does not say what clips it was trained on: give --frames, --size and --fps"
            )
        return cls(frames, size, fps, stride)

"""The clips that a command reads: as given, or as its tokenizer was trained."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parvideo.datasets.clip_format import ClipFormat


@dataclass(frozen=True)
class ClipFormatOptions:
    """What is given of a `ClipFormat`.

    Attributes:
        frames: frames of a clip; as the tokenizer was trained, if not given.
        size: height and width in pixels; as the tokenizer was trained, if not given.
        fps: frames a second of a clip; as the tokenizer was trained, if not given.
        stride: source frames from one frame of a clip to the next, in place of fps.
    """

    frames: int | None = None
    size: int | None = None
    fps: float | None = None
    stride: int | None = None

    def build(self, tokenizer: Path) -> "ClipFormat":
        """What is given, and for the rest what the tokenizer's folder says it was trained on.

        Raises:
            ValueError: if both fps and stride are given, a number is not positive, or something is neither
                given nor recorded.
        """
        from parvideo.datasets.clip_format import ClipFormat
        from parvideo.pretrained.folder import load_clip_format

        whole = ClipFormat(**asdict(self)).filled_from(load_clip_format(tokenizer))
        if not whole.is_complete:
            raise ValueError(
                f"{tokenizer} does not say what clips it was trained on: give --frames, --size and --fps"
            )
        return whole


AS_TRAINED = ClipFormatOptions()
"""Nothing given: clips as the tokenizer was trained."""

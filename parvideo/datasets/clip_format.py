"""What clips are: how many frames of which size, and how far apart in time."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from parvideo.checks import at_least, positive


@dataclass(frozen=True)
class ClipFormat:
    """Frames, size and rate of clips; None is what is not known.

    Attributes:
        frames: of a clip.
        size: height and width in pixels.
        fps: frames a second of the clip; or else
        stride: source frames from one frame of the clip to the next; at most one of the two is given.

    Raises:
        ValueError: if a number is not positive, or fps and stride are both given.
    """

    frames: int | None = None
    size: int | None = None
    fps: float | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        at_least(1, frames=self.frames, size=self.size, stride=self.stride)
        positive(fps=self.fps)
        if self.fps is not None and self.stride is not None:
            raise ValueError(f"fps is {self.fps} and stride {self.stride}; give one of the two")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The format among other things that are recorded of a model or of clips."""
        return cls(**{name: data.get(name) for name in NAMES})

    def filled_from(self, recorded: "ClipFormat") -> Self:
        """This format, with what it leaves open as ``recorded``; fps and stride count as one."""
        rate = self if self.fps is not None or self.stride is not None else recorded
        return type(self)(
            frames=recorded.frames if self.frames is None else self.frames,
            size=recorded.size if self.size is None else self.size,
            fps=rate.fps,
            stride=rate.stride,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, H, W)`` of a clip.

        Raises:
            ValueError: if frames or size are not known.
        """
        if self.frames is None or self.size is None:
            raise ValueError(f"{self} does not say how many frames of which size a clip has")
        return self.frames, self.size, self.size

    @property
    def is_complete(self) -> bool:
        """Whether clips can be cut by it."""
        return None not in (self.frames, self.size) and (self.fps is not None or self.stride is not None)


NAMES = tuple(field.name for field in fields(ClipFormat))

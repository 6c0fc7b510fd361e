"""What clips are: how many frames of which size, and how far apart in time."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
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
        rate = self if self.has_rate else recorded
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
    def has_rate(self) -> bool:
        """Whether it is known how far apart in time frames are."""
        return self.fps is not None or self.stride is not None

    @property
    def is_complete(self) -> bool:
        """Whether clips can be cut by it."""
        return None not in (self.frames, self.size) and self.has_rate

    def differences(self, other: "ClipFormat") -> list[str]:
        """Names of the fields that both know and in which they differ; fps and stride are known as one."""
        return [
            name
            for name in NAMES
            if getattr(self, name) != getattr(other, name)
            and all(_knows(each, name) for each in (self, other))
        ]

    def to_dict(self) -> dict[str, Any]:
        """All four as JSON; empty if nothing is known."""
        return {} if self == UNKNOWN else asdict(self)


def _knows(clip_format: ClipFormat, name: str) -> bool:
    return clip_format.has_rate if name in ("fps", "stride") else getattr(clip_format, name) is not None


NAMES = tuple(field.name for field in fields(ClipFormat))
UNKNOWN = ClipFormat()
"""Nothing is known of the clips."""

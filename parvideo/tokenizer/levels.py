"""Levels: the resolutions that one side of a tokenizer works at, and how wide and deep it is there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Levels:
    """One side of a `CausalVideoTokenizer`, encoder or decoder, described from pixels to latent grid.

    Attributes:
        channels: width at the highest resolution.
        channel_multipliers: the width of each resolution level, in units of ``channels``, highest first.
        num_res_blocks: residual blocks at each level, and again at the lowest.
        time_strides: between two levels, frames of the higher per frame of the lower.
        space_strides: between two levels, pixels of the higher per pixel of the lower, both ways.
        patch_size: pixels, both ways, that one place of the highest level stands for.
        patch_frames: frames that one place of the highest level stands for.

    Raises:
        ValueError: naming the field, if the numbers do not fit together.
    """

    channels: int
    channel_multipliers: Sequence[int]
    num_res_blocks: int
    time_strides: Sequence[int]
    space_strides: Sequence[int]
    patch_size: int = 1
    patch_frames: int = 1

    def __post_init__(self) -> None:
        for name in ("channel_multipliers", "time_strides", "space_strides"):
            object.__setattr__(self, name, list(getattr(self, name)))
        transitions = len(self.channel_multipliers) - 1
        for name in ("time_strides", "space_strides"):
            values = getattr(self, name)
            if len(values) != transitions or any(value not in (1, 2) for value in values):
                raise ValueError(
                    f"{name} must be {transitions} values of 1 or 2, one between each two of the"
                    f" {transitions + 1} levels; got {values}"
                )
        if min(self.patch_size, self.patch_frames) < 1:
            raise ValueError(
                f"patch_size and patch_frames must be at least 1, got {self.patch_size}, {self.patch_frames}"
            )

    @classmethod
    def of(cls, value: Any) -> "Levels":
        """``value`` itself, or what its fields say where it is a mapping, as configurations hold it.

        Raises:
            ValueError: if it is neither, or the fields are others than those of `Levels`.
        """
        if isinstance(value, cls):
            return value
        try:
            return cls(**value)
        except TypeError as error:
            raise ValueError(f"decoder_levels must have the fields of Levels: {error}") from error

    @property
    def widths(self) -> list[int]:
        """Channels of each level, highest resolution first."""
        return [self.channels * multiplier for multiplier in self.channel_multipliers]

    @property
    def time_factor(self) -> int:
        """Frames of a latent frame."""
        return math.prod(self.time_strides) * self.patch_frames

    @property
    def space_factor(self) -> int:
        """Pixels of a latent place, both ways."""
        return math.prod(self.space_strides) * self.patch_size

    @property
    def strides(self) -> list[tuple[int, int]]:
        """Of time and space, between each two levels."""
        return list(zip(self.time_strides, self.space_strides, strict=True))

    @property
    def pixel_channels(self) -> int:
        """Values of the pixels that one place of the highest level stands for."""
        return 3 * self.patch_frames * self.patch_size**2

    def check_norm(self, norm_groups: int) -> None:
        """Raise ValueError unless ``norm_groups`` divides every level's width."""
        if any(width % norm_groups for width in self.widths):
            raise ValueError(f"norm_groups must divide every level's width {self.widths}, got {norm_groups}")

"""What every tokenizer offers: clips to tokens on a latent grid, and back."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from parvideo.pixels import TensorLike


class VideoTokenizer(nn.Module, ABC):
    """A discrete clip autoencoder.

    Clips are float in [-1, 1] ``[B, 3, T, H, W]``; tokens are int64 ``[B, t, h, w]`` below
    ``codebook_size``. An image is a clip of one frame.

    Attributes:
        config: its constructor's arguments, JSON-able; ``type(tokenizer)(**tokenizer.config)`` is its like.
    """

    config: dict[str, Any]

    @property
    @abstractmethod
    def codebook_size(self) -> int:
        """The number of different tokens."""

    @abstractmethod
    def latent_grid(self, clip_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The grid (t, h, w) that a clip of shape (T, H, W) is encoded to.

        Raises:
            ValueError: if this tokenizer cannot encode that shape; the message says which it can.
        """

    def clip_shape(self, grid: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shortest clip (T, H, W) that is encoded to a grid (t, h, w).

        Raises:
            ValueError: if there is none of up to 64 pixels and frames a cell.
        """
        t, h, w = grid
        for factor in range(1, 65):
            if self._encodes((1, h * factor, w * factor), (1, h, w)):
                for frames in range(1, t * 64 + 1):
                    if self._encodes((frames, h * factor, w * factor), grid):
                        return frames, h * factor, w * factor
        raise ValueError(
            f"this {type(self).__name__} encodes no clip to the grid {grid}; no transformer of it is its own"
        )

    @abstractmethod
    def encode(self, clips: TensorLike) -> Tensor:
        """Tokenize clips: float ``[B, 3, T, H, W]`` -> int64 ``[B, t, h, w]``."""

    @abstractmethod
    def decode(self, tokens: TensorLike) -> Tensor:
        """Reconstruct clips: int64 ``[B, t, h, w]`` -> float ``[B, 3, T, H, W]``, clamped to [-1, 1]."""

    def _encodes(self, clip_shape: tuple[int, int, int], grid: tuple[int, int, int]) -> bool:
        try:
            return self.latent_grid(clip_shape) == grid
        except ValueError:  # which is its answer to a shape that it cannot encode
            return False

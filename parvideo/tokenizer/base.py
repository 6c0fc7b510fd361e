"""What every tokenizer offers: clips to tokens on a latent grid, and back."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class VideoTokenizer(nn.Module, ABC):
    """A discrete clip autoencoder.

    Clips are float in [-1, 1] ``[B, 3, T, H, W]``; tokens are int64 ``[B, t, h, w]`` below
    ``codebook_size``. An image is a clip of one frame.
    """

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

    @abstractmethod
    def encode(self, clips: Tensor) -> Tensor:
        """Tokenize clips: float ``[B, 3, T, H, W]`` -> int64 ``[B, t, h, w]``."""

    @abstractmethod
    def decode(self, tokens: Tensor) -> Tensor:
        """Reconstruct clips: int64 ``[B, t, h, w]`` -> float ``[B, 3, T, H, W]``, clamped to [-1, 1]."""

"""Between clips and tokens: causal 3D convolutions, quantizers, losses, discriminators."""

from parvideo.tokenizer.autoencoder import CausalVideoTokenizer, Reconstruction
from parvideo.tokenizer.base import VideoTokenizer

TOKENIZERS: dict[str, type[VideoTokenizer]] = {"CausalVideoTokenizer": CausalVideoTokenizer}

__all__ = ["TOKENIZERS", "CausalVideoTokenizer", "Reconstruction", "VideoTokenizer"]

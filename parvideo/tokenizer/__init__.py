"""Between clips and tokens: causal 3D convolutions, quantizers, losses, discriminators."""

from parvideo.tokenizer.autoencoder import CausalVideoTokenizer, Reconstruction
from parvideo.tokenizer.base import VideoTokenizer
from parvideo.tokenizer.discriminator import ClipDiscriminator
from parvideo.tokenizer.llamagen import LlamaGenTokenizer

TOKENIZERS: dict[str, type[VideoTokenizer]] = {
    "CausalVideoTokenizer": CausalVideoTokenizer,
    "LlamaGenTokenizer": LlamaGenTokenizer,
}

__all__ = [
    "TOKENIZERS",
    "CausalVideoTokenizer",
    "ClipDiscriminator",
    "LlamaGenTokenizer",
    "Reconstruction",
    "VideoTokenizer",
]

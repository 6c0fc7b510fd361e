"""The autoregressive transformer over tokens: rotary positions, attention, cache, blocks, the model."""

from parvideo.transformer.cache import KVCache
from parvideo.transformer.factorization import next_token_loss
from parvideo.transformer.model import VideoTransformer
from parvideo.transformer.presets import SIZES, TransformerSize, transformer_size

__all__ = ["SIZES", "KVCache", "TransformerSize", "VideoTransformer", "next_token_loss", "transformer_size"]

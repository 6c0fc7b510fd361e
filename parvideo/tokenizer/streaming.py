"""Streams: tokenizing and decoding clips of any length in chunks, with constant memory.

The tokenizer is causal, so a chunk needs of the past only what `StreamCache` remembers, a frame or two a
layer. A stream's result equals the whole clip's up to rounding.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from parvideo.tokenizer.autoencoder import CausalVideoTokenizer
from parvideo.tokenizer.layers import StreamCache


@torch.no_grad()
def encode_stream(tokenizer: CausalVideoTokenizer, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Tokenize a stream of float clips.

    Args:
        tokenizer: the tokenizer; its time factor is called f below.
        chunks: float ``[B, 3, T, H, W]``; the first of 1 + k*f frames, each later one of k*f.

    Yields:
        int64 ``[B, t, h, w]`` a chunk: 1 + k latent frames for the first, k for each later one.

    Raises:
        ValueError: if a chunk has another number of frames, or a frame does not fit.
    """
    cache = StreamCache()
    for number, chunk in enumerate(chunks):
        # A later chunk counts as one that follows its stream's first frame.
        frames = chunk.shape[2] + (1 if number else 0)
        if frames < 2 and number:
            raise ValueError(f"chunk {number} of the stream has no frames")
        tokenizer.latent_grid((frames, chunk.shape[3], chunk.shape[4]))
        yield tokenizer.quantizer(tokenizer.encode_codes(chunk, cache)).ids


@torch.no_grad()
def decode_stream(tokenizer: CausalVideoTokenizer, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Decode a stream of tokens.

    Args:
        tokenizer: the tokenizer.
        chunks: int64 ``[B, t, h, w]``, t of 1 or more.

    Yields:
        float ``[B, 3, T, H, W]`` in [-1, 1] a chunk: 1 + f*(t-1) frames for the first, f*t for each later.

    Raises:
        ValueError: if a chunk is not tokens of this tokenizer.
    """
    cache = StreamCache()
    for chunk in chunks:
        tokenizer.check_tokens(chunk)
        codes = tokenizer.quantizer.ids_to_codes(chunk)
        yield tokenizer.decode_codes(codes, cache).float().clamp(-1.0, 1.0)

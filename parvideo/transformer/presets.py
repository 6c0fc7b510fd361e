"""Sizes of the transformer under the names the field uses (LlamaGen, PAR table 1)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TransformerSize:
    """Width and depth of a model; the rest follows LLaMA."""

    num_layers: int
    num_heads: int
    dim: int


SIZES: dict[str, TransformerSize] = {
    "B": TransformerSize(12, 12, 768),
    "L": TransformerSize(24, 16, 1024),
    "XL": TransformerSize(36, 20, 1280),
    "XXL": TransformerSize(48, 24, 1536),
    "3B": TransformerSize(24, 32, 3200),
    # PAR gives only the count of its UCF-101 model, 792M; with FSQ's 64,000 tokens this is the nearest
    # depth at XL's width.
    "video-792M": TransformerSize(31, 20, 1280),
}
"""B 111M, L 343M, XL 775M, XXL 1.4B, 3B 3.1B parameters with ImageNet's vocabulary of 16,384."""


def transformer_size(name: str) -> TransformerSize:
    """The size called ``name``.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in SIZES:
        raise ValueError(f"transformer size must be one of {', '.join(SIZES)}; got {name!r}")
    return SIZES[name]

"""Published weights: image transformers and tokenizers of LlamaGen and PAR, read from their own files.

LlamaGen (arXiv 2406.06525, github.com/FoundationVision/LlamaGen) generates in raster order; PAR (arXiv
2412.15119, github.com/Epiphqny/PAR) is the same network with n-1 transition tokens for regions of 2 x 2
(4x) or 4 x 4 (16x). Every dimension follows from the tensors but two that leave no trace in them: the
number of heads and the grid.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from parvideo.files import AnyPath
from parvideo.order import OrderSpec
from parvideo.state_dicts import drop_matching, load_exactly, read_shape, read_state
from parvideo.tokenizer.llamagen import NORM_GROUPS, LlamaGenTokenizer
from parvideo.transformer.model import VideoTransformer
from parvideo.transformer.presets import SIZES


@dataclass(frozen=True)
class PublishedCheckpoint:
    """One published file.

    Attributes:
        url: where its authors' README says it lies. No checksums are published there.
        size: the transformer's size, a key of `SIZES`.
        grid: side of the latent grid; pixels are 16 times as many.
        parallel: n, tokens per parallel step.
        guidance_scale: what its authors evaluate it with.
    """

    url: str
    size: str
    grid: int
    parallel: int
    guidance_scale: float


_LLAMAGEN = "https://huggingface.co/FoundationVision/LlamaGen/resolve/main/"
_PAR = "https://huggingface.co/Epiphqny/PAR/resolve/main/"

TOKENIZER_URL = "https://huggingface.co/FoundationVision/LlamaGen/resolve/main/vq_ds16_c2i.pt"
"""Where LlamaGen's and PAR's READMEs say VQ-16 lies; no checksum is published there."""

# How often each code was used lately: a statistic of training that the published file still holds.
_TOKENIZER_BUFFERS = r"quantize\.codebook_used"

PUBLISHED: dict[str, PublishedCheckpoint] = {
    "c2i_B_256.pt": PublishedCheckpoint(_LLAMAGEN + "c2i_B_256.pt", "B", 16, 1, 2.0),
    "c2i_B_384.pt": PublishedCheckpoint(_LLAMAGEN + "c2i_B_384.pt", "B", 24, 1, 2.0),
    "c2i_L_256.pt": PublishedCheckpoint(_LLAMAGEN + "c2i_L_256.pt", "L", 16, 1, 2.0),
    "c2i_L_384.pt": PublishedCheckpoint(_LLAMAGEN + "c2i_L_384.pt", "L", 24, 1, 2.0),
    "c2i_XL_384.pt": PublishedCheckpoint(_LLAMAGEN + "c2i_XL_384.pt", "XL", 24, 1, 1.75),
    "c2i_XXL_384.pt": PublishedCheckpoint(_LLAMAGEN + "c2i_XXL_384.pt", "XXL", 24, 1, 1.75),
    "c2i_3B_384.pt": PublishedCheckpoint(_LLAMAGEN + "c2i_3B_384.pt", "3B", 24, 1, 1.65),
    "PAR-XL-4x.pt": PublishedCheckpoint(_PAR + "PAR-XL-4x.pt", "XL", 24, 4, 1.5),
    "PAR-XXL-4x.pt": PublishedCheckpoint(_PAR + "PAR-XXL-4x.pt", "XXL", 24, 4, 1.435),
    "PAR-3B-4x.pt": PublishedCheckpoint(_PAR + "PAR-3B-4x.pt", "3B", 24, 4, 1.345),
    "PAR-3B-16x.pt": PublishedCheckpoint(_PAR + "PAR-3B-16x.pt", "3B", 24, 16, 1.5),
}
"""The files the two projects publish, by name."""

_TRANSITIONS = "spe_tok_embeddings.special_embeddings.weight"
_NAMES = {
    "tok_embeddings.weight": "token_embedding.weight",
    "cls_embedding.embedding_table.weight": "class_embedding.weight",
    _TRANSITIONS: "transition_embedding.weight",
    "norm.weight": "norm.weight",
    "output.weight": "head.weight",
}
_LAYER_NAMES = {
    "attention_norm.weight": "attention_norm.weight",
    "attention.wqkv.weight": "attention.qkv.weight",
    "attention.wo.weight": "attention.out.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    "feed_forward.w1.weight": "ffn.gate.weight",
    "feed_forward.w3.weight": "ffn.up.weight",
    "feed_forward.w2.weight": "ffn.down.weight",
}
# Tables that some versions of the two projects saved; an order gives all of them.
_BUFFERS = r"freqs_cis|causal_mask|group_mask|layers\.\d+\.attention\.kv_cache\.[kv]_cache"


def load_published_transformer(
    path: AnyPath, grid: int | None = None, num_heads: int | None = None
) -> tuple[VideoTransformer, OrderSpec]:
    """Load a LlamaGen or PAR class-conditional checkpoint as a `VideoTransformer` on grid (1, grid, grid).

    The class table's last row is the null class, so ``num_classes`` is one less than its rows.

    Args:
        path: the checkpoint, ``.pt`` or ``.safetensors``.
        grid: side of the latent grid (16, 24 or 32 for 256, 384 or 512 pixels). If not given it is taken
            from the file's rotary table if it has one, else from `PUBLISHED` under the file's name.
        num_heads: attention heads; those of the named size with this width and depth if not given.

    Returns:
        the model in evaluation mode, float32, on the CPU, and the order that it was trained in.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds anything but tensors and plain data, lacks an entry, has one too
            many or one of the wrong shape, or does not tell grid or heads and neither is given.
    """
    path = Path(path)
    held = read_state(path)
    state = drop_matching(held, _BUFFERS)
    codebook_size, dim = read_shape(path, state, "tok_embeddings.weight", "codebook_size dim")
    class_rows, _ = read_shape(path, state, "cls_embedding.embedding_table.weight", "classes+1 dim")
    layers = {int(match[1]) for key in state if (match := re.match(r"layers\.(\d+)\.", key))}
    num_layers = max(layers, default=-1) + 1
    if class_rows < 2 or not layers:
        raise ValueError(
            f"{path}: expected at least one class, the null class and one layer, found {class_rows} rows of "
            f"classes and {num_layers} layers"
        )
    if _TRANSITIONS not in state:
        state[_TRANSITIONS] = torch.empty(0, dim)
    num_transitions, _ = read_shape(path, state, _TRANSITIONS, "n-1 dim")
    side = _region_side(path, num_transitions + 1)
    grid = _grid(path, held, num_transitions, grid)
    heads = _heads(path, dim, num_layers, num_heads)
    ffn_hidden, _ = read_shape(path, state, "layers.0.feed_forward.w1.weight", "hidden dim")
    qkv, _ = read_shape(path, state, "layers.0.attention.wqkv.weight", "dim+2*kv_heads*head_dim dim")
    kv_heads, left = divmod(qkv - dim, 2 * dim // heads)
    if left or kv_heads < 1 or heads % kv_heads:
        raise ValueError(
            f"{path}: 'layers.0.attention.wqkv.weight' has {qkv} rows, which are not those of {heads} query "
            f"heads of {dim // heads} dimensions (expected {3 * dim}, or less with grouped queries)"
        )
    order = OrderSpec((1, side, side))
    order.build((1, grid, grid))  # refuses regions that do not divide the grid
    with torch.device("meta"):
        model = VideoTransformer(
            (1, grid, grid),
            codebook_size,
            class_rows - 1,
            dim,
            num_layers,
            heads,
            num_kv_heads=kv_heads,
            ffn_hidden=ffn_hidden,
            special_positions="zero",
            num_transitions=num_transitions,
        )
    load_exactly(model, state, path, _names(num_layers))
    return model.eval(), order


def load_llamagen_tokenizer(path: AnyPath) -> LlamaGenTokenizer:
    """Load a published VQ checkpoint, ``.pt`` or ``.safetensors``; every dimension follows from its tensors.

    Returns:
        the tokenizer in evaluation mode, float32, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds anything but tensors and plain data, lacks an entry, has one too
            many, or one of the wrong shape.
    """
    path = Path(path)
    state = drop_matching(read_state(path), _TOKENIZER_BUFFERS)
    codebook_size, codebook_dim = read_shape(path, state, "quantize.embedding.weight", "codebook_size dim")
    kernel = "out in height width"
    channels = read_shape(path, state, "encoder.conv_in.weight", kernel)[0]
    latent_channels = read_shape(path, state, "encoder.conv_out.weight", kernel)[0]
    places = [
        (int(match[1]), int(match[2]))
        for key in state
        if (match := re.match(r"encoder\.conv_blocks\.(\d+)\.res\.(\d+)\.", key))
    ]
    levels, blocks = (max((place[i] for place in places), default=0) + 1 for i in (0, 1))
    widths = [
        read_shape(path, state, f"encoder.conv_blocks.{level}.res.0.conv1.weight", kernel)[0]
        for level in range(levels)
    ]
    if channels % NORM_GROUPS or any(width % channels for width in widths):
        raise ValueError(
            f"{path}: 'encoder.conv_in.weight' has {channels} channels and the resolutions {widths}; "
            f"expected a multiple of {NORM_GROUPS} and multiples of that"
        )
    with torch.device("meta"):
        tokenizer = LlamaGenTokenizer(
            codebook_size,
            codebook_dim,
            channels,
            [width // channels for width in widths],
            blocks,
            latent_channels,
        )
    load_exactly(tokenizer, state, path)
    return tokenizer.eval()


def _names(num_layers: int) -> dict[str, str]:
    """Each entry's name in the file -> its name here."""
    layers = {
        f"layers.{layer}.{theirs}": f"blocks.{layer}.{ours}"
        for layer in range(num_layers)
        for theirs, ours in _LAYER_NAMES.items()
    }
    return _NAMES | layers


def _region_side(path: Path, parallel: int) -> int:
    """The regions along each axis, of which there are n in all."""
    side = math.isqrt(parallel)
    if side**2 != parallel:
        raise ValueError(
            f"{path}: {_TRANSITIONS!r} has {parallel - 1} rows; expected n-1 for a square number n of "
            "regions, such as 3 (4x) or 15 (16x)"
        )
    return side


def _grid(path: Path, held: Mapping[str, Tensor], num_transitions: int, given: int | None) -> int:
    """The side of the grid: given, or from the rotary table, or known by the file's name."""
    if "freqs_cis" in held:
        rows = read_shape(path, held, "freqs_cis", "slots pairs 2")[0] - 1 - num_transitions
        side = math.isqrt(max(rows, 0))
        if side < 1 or side**2 != rows:
            raise ValueError(f"{path}: 'freqs_cis' leaves {rows} rows for the grid, expected a square number")
        if given not in (None, side):
            raise ValueError(f"{path}: 'freqs_cis' is for grid {side}, expected the given grid {given}")
        return side
    if given is not None:
        return given
    if path.name not in PUBLISHED:
        raise ValueError(
            f"{path} does not tell its grid; give it (--grid): 16 for 256 pixels, 24 for 384, 32 for 512"
        )
    return PUBLISHED[path.name].grid


def _heads(path: Path, dim: int, num_layers: int, given: int | None) -> int:
    """The number of heads: given, or that of the named size."""
    if given is None:
        known = {(size.dim, size.num_layers): size.num_heads for size in SIZES.values()}
        if (dim, num_layers) not in known:
            raise ValueError(
                f"{path} has {num_layers} layers of width {dim}, which is none of the sizes "
                f"{', '.join(SIZES)}; give its number of heads (--heads)"
            )
        given = known[dim, num_layers]
    if given < 1 or dim % given:
        raise ValueError(
            f"{path}: num_heads must divide the width of 'tok_embeddings.weight', {dim}; got {given}"
        )
    return given

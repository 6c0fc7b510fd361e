"""How much memory decoding takes, and the batch that fits into a given memory.

Sizes of tensors, counted: the weights' packed copy, keys and values (2 · layers · rows · N · kv_heads · d
values, two rows a clip with guidance), and the work space of one step. None of them grows with the number of
steps times the vocabulary.
"""

import torch

from parvideo.engine import LOGITS, PREFILL, SCORES
from parvideo.transformer.model import VideoTransformer


def decode_bytes(
    transformer: VideoTransformer, batch: int, guided: bool = True, dtype: torch.dtype | None = None
) -> int:
    """Memory that generating ``batch`` clips takes at its peak, beside the transformer itself.

    Args:
        transformer: the model.
        batch: clips at a time.
        guided: with guidance, which doubles the rows.
        dtype: of the engine; the transformer's own if not given.
    """
    config, order = transformer.config, transformer.order
    dtype = transformer.head.weight.dtype if dtype is None else dtype
    group = max(map(len, order.step_slots))
    kv_dim = config["dim"] // config["num_heads"] * config["num_kv_heads"]
    rows = batch * (2 if guided else 1)
    weights = sum(p.numel() for p in [*transformer.blocks.parameters(), *transformer.head.parameters()])
    cache = 2 * transformer.num_layers * rows * order.num_tokens * kv_dim
    shared = config["num_heads"] // config["num_kv_heads"]
    scores = 2 * max(SCORES, shared * group * order.num_tokens)
    logits = transformer.head.out_features
    # Logits, their float32 copy, two filtered copies and the probabilities.
    drawing = min(batch * group, max(1, LOGITS // logits)) * logits
    slots = max(rows * group, min(PREFILL, rows * order.num_tokens), order.num_tokens)
    step = slots * (4 * config["dim"] + 2 * (config["dim"] + 2 * kv_dim) + 3 * config["ffn_hidden"])
    numbers = rows * order.num_tokens * 8 + batch * order.num_tokens * 16
    return (weights + cache + scores) * dtype.itemsize + (5 * drawing + step) * 4 + numbers


def batch_size_for(
    transformer: VideoTransformer, memory: int, guided: bool = True, dtype: torch.dtype | None = None
) -> int:
    """The largest batch whose `decode_bytes` fit into ``memory`` bytes.

    Raises:
        ValueError: if not even one clip fits; the message says how much it would take.
    """
    least = decode_bytes(transformer, 1, guided, dtype)
    if least > memory:
        raise ValueError(f"memory must be at least {least} bytes to generate one clip, got {memory}")
    batch = 1
    while decode_bytes(transformer, 2 * batch, guided, dtype) <= memory:
        batch *= 2
    step = batch
    while step > 1:
        step //= 2
        if decode_bytes(transformer, batch + step, guided, dtype) <= memory:
            batch += step
    return batch

"""How much memory decoding takes, how much there is, and the batch that fits into it.

Sizes of tensors, counted: the weights' packed copy, keys and values (`kv_bytes`, two rows a
clip with guidance), and the work space of one step. None of them grows with the number of
steps times the vocabulary.
"""

import os
import sys
from pathlib import Path

import torch

from parvideo.engine.attention import SCORES
from parvideo.engine.base import LOGITS, PREFILL
from parvideo.engine.machine import cache_bytes
from parvideo.order import GenerationOrder
from parvideo.transformer.cache import kv_bytes
from parvideo.transformer.model import VideoTransformer

LOOP_LOGITS = 10
"""Float32 tensors of the logits' size that `parvideo.sampling.generate` holds at most (top-p sorts them)."""
CGROUPS = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


def decode_bytes(
    transformer: VideoTransformer,
    order: GenerationOrder,
    batch: int,
    guided: bool = True,
    dtype: torch.dtype | None = None,
    engine: bool = True,
    window: int = 0,
) -> int:
    """Memory that generating ``batch`` clips takes at its peak, beside the transformer itself.

    Args:
        transformer: the model.
        order: it generates in.
        batch: clips at a time.
        guided: with guidance, which doubles the rows.
        dtype: of the engine; the transformer's own if not given.
        engine: by the decode engine; if not, by `parvideo.sampling.generate`, which packs no weights and
            draws for all clips at once.
        window: slots a call of `parvideo.sampling.fixed_point`, if that is what generates, without an engine.
    """
    config = transformer.config
    dtype = transformer.head.weight.dtype if dtype is None else dtype
    group = max(window, *map(len, order.step_slots))
    kv_dim = config["dim"] // config["num_heads"] * config["num_kv_heads"]
    rows = batch * (2 if guided else 1)
    parameters = [*transformer.blocks.parameters(), *transformer.head.parameters()]
    weights = sum(p.numel() for p in parameters) if engine else 0
    # While ways to compute a product are timed, its weight lies there in each way's arrangement.
    trial = 0
    if engine:
        weights += 4 * max(parameter.numel() for parameter in parameters)
        # And what is read to empty the processor's cache, where the weights do not lie in it in a step.
        trial = cache_bytes() if weights * dtype.itemsize > cache_bytes() // 2 else 0
    cache = kv_bytes(transformer.num_layers, rows, order.num_tokens + window, kv_dim, dtype.itemsize)
    shared = config["num_heads"] // config["num_kv_heads"]
    scores = 2 * max(SCORES, shared * group * order.num_tokens)
    logits = transformer.head.out_features
    # Logits, their float32 copy, two filtered copies and the probabilities.
    drawing = 5 * min(batch * group, max(1, LOGITS // logits)) * logits
    # What native kernels turn rows and scores into.
    turned = rows * group * (max(config["dim"], config["ffn_hidden"]) + 2) + 64
    turned += torch.get_num_threads() * (shared * group * (config["dim"] // config["num_heads"]))
    turned += torch.get_num_threads() * 16 * (order.num_tokens + 64)
    if not engine:
        turned = 0
        scores = rows * config["num_heads"] * group * order.num_tokens
        drawing = (rows + LOOP_LOGITS * batch) * group * logits
    slots = max(rows * group, min(PREFILL, rows * order.num_tokens), order.num_tokens)
    step = slots * (4 * config["dim"] + 2 * (config["dim"] + 2 * kv_dim) + 3 * config["ffn_hidden"])
    numbers = rows * order.num_tokens * 8 + batch * order.num_tokens * 16
    return cache + (weights + scores) * dtype.itemsize + (drawing + step + turned) * 4 + numbers + trial


def batch_size_for(
    transformer: VideoTransformer,
    order: GenerationOrder,
    memory: int,
    guided: bool = True,
    dtype: torch.dtype | None = None,
    engine: bool = True,
    window: int = 0,
) -> int:
    """The largest batch whose `decode_bytes` fit into ``memory`` bytes.

    Raises:
        ValueError: if not even one clip fits; the message says how much it would take.
    """
    least = decode_bytes(transformer, order, 1, guided, dtype, engine, window)
    if least > memory:
        raise ValueError(f"memory must be at least {least} bytes to generate one clip, got {memory}")
    batch = 1
    while decode_bytes(transformer, order, 2 * batch, guided, dtype, engine, window) <= memory:
        batch *= 2
    step = batch
    while step > 1:
        step //= 2
        if decode_bytes(transformer, order, batch + step, guided, dtype, engine, window) <= memory:
            batch += step
    return batch


def available_memory(device: torch.device) -> int:
    """Bytes that a program may still take on ``device`` without harm to others.

    On a CPU what the kernel says is available (Linux, `/proc/meminfo`), or less in a container of which the
    limit is nearer; on other systems half of the memory there is. On CUDA what the driver says is free and
    what this process's allocator holds unused.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if sys.platform != "linux":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    fields = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    return min([available, *_cgroup_rooms(CGROUPS, CGROUPS / "memory")])


def _cgroup_rooms(unified: Path, legacy: Path) -> list[int]:
    """What the limits of this container leave, in cgroups version 2 and 1; nothing where there is no limit.

    File pages that were not used lately count as free, as they do in MemAvailable.
    """
    rooms = []
    for folder, limit, usage, inactive in (
        (unified, "memory.max", "memory.current", "inactive_file"),
        (legacy, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        if (folder / limit).is_file() and (text := (folder / limit).read_text().strip()) != "max":
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            taken = int((folder / usage).read_text()) - int(statistics[inactive])
            rooms.append(max(0, int(text) - taken))
    return rooms

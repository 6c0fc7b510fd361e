"""What decides which kernel is fastest: the processor and the PyTorch that computes on it."""

import functools
import platform
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")
_CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL_CACHE = 1 << 25
_MOST_CACHE = 1 << 26
"""Bytes of cache reckoned with at most: a larger one is shared by cores that others compute on."""


@functools.cache
def processor_fields() -> dict[str, str]:
    """What Linux says of the first processor (``model name``, ``flags`` ...); empty on other systems."""
    if not _CPUINFO.is_file():
        return {}
    first = _CPUINFO.read_text(errors="replace").split("\n\n")[0]
    return {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())
    }


def processor_name() -> str:
    """The processor's name as its maker gives it."""
    return processor_fields().get("model name") or platform.processor() or platform.machine()


def processor_identity() -> str:
    """The processor's name and model, apart from others that bear the same name, and its instructions."""
    fields = processor_fields()
    model = " ".join(fields.get(name, "") for name in ("cpu family", "model", "stepping"))
    return f"{processor_name()} ({model.strip() or platform.machine()}, {fields.get('flags', '')})"


def instructions() -> str:
    """The vector instructions that PyTorch uses, such as ``AVX512``."""
    return torch.backends.cpu.get_cpu_capability()


@functools.cache
def cache_bytes() -> int:
    """Size of the last-level cache, as far as it counts here; 32 MiB where the system does not say."""
    sizes = []
    for path in _CACHE.glob("index*/size"):
        text = path.read_text().strip()
        unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 0)
        if unit and text[:-1].isdigit():
            sizes.append(int(text[:-1]) * unit)
    return min(max(sizes, default=_USUAL_CACHE), _MOST_CACHE)

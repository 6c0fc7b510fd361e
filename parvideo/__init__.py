"""parvideo: parallelized autoregressive video generation (arXiv 2412.15119)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parvideo.order import GenerationOrder, OrderSpec
    from parvideo.pipeline import VideoPipeline
    from parvideo.sampling import SamplingConfig, generate
    from parvideo.transformer import VideoTransformer

__all__ = [
    "GenerationOrder",
    "OrderSpec",
    "SamplingConfig",
    "VideoPipeline",
    "VideoTransformer",
    "__version__",
    "generate",
]

_HOMES = {
    "GenerationOrder": "parvideo.order",
    "OrderSpec": "parvideo.order",
    "SamplingConfig": "parvideo.sampling",
    "VideoPipeline": "parvideo.pipeline",
    "VideoTransformer": "parvideo.transformer",
    "generate": "parvideo.sampling",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `parvideo --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'parvideo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

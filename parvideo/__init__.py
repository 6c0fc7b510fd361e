"""parvideo: parallelized autoregressive video generation (arXiv 2412.15119).

Generate from a model folder                 VideoPipeline.from_pretrained(folder).generate(["Archery"])
how to draw: temperature, top-k, guidance    SamplingConfig
Save clips as mp4, gif, webp                 write_video("clip.mp4", clips, fps)
Clips to tokens and back                     CausalVideoTokenizer, LlamaGenTokenizer, load_tokenizer
Which tokens are generated together          OrderSpec(regions=(1, 2, 2)).build(grid) -> GenerationOrder
The network, and the loop that one can read  VideoTransformer, generate
The same tokens faster on a CPU              CpuEngine (CudaGraphEngine: experimental)
Score clips                                  FrechetVideoDistance, I3DExtractor
Train from Python                            GeneratorModule, TokenizerModule, ClipDataModule, TokenDataModule
Everything else, or from the shell           the rooms (docs/architecture.md); `parvideo --help`
"""

import importlib
from typing import TYPE_CHECKING, Any

from parvideo.version import __version__

if TYPE_CHECKING:
    from parvideo.datasets.writing import write_video
    from parvideo.engine.cpu import CpuEngine
    from parvideo.engine.cuda_graphs import CudaGraphEngine
    from parvideo.metrics import FrechetVideoDistance
    from parvideo.metrics.extractors.i3d import I3DExtractor
    from parvideo.order import GenerationOrder, OrderSpec
    from parvideo.pipeline import VideoPipeline
    from parvideo.pretrained.folder import load_tokenizer
    from parvideo.sampling import SamplingConfig, generate
    from parvideo.tokenizer import CausalVideoTokenizer, LlamaGenTokenizer, VideoTokenizer
    from parvideo.training.data import ClipDataModule, TokenDataModule
    from parvideo.training.generator import GeneratorModule
    from parvideo.training.tokenizer import TokenizerModule
    from parvideo.transformer import VideoTransformer

__all__ = [
    "CausalVideoTokenizer",
    "ClipDataModule",
    "CpuEngine",
    "CudaGraphEngine",
    "FrechetVideoDistance",
    "GenerationOrder",
    "GeneratorModule",
    "I3DExtractor",
    "LlamaGenTokenizer",
    "OrderSpec",
    "SamplingConfig",
    "TokenDataModule",
    "TokenizerModule",
    "VideoPipeline",
    "VideoTokenizer",
    "VideoTransformer",
    "__version__",
    "generate",
    "load_tokenizer",
    "write_video",
]

_HOMES = {
    "CausalVideoTokenizer": "parvideo.tokenizer",
    "ClipDataModule": "parvideo.training.data",
    "CpuEngine": "parvideo.engine.cpu",
    "CudaGraphEngine": "parvideo.engine.cuda_graphs",
    "FrechetVideoDistance": "parvideo.metrics",
    "GenerationOrder": "parvideo.order",
    "GeneratorModule": "parvideo.training.generator",
    "I3DExtractor": "parvideo.metrics.extractors.i3d",
    "LlamaGenTokenizer": "parvideo.tokenizer",
    "OrderSpec": "parvideo.order",
    "SamplingConfig": "parvideo.sampling",
    "TokenDataModule": "parvideo.training.data",
    "TokenizerModule": "parvideo.training.tokenizer",
    "VideoPipeline": "parvideo.pipeline",
    "VideoTokenizer": "parvideo.tokenizer",
    "VideoTransformer": "parvideo.transformer",
    "generate": "parvideo.sampling",
    "load_tokenizer": "parvideo.pretrained.folder",
    "write_video": "parvideo.datasets.writing",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `parvideo --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'parvideo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, whether imported yet or not."""
    return sorted(__all__)

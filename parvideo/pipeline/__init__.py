"""From class names to clips: a generator with its tokenizer and class names."""

from parvideo.pipeline.engines import Progress
from parvideo.pipeline.video_pipeline import VideoPipeline

__all__ = ["Progress", "VideoPipeline"]

"""From class names to clips: a generator with its tokenizer and class names."""

from parvideo.pipeline.video_pipeline import Progress, VideoPipeline

__all__ = ["Progress", "VideoPipeline"]

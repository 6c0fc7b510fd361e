"""parvideo: parallelized autoregressive video generation (arXiv 2412.15119)."""

__version__ = "0.1.0"

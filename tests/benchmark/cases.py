"""Settings of a benchmark that is over in a moment."""

from parvideo.benchmark.report import Settings

TINY = Settings(
    size="B",
    dim=16,
    layers=1,
    heads=2,
    vocabulary=64,
    classes=101,
    grid=(2, 4, 4),
    regions=[(1, 1, 1), (1, 2, 2)],
    batch=1,
    guidance=2.0,
    dtype="float32",
    threads=1,
    steps_limit=12,
    repeats=1,
    clock="wall",
    plain=True,
    peers=[],
    tokenizer="none",
    training=False,
    kernels=False,
)

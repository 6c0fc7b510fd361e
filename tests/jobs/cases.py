"""Clips made by the job and read back; clips scored."""

from pathlib import Path
from typing import Any

import numpy as np

from parvideo.jobs import evaluate, fvd_stats
from parvideo.jobs import sample as job
from tests.flat import call

SMALL: dict[str, Any] = {"frames": 9, "size": 32, "stride": 2, "real_count": 0, "fake_count": 6, "workers": 0}
"""A protocol for small clips, as options of the command."""


def sample(model: Path, out: Path, class_: list[str] | None = None, **options: Any) -> None:
    """The job; the options of generating are told like the others, as on the command line."""
    call(job.sample, model, out, class_, **options)


def arrays(folder: Path) -> list[dict[str, np.ndarray]]:
    """What lies in its files of clips."""
    return [dict(np.load(path)) for path in sorted(folder.glob("clips-*.npz"))]


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of its other files."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".npz"}


def score(world: Path, out: Path, **options: Any) -> dict[str, Any]:
    """The job's report on the clips of `world`, or on its model or tokenizer."""
    source = {} if options.keys() & {"model", "tokenizer"} else {"clips": world / "clips"}
    given = {"features": world / "net", **SMALL, **source, **options}
    report: dict[str, Any] = call(evaluate.evaluate, world / "toy", out, **given)
    return report


def keep_statistics(world: Path, out: Path, **options: Any) -> None:
    """The features of its real clips."""
    call(fvd_stats.fvd_stats, world / "toy", out, **{"features": world / "net", **SMALL, **options})

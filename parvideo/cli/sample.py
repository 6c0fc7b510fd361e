"""`parvideo sample`: generate clips for class names with a trained generator."""

import sys

from parvideo.jobs.options import SampleOptions


def sample(options: SampleOptions) -> None:
    """Generate clips of classes; the same command goes on where a stopped one was.

    Writes clips-*.npz without loss (arrays clips, labels, indices) as they are made, an .mp4 for some clips,
    and one animated contact sheet. Memory does not grow with the number of clips.

    Args:
        options: what to generate, and where to.

    Raises:
        ValueError: on an unknown class (near names are suggested), or if ``out`` holds clips made otherwise.
    """
    from parvideo.jobs import sample as job

    line = job.sample(options)
    if line is not None:
        print(line, file=sys.stderr)

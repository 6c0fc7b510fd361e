"""`parvideo tokenize`: turn videos into tokens on disk with a trained tokenizer; a killed run goes on."""

import sys

from parvideo.jobs.options import TokenizeOptions


def tokenize(options: TokenizeOptions) -> None:
    """Encode every video of a data set with a trained tokenizer, in float32.

    The folder holds train/, test/ and a copy of the tokenizer, and is what a generator trains on
    (--data.tokens).

    Args:
        options: what to encode, and where to.

    Raises:
        ValueError: if ``out`` was begun with other settings or videos, a class is left without a clip, or the
            tokenizer cannot encode such clips. Then nothing is written.
    """
    from parvideo.jobs import tokenize as job

    for folder, manifest in job.tokenize(options).items():
        grid = "x".join(map(str, manifest.grid))
        print(f"{folder}: {len(manifest.ids)} clips as {grid} tokens", file=sys.stderr)

"""`parvideo export`: the model in a run's checkpoint as a model folder."""

import sys
from pathlib import Path
from typing import Literal


def export(
    run: Path,
    out: Path,
    weights: Literal["auto", "average", "raw"] = "auto",
    checkpoint: Path | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    tokenizer: Path | None = None,
) -> None:
    """Write a trained model as safetensors and a config, which VideoPipeline.from_pretrained loads.

    A run folder's own model/ holds the weights of its last validation; this takes any checkpoint, and the
    weights without averaging too.

    Args:
        run: run folder of `parvideo fit`.
        out: the model folder to write.
        weights: the moving average, the weights as trained (raw), or auto: the average if the run kept one.
        checkpoint: a certain checkpoint; by default the newest whose bytes are whole.
        dtype: what weights are stored in; by default as they were trained. bfloat16 halves the file; models
            compute in float32 all the same. A tokenizer's rounded weights give a few clips other tokens:
            export it before you tokenize.
        tokenizer: of a generator, the model folder of another tokenizer to put with it, whose decoder alone
            differs from that of the run's (trained with decoder_only).

    Raises:
        ValueError: if there is no checkpoint, it is damaged, it holds no average and one is asked for, the
            run's tokenizer is another than it was trained with, or ``tokenizer`` gives clips other tokens.
        FileExistsError: if ``out`` holds a model already.
    """
    from parvideo.jobs import export as job

    print(job.export(run, out, weights, checkpoint, dtype, tokenizer), file=sys.stderr)

"""`parvideo export`: the model in a run's checkpoint as a model folder."""

import sys
from pathlib import Path
from typing import Literal


def export(
    run: Path,
    out: Path,
    weights: Literal["auto", "average", "raw"] = "auto",
    checkpoint: Path | None = None,
) -> None:
    """Write a trained model as safetensors and a config, which VideoPipeline.from_pretrained loads.

    A run folder's own model/ holds the weights of its last validation; this takes any checkpoint, and the
    weights without averaging too.

    Args:
        run: run folder of `parvideo fit`.
        out: the model folder to write.
        weights: the moving average, the weights as trained (raw), or auto: the average if the run kept one.
        checkpoint: a certain checkpoint; by default the newest whose bytes are whole.

    Raises:
        ValueError: if there is no checkpoint, it is damaged, it holds no average and one is asked for, or the
            run's tokenizer is another than it was trained with.
        FileExistsError: if ``out`` holds a model already.
    """
    from parvideo.jobs import export as job

    print(job.export(run, out, weights, checkpoint), file=sys.stderr)

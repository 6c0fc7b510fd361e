"""`parvideo sample`: generate clips for class names with a trained generator."""

import sys
from pathlib import Path

from parvideo.jobs.generation_options import PLAIN, GenerationOptions


def sample(
    model: Path,
    out: Path,
    class_: list[str] | None = None,
    class_index: list[int] | None = None,
    num: int = 1,
    generation: GenerationOptions = PLAIN,
    first_frames: Path | None = None,
    given_frames: int = 1,
    batch_size: int | None = None,
    clips_per_file: int = 16,
    previews: int = 64,
    fps: float | None = None,
    devices: int = 1,
    accelerator: str = "auto",
) -> None:
    """Generate clips of classes; the same command goes on where a stopped one was.

    Writes clips-*.npz without loss (arrays clips, labels, indices) as they are made, an .mp4 for some clips,
    and one animated contact sheet. Memory does not grow with the number of clips.

    Args:
        model: a generator's run folder or model folder.
        out: folder for the clips.
        class_: class name; may be repeated; every class if neither this nor an index is given.
        class_index: class by its index, counted from 0; may be repeated; indices follow names.
        num: clips of each class, or of each of the first frames.
        generation: how to generate.
        first_frames: a video or image, or a folder of them, that clips go on from; with one class for all of
            them, or one for each in the order of their names.
        given_frames: how many first frames are given of each, as many as the tokenizer encodes: 1, or 1 + k
            times its frames a latent frame.
        batch_size: clips generated together; if not given as many as half of the free memory holds (a power
            of two, up to 16 on a CPU and 256 on CUDA, where it is halved should memory run out).
        clips_per_file: clips in one .npz; a stopped run goes on with the first file that is not finished.
        previews: how many clips get an .mp4, spread evenly over the classes.
        fps: frames a second of the .mp4; as the model was trained, if not given.
        devices: how many devices generate; the clips do not depend on it.
        accelerator: auto, cpu, gpu, ...

    Raises:
        ValueError: on an unknown class (near names are suggested), or if ``out`` holds clips made otherwise.
    """
    from parvideo.jobs import sample as job

    line = job.sample(
        model,
        out,
        class_,
        class_index,
        num,
        generation,
        first_frames,
        given_frames,
        batch_size,
        clips_per_file,
        previews,
        fps,
        devices,
        accelerator,
    )
    if line is not None:
        print(line, file=sys.stderr)

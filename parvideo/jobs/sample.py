"""Sampling: from class names, or first frames, to a folder of clips; a stopped job goes on where it was."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parvideo.engine.memory import available_memory, batch_size_for, decode_bytes
from parvideo.evaluation.clip_formats import recorded_format, write_format
from parvideo.files import claim_folder, read_json
from parvideo.jobs.devices import launch
from parvideo.jobs.first_frames import FirstFrames
from parvideo.jobs.options import SampleOptions
from parvideo.jobs.sample_files import (
    Clips,
    exit_on_sigterm,
    finish_files,
    generate_files,
    remove_partial_files,
)
from parvideo.order import GenerationOrder
from parvideo.pipeline import VideoPipeline
from parvideo.pipeline.class_names import find_class, is_index
from parvideo.pretrained.folder import TOKENIZER, find_folder, fingerprint
from parvideo.pretrained.hub import origin
from parvideo.sampling import SamplingConfig

SETTINGS = "sample.json"
MOST_AT_ONCE = {"cpu": 16, "cuda": 256}
"""The largest batch that is chosen without being asked for. On a CPU more clips at once take as long each."""


def sample(options: SampleOptions) -> str | None:
    """Generate clips into a folder.

    Args:
        options: what to generate, and where to.

    Returns:
        What lies in the folder, in a line; None in every process but the first.

    Raises:
        ValueError: on an unknown class, or if ``out`` holds clips made otherwise.
    """
    model, out, generation = options.model, options.out, options.generation
    clips_per_file, previews = options.clips_per_file, options.previews
    config = generation.config()
    fabric = launch(options.accelerator, options.devices)
    pipeline = generation.load(model, fabric.device)
    subjects = choose_subjects(
        pipeline.class_names, options.class_, options.class_index, generation.unconditional
    )
    beginnings = None
    if options.first_frames is not None:
        beginnings = read_beginnings(pipeline, model, options.first_frames, options.given_frames)
        asked = subjects if options.class_ or options.class_index or generation.unconditional else []
        subjects = _one_each(asked, beginnings)
    order = generation.prepare(pipeline, beginnings.latent_frames if beginnings else 0)
    fps = options.fps or pipeline.fps or 8.0
    clips = Clips(
        [subject.label for subject in subjects],
        [subject.title for subject in subjects],
        options.num,
        config,
        generation.latent_frames,
        generation.overlap,
        beginnings,
        fps,
        order,
    )
    together = options.batch_size or choose_batch_size(pipeline, order, config, options.devices)
    folder = find_folder(model)
    claim_samples(
        out,
        {
            "model": fingerprint(folder),
            "tokenizer": fingerprint(folder / TOKENIZER),
            **({} if (source := origin(folder)) is None else {"source": source}),
            "classes": [subject.name for subject in subjects],
            "labels": list(clips.labels),
            "num": options.num,
            "clips_per_file": clips_per_file,
            "sampling": config.to_dict(),
            "regions": generation.cut,
            **({} if generation.order is None else {"order": generation.order}),
            "first_frames": beginnings and beginnings.description(),
            "latent_frames": generation.latent_frames,
            "overlap": generation.overlap if generation.latent_frames is not None else None,
            **pipeline.dtype_setting,
            **pipeline.decoder.record(fabric.device),
        },
    )
    if fabric.is_global_zero:
        write_format(out, recorded_format(folder), pipeline.class_names)
        remove_partial_files(out)
    with exit_on_sigterm():
        generate_files(pipeline, clips, out, clips_per_file, together, previews, fabric)
    if not fabric.is_global_zero:
        return None
    shown = finish_files(clips, out, clips_per_file, previews)
    filmed = len(clips.shown(previews))
    return (
        f"{len(clips)} clips in {out}, made {together} at a time; {filmed} have an .mp4, and "
        f"contact-sheet.webp shows {shown}"
    )


@dataclass(frozen=True)
class Subject:
    """What clips are made of: a class, or none.

    Attributes:
        label: for the transformer.
        name: of the class; None without one.
    """

    label: int
    name: str | None

    @property
    def title(self) -> str:
        """What its clips are called."""
        return "unconditional" if self.name is None else self.name


def choose_subjects(
    names: Sequence[str],
    words: Sequence[str] | None,
    indices: Sequence[int] | None,
    unconditional: bool = False,
) -> list[Subject]:
    """The classes asked for on the command line, names first; all of them, each once, if none is.

    A word is a class's name. One that is none, and could only be an index, since no class is called by a
    number, is taken for one, and that is said.

    Args:
        names: of all classes, in label order.
        words: given as names.
        indices: given as indices.
        unconditional: generate without a class.

    Raises:
        ValueError: on an unknown class.
    """
    if unconditional:
        return [Subject(find_class(names, None), None)]
    labels = []
    for word in words or []:
        if is_index(word) and not any(name.strip().isdecimal() for name in names):
            labels.append(find_class(names, int(word)))
            print(
                f"no class is called {word}: taken as --class-index {word}, {names[labels[-1]]}",
                file=sys.stderr,
            )
        else:
            labels.append(find_class(names, word))
    labels += [find_class(names, index) for index in indices or []]
    if words is None and indices is None:
        labels = list(range(len(names)))
    return [Subject(label, names[label]) for label in labels]


def claim_samples(out: Path, settings: dict[str, Any]) -> None:
    """Begin a folder of samples, or go on with one that was begun with the same settings.

    Raises:
        ValueError: if it was begun with others; the message names what differs.
    """
    path = out / SETTINGS
    there = read_json(path) if path.exists() else settings
    if isinstance(there, dict) and "clips_per_file" not in there:
        raise ValueError(
            f"{out} was begun by an earlier parvideo, whose files hold a batch each; choose another folder"
        )
    # Earlier parvideos wrote no labels: there the names tell them. A source is for the reader: the
    # hashes decide.
    claim_folder(path, settings, "clips", ({"labels"} - set(there)) | {"source"})


def read_beginnings(pipeline: VideoPipeline, model: Path, path: Path, frames: int) -> FirstFrames:
    """The first frames that a model's clips may go on from.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if the tokenizer cannot encode so many.
    """
    height, width = pipeline.clip_shape[1:]
    latent_frames = pipeline.tokenizer.latent_grid((frames, height, width))[0]
    return FirstFrames(path, frames, latent_frames, (height, width), recorded_format(find_folder(model)))


def _one_each(subjects: list[Subject], beginnings: FirstFrames) -> list[Subject]:
    """The class of each of the first frames."""
    count = len(beginnings.files)
    if len(subjects) not in (1, count):
        raise ValueError(
            f"first_frames has {count} files and class {len(subjects)} values; give one class for all of "
            "them, or one for each"
        )
    return subjects * (count // len(subjects))


def choose_batch_size(
    pipeline: VideoPipeline, order: GenerationOrder, config: SamplingConfig, processes: int = 1
) -> int:
    """How many clips to generate together: what half of the free memory holds, a power of two.

    The other half is for decoding to pixels, which is bounded by itself, and for everybody else.

    Args:
        pipeline: on the device where it is to run.
        order: to generate in.
        config: whether there is guidance, and what tokens are drawn by.
        processes: that share the memory.

    Raises:
        ValueError: if not even one clip fits.
    """
    transformer = pipeline.transformer
    device = transformer.head.weight.device
    on_cpu, window = device.type == "cpu", pipeline.window or 0
    engine, dtype = pipeline.chosen_engine(config) != "plain", pipeline.dtype
    memory = available_memory(device) // 2 // (processes if on_cpu else 1)
    guided = config.guided(order.steps)
    least = decode_bytes(transformer, order, 1, guided, dtype, engine, window)
    if least > memory:
        raise ValueError(
            f"generating one clip takes {least / 2**30:.1f} GiB, and half of the free memory is "
            f"{memory / 2**30:.1f} GiB; free some, or try --batch-size 1"
        )
    fits = batch_size_for(transformer, order, memory, guided, dtype, engine, window)
    most = MOST_AT_ONCE["cpu" if on_cpu else "cuda"]
    return 1 << (min(fits, most).bit_length() - 1)

"""`parvideo sample`: generate clips for class names with a trained generator."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvideo.checks import at_least, positive
from parvideo.files import read_json, write_json
from parvideo.jobs.generation_options import PLAIN, GenerationOptions

if TYPE_CHECKING:
    from parvideo.jobs.first_frames import FirstFrames
    from parvideo.pipeline import VideoPipeline

SETTINGS = "sample.json"


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
    from parvideo.evaluation.clip_formats import recorded_form, write_form
    from parvideo.jobs.devices import launch
    from parvideo.jobs.sample import (
        Clips,
        choose_batch_size,
        ending_tidily,
        finish_files,
        generate_files,
        sweep,
    )
    from parvideo.pipeline import VideoPipeline
    from parvideo.pretrained.folder import TOKENIZER, find_folder, fingerprint

    at_least(1, num=num, clips_per_file=clips_per_file, given_frames=given_frames, batch_size=batch_size)
    at_least(0, previews=previews)
    positive(fps=fps)
    if first_frames is None and given_frames > 1:
        raise ValueError(f"given_frames is {given_frames}, but there are no first_frames to take them from")
    if generation.unconditional and (class_ or class_index):
        raise ValueError("unconditional clips have no class; leave out either --unconditional or --class")
    config = generation.config()
    fabric = launch(accelerator, devices)
    pipeline = VideoPipeline.from_pretrained(model, fabric.device)
    subjects = choose_subjects(pipeline.class_names, class_, class_index, generation.unconditional)
    beginnings = None
    if first_frames is not None:
        beginnings = read_beginnings(pipeline, model, first_frames, given_frames)
        asked = subjects if class_ or class_index or generation.unconditional else []
        subjects = _one_each(asked, beginnings)
    order = generation.prepare(pipeline, beginnings.latent_frames if beginnings else 0)
    if fps is None:
        fps = 8.0 if pipeline.fps is None else pipeline.fps
    clips = Clips(
        [subject.label for subject in subjects],
        [subject.title for subject in subjects],
        num,
        config,
        generation.latent_frames,
        generation.overlap,
        beginnings,
        fps,
        order,
    )
    together = choose_batch_size(pipeline, order, config, devices) if batch_size is None else batch_size
    folder = find_folder(model)
    claim(
        out,
        {
            "model": fingerprint(folder),
            "tokenizer": fingerprint(folder / TOKENIZER),
            "classes": [subject.name for subject in subjects],
            "labels": list(clips.labels),
            "num": num,
            "clips_per_file": clips_per_file,
            "sampling": config.to_dict(),
            "regions": generation.cut,
            **({} if generation.order is None else {"order": generation.order}),
            "first_frames": beginnings and beginnings.description(),
            "latent_frames": generation.latent_frames,
            "overlap": generation.overlap if generation.latent_frames is not None else None,
        },
    )
    if fabric.is_global_zero:
        write_form(out, recorded_form(folder), pipeline.class_names)
        sweep(out)
    with ending_tidily():
        generate_files(pipeline, clips, out, clips_per_file, together, previews, fabric)
    if fabric.is_global_zero:
        shown = finish_files(clips, out, clips_per_file, previews)
        filmed = len(clips.shown(previews))
        print(
            f"{len(clips)} clips in {out}, made {together} at a time; {filmed} have an .mp4, and "
            f"contact-sheet.webp shows {shown}",
            file=sys.stderr,
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
    from parvideo.pipeline.class_names import find_class, is_index

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


def claim(out: Path, settings: dict[str, Any]) -> None:
    """Begin a folder of samples, or go on with one that was begun with the same settings.

    Raises:
        ValueError: if it was begun with others; the message names what differs.
    """
    path = out / SETTINGS
    if not path.exists():
        write_json(path, settings)
        return
    there = read_json(path)
    if "clips_per_file" not in there:
        raise ValueError(
            f"{out} was begun by an earlier parvideo, whose files hold a batch each; choose another folder"
        )
    # Through JSON, where a tuple is a list. Earlier parvideos wrote no labels: there the names tell them.
    told = [name for name in settings if name in there or name != "labels"]
    other = [name for name in told if there.get(name) != _plain(settings[name])]
    if other:
        raise ValueError(f"{out} holds clips made with another {', '.join(other)}; choose another folder")


def read_beginnings(pipeline: "VideoPipeline", model: Path, path: Path, frames: int) -> "FirstFrames":
    """The first frames that a model's clips may go on from.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if the tokenizer cannot encode so many.
    """
    from parvideo.jobs.first_frames import FirstFrames
    from parvideo.pretrained.folder import load_extra

    extra = load_extra(model)
    height, width = pipeline.clip_shape[1:]
    latent_frames = pipeline.tokenizer.latent_grid((frames, height, width))[0]
    return FirstFrames(path, frames, latent_frames, (height, width), extra.get("fps"), extra.get("stride"))


def _one_each(subjects: list[Subject], beginnings: "FirstFrames") -> list[Subject]:
    """The class of each of the first frames."""
    count = len(beginnings.files)
    if len(subjects) not in (1, count):
        raise ValueError(
            f"first_frames has {count} files and class {len(subjects)} values; give one class for all of "
            "them, or one for each"
        )
    return subjects * (count // len(subjects))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value

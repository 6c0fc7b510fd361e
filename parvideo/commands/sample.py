"""`parvideo sample`: clips for class names, as videos to look at and lossless arrays to score."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from parvideo.commands.numbers import parse_interval, parse_triple
from parvideo.files import read_json, write_json

if TYPE_CHECKING:
    from parvideo.commands.first_frames import FirstFrames
    from parvideo.pipeline import VideoPipeline

SETTINGS = "sample.json"


def sample(
    model: Path,
    out: Path,
    class_: list[str] | None = None,
    num: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    guidance_scale: float = 1.0,
    guidance_schedule: Literal["constant", "linear", "cosine"] = "constant",
    guidance_interval: str = "0,1",
    regions: str | None = None,
    first_frames: Path | None = None,
    given_frames: int = 1,
    latent_frames: int | None = None,
    overlap: int = 1,
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
        class_: class name or index; may be repeated; every class if not given.
        num: clips of each class, or of each of the first frames.
        seed: of the random numbers; each clip has its own, keyed by seed and number.
        temperature: divides the logits; 0 takes the most likely token.
        top_k: draw from the k most likely tokens; 0 for all.
        top_p: draw from the most likely tokens that together reach this probability.
        guidance_scale: classifier-free guidance; 1 is off.
        guidance_schedule: how guidance grows over the steps.
        guidance_interval: from,to; the part of the steps, as fractions, that is guided.
        regions: t,h,w of the order to generate in, one of those that the model was trained for; its main
            one if not given.
        first_frames: a video or image, or a folder of them, that clips go on from; with one class for all of
            them, or one for each in the order of their names.
        given_frames: how many first frames are given of each, as many as the tokenizer encodes: 1, or 1 + k
            times its frames a latent frame.
        latent_frames: length of the clips in latent frames; as the model was trained, if not given. Beyond
            that its window slides.
        overlap: latent frames that each further window takes over.
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
    from parvideo.commands.sample_files import (
        Clips,
        choose_batch_size,
        ending_tidily,
        finish_files,
        generate_files,
        sweep,
    )
    from parvideo.pipeline import VideoPipeline
    from parvideo.pretrained import TOKENIZER, find_folder, fingerprint
    from parvideo.sampling import SamplingConfig
    from parvideo.training.devices import launch

    least = {"num": num, "clips_per_file": clips_per_file, "given_frames": given_frames, "overlap": overlap}
    if batch_size is not None:
        least["batch_size"] = batch_size
    for name, value in least.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    if previews < 0:
        raise ValueError(f"previews is {previews}; it must be 0 (no .mp4) or more")
    if first_frames is None and given_frames > 1:
        raise ValueError(f"given_frames is {given_frames}, but there are no first_frames to take them from")
    interval = parse_interval("guidance_interval", guidance_interval)
    config = SamplingConfig(temperature, top_k, top_p, guidance_scale, guidance_schedule, interval, seed)
    fabric = launch(accelerator, devices)
    pipeline = VideoPipeline.from_pretrained(model, fabric.device)
    chosen = None if regions is None else parse_triple("regions", regions)
    if chosen is not None:
        pipeline.choose_regions(chosen)
    classes = [pipeline.resolve_class(name) for name in class_ or range(len(pipeline.class_names))]
    beginnings = None
    if first_frames is not None:
        beginnings = read_beginnings(pipeline, model, first_frames, given_frames)
        classes = _one_each(classes, beginnings, class_)
    pipeline.check_length(latent_frames, overlap, beginnings.latent_frames if beginnings else 0)
    clips = Clips(
        classes,
        [pipeline.class_names[label] for label in classes],
        num,
        config,
        latent_frames,
        overlap,
        beginnings,
        fps or pipeline.fps or 8.0,
    )
    together = batch_size or choose_batch_size(pipeline, config, devices)
    folder = find_folder(model)
    claim(
        out,
        {
            "model": fingerprint(folder),
            "tokenizer": fingerprint(folder / TOKENIZER),
            "classes": clips.names,
            "num": num,
            "clips_per_file": clips_per_file,
            "sampling": dataclasses.asdict(config),
            "regions": chosen,
            "first_frames": beginnings and beginnings.description(),
            "latent_frames": latent_frames,
            "overlap": overlap if latent_frames is not None else None,
        },
    )
    if fabric.is_global_zero:
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
    # Through JSON, where a tuple is a list.
    other = [name for name, value in settings.items() if there.get(name) != _plain(value)]
    if other:
        raise ValueError(f"{out} holds clips made with another {', '.join(other)}; choose another folder")


def read_beginnings(pipeline: "VideoPipeline", model: Path, path: Path, frames: int) -> "FirstFrames":
    """The first frames that a model's clips may go on from.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if the tokenizer cannot encode so many.
    """
    from parvideo.commands.first_frames import FirstFrames
    from parvideo.pretrained import load_extra

    extra = load_extra(model)
    height, width = pipeline.clip_shape[1:]
    latent_frames = pipeline.tokenizer.latent_grid((frames, height, width))[0]
    return FirstFrames(path, frames, latent_frames, (height, width), extra.get("fps"), extra.get("stride"))


def _one_each(classes: list[int], beginnings: "FirstFrames", given: list[str] | None) -> list[int]:
    """The class of each of the first frames."""
    count = len(beginnings.files)
    if given is None or len(classes) not in (1, count):
        raise ValueError(
            f"first_frames has {count} files and class {len(given or [])} values; give one class for all of "
            "them, or one for each"
        )
    return classes * (count // len(classes))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value

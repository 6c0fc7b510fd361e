"""`parvideo sample`: clips for class names, as videos to look at and lossless arrays to score."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning import Fabric
from torch import Tensor
from tqdm import tqdm

from parvideo.datasets import write_contact_sheet, write_mp4
from parvideo.files import atomic_path, read_json, write_json
from parvideo.pipeline import VideoPipeline
from parvideo.pretrained import TOKENIZER, find_folder, fingerprint
from parvideo.sampling import SamplingConfig
from parvideo.training.devices import launch, own_share

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
    batch_size: int = 16,
    fps: float | None = None,
    devices: int = 1,
    accelerator: str = "auto",
) -> None:
    """Generate clips of classes; the same command goes on where a stopped one was.

    Writes an .mp4 for each clip, clips-*.npz without loss (arrays clips, labels, indices), and one animated
    contact sheet.

    Args:
        model: a generator's run folder or model folder.
        out: folder for the clips.
        class_: class name or index; may be repeated; every class if not given.
        num: clips of each class.
        seed: of the random numbers; each clip has its own, keyed by seed and number.
        temperature: divides the logits; 0 takes the most likely token.
        top_k: draw from the k most likely tokens; 0 for all.
        top_p: draw from the most likely tokens that together reach this probability.
        guidance_scale: classifier-free guidance; 1 is off.
        guidance_schedule: how guidance grows over the steps.
        batch_size: clips generated together, and in one .npz.
        fps: frames a second of the .mp4; as the model was trained, if not given.
        devices: how many devices generate; the clips do not depend on it.
        accelerator: auto, cpu, gpu, ...

    Raises:
        ValueError: on an unknown class (near names are suggested), or if ``out`` holds clips made otherwise.
    """
    if num < 1 or batch_size < 1:
        raise ValueError(f"num is {num} and batch_size {batch_size}; both must be 1 or more")
    config = SamplingConfig(temperature, top_k, top_p, guidance_scale, guidance_schedule, seed=seed)
    fabric = launch(accelerator, devices)
    pipeline = VideoPipeline.from_pretrained(model, fabric.device)
    fps = fps or pipeline.fps or 8.0
    classes = [pipeline.resolve_class(name) for name in class_ or range(len(pipeline.class_names))]
    labels = torch.tensor([label for label in classes for _ in range(num)])
    folder = find_folder(model)
    claim(
        out,
        {
            "model": fingerprint(folder),
            "tokenizer": fingerprint(folder / TOKENIZER),
            "classes": [pipeline.class_names[label] for label in classes],
            "num": num,
            "batch_size": batch_size,
            "sampling": dataclasses.asdict(config),
        },
    )
    clips = sample_files(pipeline, labels, config, out, batch_size, fabric)
    if not fabric.is_global_zero:
        return
    names = [pipeline.class_names[label] for label in labels.tolist()]
    for index, (clip, name) in enumerate(zip(clips, names, strict=True)):
        path = out / f"{index:05d}-{name.replace('/', '_')}.mp4"
        if not path.exists():
            write_mp4(path, clip, fps)
    shown = min(len(clips), 64)
    columns = min(num, 8) if len(classes) > 1 else None
    write_contact_sheet(out / "contact-sheet.webp", clips[:shown], fps, columns, names[:shown], scale=2)
    print(f"{len(clips)} clips in {out}; contact-sheet.webp shows {shown} of them", file=sys.stderr)


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
    # Through JSON, where a tuple is a list.
    other = [name for name, value in settings.items() if there.get(name) != _plain(value)]
    if other:
        raise ValueError(f"{out} holds clips made with another {', '.join(other)}; choose another folder")


def sample_files(
    pipeline: VideoPipeline,
    labels: Tensor,
    config: SamplingConfig,
    out: Path,
    batch_size: int,
    fabric: Fabric,
) -> Tensor:
    """Generate clips into ``clips-00000.npz``, ...; files that are there are not made again.

    Args:
        pipeline: generates them.
        labels: int64 ``[B]``.
        config: how to sample, with the seed.
        out: folder for the files.
        batch_size: clips in one file, generated together.
        fabric: launched; its processes share the files.

    Returns:
        All clips, uint8 ``[B, T, H, W, 3]``.
    """
    files = [out / f"clips-{number:05d}.npz" for number in range(-(-len(labels) // batch_size))]
    missing = own_share(fabric, [number for number, file in enumerate(files) if not file.exists()])
    steps = pipeline.transformer.order.steps
    hidden = None if fabric.is_global_zero else True
    bar = tqdm(total=len(missing) * steps, desc=f"sampling {out.name}", unit="step", disable=hidden)
    for number in missing:
        indices = range(number * batch_size, min((number + 1) * batch_size, len(labels)))
        chosen = labels[indices.start : indices.stop]
        tokens = pipeline.generate_tokens(
            chosen.to(fabric.device),
            config.seed,
            config,
            batch_size,
            indices,
            lambda done, total: bar.update(),
        )
        clips = pipeline.decode(tokens, batch_size).numpy()
        with atomic_path(files[number]) as temporary:
            np.savez(temporary, clips=clips, labels=chosen.numpy(), indices=np.asarray(indices))
    bar.close()
    fabric.barrier()  # every file is there
    return torch.cat([torch.from_numpy(np.load(file, allow_pickle=False)["clips"]) for file in files])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value

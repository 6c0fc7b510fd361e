"""Whether generated clips are of the kind that a protocol's real clips are: frames a second, and size.

FVD sees motion. Clips made by a model of 8 frames a second look three times too fast beside real clips of 25,
and nothing in their files shows it; so what a model says of the clips it was trained on is held against the
protocol before anything is computed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from parvideo.datasets.clip_format import UNKNOWN, ClipFormat
from parvideo.evaluation.protocols import Protocol
from parvideo.evaluation.sources import tokenizer_folder
from parvideo.files import read_json, write_json
from parvideo.pretrained.folder import load_clip_format

FORMAT = "clips.json"
"""In a folder of samples: what is known of the clips."""
TOLERANCE = 0.01
"""Relative difference of two frame rates that passes: 29.97 frames a second are 30."""


def check_format(
    recorded: ClipFormat, protocol: Protocol, source_rates: Sequence[float], what: str
) -> list[str]:
    """Compare what is recorded of a model's clips with the protocol.

    Args:
        recorded: what a model folder or a folder of samples says of its clips.
        protocol: under which they are to be scored.
        source_rates: frames a second of the real videos.
        what: names the model, for messages.

    Returns:
        Notes for the report: what could not be compared.

    Raises:
        ValueError: if size or frame rate differ; the message says which option makes them agree.
    """
    notes = []
    size, fps, stride = recorded.size, recorded.fps, recorded.stride
    if size is not None and size != protocol.size:
        raise ValueError(
            f"{what} makes clips of {size}x{size} pixels, protocol {protocol.name} takes {protocol.size}x"
            f"{protocol.size}; pass --size {size} (which makes it a custom protocol)"
        )
    source = float(np.median(source_rates))
    wanted = protocol.fps if protocol.fps is not None else source / (protocol.stride or 1)
    if fps is None and stride is None:
        notes.append(
            f"{what} does not say how many frames a second its clips have; the real clips have {wanted:g}"
        )
    elif stride is not None and stride == protocol.stride:
        pass  # the same rule, whatever the rates of the videos
    else:
        own = float(fps) if fps is not None else source / float(stride or 1)
        if abs(own - wanted) > TOLERANCE * wanted:
            option = f"--fps {fps:g}" if fps is not None else f"--stride {stride}"
            raise ValueError(
                f"{what} makes clips of {own:g} frames a second, the real clips of protocol {protocol.name} "
                f"have {wanted:g}: FVD would compare motion at two speeds. Pass {option} (which makes it a "
                "custom protocol), or score a model of that rate"
            )
    return notes


def check_class_names(names: Sequence[str] | None, real: Sequence[str], what: str) -> None:
    """Raise ValueError if a model's class names are known and are not the real videos', in the same order.

    A label is an index into these lists, so another order would score each class against another.
    """
    if names is None or list(names) == list(real):
        return
    if len(names) != len(real):
        raise ValueError(f"{what} has {len(names)} classes, the real videos {len(real)}")
    first = next(index for index, pair in enumerate(zip(names, real, strict=True)) if pair[0] != pair[1])
    raise ValueError(
        f"class {first} of {what} is {names[first]!r}, that of the real videos {real[first]!r}: their lists "
        "of classes differ, so labels would mean different classes"
    )


def recorded_format(folder: Path) -> ClipFormat:
    """What a model folder says of its clips; for a generator, what it does not say its tokenizer does.

    Args:
        folder: of a generator or a tokenizer, or a run folder.
    """
    return load_clip_format(folder).filled_from(load_clip_format(tokenizer_folder(folder)))


def write_format(folder: Path, clip_format: ClipFormat, class_names: Sequence[str]) -> None:
    """Say of a folder of generated clips what their model says of its clips, for `read_format`.

    Not how many frames they have: clips may be longer than those that the model was trained on.
    """
    known = {"size": clip_format.size, "fps": clip_format.fps, "stride": clip_format.stride}
    write_json(folder / FORMAT, {**known, "class_names": list(class_names)})


def read_format(folder: Path) -> tuple[ClipFormat, list[str] | None]:
    """What `write_format` wrote: the clips' format and class names, unknown where a folder does not say.

    Raises:
        ValueError: if the file is damaged.
    """
    path = folder / FORMAT
    if not path.is_file():
        return UNKNOWN, None
    said = read_json(path)
    if not isinstance(said, dict):
        raise ValueError(f"{path} must hold an object, it holds a {type(said).__name__}")
    try:
        return ClipFormat.from_dict(said), said.get("class_names")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error

"""Whether generated clips are of the kind that a protocol's real clips are: frames a second, and size.

FVD sees motion. Clips made by a model of 8 frames a second look three times too fast beside real clips of 25,
and nothing in their files shows it; so what a model says of the clips it was trained on is held against the
protocol before anything is computed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parvideo.evaluation.protocols import Protocol
from parvideo.evaluation.sources import tokenizer_folder
from parvideo.files import read_json, write_json
from parvideo.pretrained.folder import load_extra

FORM = "clips.json"
"""In a folder of samples: what is known of the clips."""
TOLERANCE = 0.01
"""Relative difference of two frame rates that passes: 29.97 frames a second are 30."""


def check_form(
    recorded: Mapping[str, Any], protocol: Protocol, source_rates: Sequence[float], what: str
) -> list[str]:
    """Compare what is recorded of a model's clips with the protocol.

    Args:
        recorded: what a model folder or a folder of samples says of its clips: ``size``, and ``fps`` or
            ``stride``; whatever is absent or None is unknown.
        protocol: under which they are to be scored.
        source_rates: frames a second of the real videos.
        what: names the model, for messages.

    Returns:
        Notes for the report: what could not be compared.

    Raises:
        ValueError: if size or frame rate differ; the message says which option makes them agree.
    """
    notes = []
    size = recorded.get("size")
    if size is not None and size != protocol.size:
        raise ValueError(
            f"{what} makes clips of {size}x{size} pixels, protocol {protocol.name} takes {protocol.size}x"
            f"{protocol.size}; pass --size {size} (which makes it a custom protocol)"
        )
    fps, stride = recorded.get("fps"), recorded.get("stride")
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


def recorded_form(folder: Path) -> dict[str, Any]:
    """What a model folder says of its clips; for a generator, what it does not say its tokenizer does.

    Args:
        folder: of a generator or a tokenizer, or a run folder.
    """
    own = {key: value for key, value in load_extra(folder).items() if value is not None}
    if own.keys() & {"fps", "stride"}:  # one of the two: not one from each
        own = {"fps": None, "stride": None} | own
    return load_extra(tokenizer_folder(folder)) | own


def write_form(folder: Path, form: Mapping[str, Any], class_names: Sequence[str]) -> None:
    """Say of a folder of generated clips what their model says of its clips, for `read_form`."""
    known = {key: form.get(key) for key in ("size", "fps", "stride")}
    write_json(folder / FORM, {**known, "class_names": list(class_names)})


def read_form(folder: Path) -> dict[str, Any]:
    """What `write_form` wrote; empty where a folder does not say.

    Raises:
        ValueError: if the file is damaged.
    """
    if not (folder / FORM).is_file():
        return {}
    form = read_json(folder / FORM)
    if not isinstance(form, dict):
        raise ValueError(f"{folder / FORM} must hold an object, it holds a {type(form).__name__}")
    return form

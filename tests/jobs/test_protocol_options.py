"""The options of a protocol are fields of protocols, and allow what those allow."""

import dataclasses
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from parvideo.datasets.clip_format import ClipFormat
from parvideo.evaluation.protocols import PROTOCOLS, Protocol
from parvideo.jobs.protocol_options import UNCHANGED, ProtocolOptions


def choices(kind: Any) -> set[Any]:
    """The words of a Literal, or the type itself; of several and None all but None."""
    if get_origin(kind) is Literal:
        return set(get_args(kind))
    inner = [part for part in get_args(kind) if part is not type(None)]
    return set().union(*map(choices, inner)) if inner else {kind}


def test_every_option_is_a_field_with_the_same_choices() -> None:
    fields = get_type_hints(Protocol) | get_type_hints(ClipFormat)
    for name, kind in get_type_hints(ProtocolOptions).items():
        if name != "protocol":
            assert choices(kind) == choices(fields[name]), name
            assert getattr(UNCHANGED, name) is None


@pytest.mark.parametrize("name", PROTOCOLS)
def test_unchanged_it_is_the_protocol_itself(name: str) -> None:
    assert ProtocolOptions(name).build() == PROTOCOLS[name]
    assert name in (ProtocolOptions.__doc__ or "")


def test_a_change_makes_it_custom() -> None:
    changed = dataclasses.replace(UNCHANGED, frames=9, size=32).build()
    assert (changed.name, changed.frames, changed.size) == ("custom", 9, 32)
    assert dataclasses.replace(UNCHANGED, frames=PROTOCOLS["larp-10k"].frames).build().name == "larp-10k"
    with pytest.raises(ValueError, match="frames is 1"):
        dataclasses.replace(UNCHANGED, frames=1).build()

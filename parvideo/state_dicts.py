"""A state file is another project's checkpoint: parameter names and tensors, perhaps wrapped, on disk.

It is read without running anything in it, and what it holds must match exactly: a name or a shape that does
not fit is an error which names the file, the key, what was found and what was expected.
"""

import argparse
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Size, Tensor, nn

from parvideo.files import AnyPath, check_file

WRAPPERS = ("model", "module", "state_dict", "ema")
"""Keys under which trainers put the state dict, in the order they are tried (DDP, DeepSpeed, Lightning)."""

WeightsKind = Literal["safetensors", "state_dict", "torchscript"]

_SHOWN = 5


def weights_kind(path: AnyPath) -> WeightsKind:
    """What kind of weights file this is, by its content and not its name.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if it is none of the three kinds.
    """
    path = check_file(path)
    with path.open("rb") as file:
        head = file.read(9)
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ValueError(f"{path} is a damaged archive: {error}") from error
        parts = {name.split("/", 1)[-1] for name in names}
        if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
            return "torchscript"
        if "data.pkl" in parts:
            return "state_dict"
    elif len(head) == 9 and head[8:] == b"{" and 0 < int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    elif head[:1] == b"\x80":  # a pickle, perhaps of the old torch.save; read with weights_only or refused
        return "state_dict"
    raise ValueError(
        f"{path} is neither safetensors nor a PyTorch state dict nor TorchScript, or it is cut off; "
        f"download it again{what_it_looks_like(path)}"
    )


def read_state(path: AnyPath) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a PyTorch checkpoint, told apart by content, on the CPU.

    A PyTorch checkpoint is a state dict, plain or under one of `WRAPPERS`. Only tensors, plain containers
    and ``argparse.Namespace`` (a bag of options that LlamaGen's trainer stores) are unpickled; anything else
    is refused before it runs. Tensors are mapped from the file, not read, where its format allows, so the
    file must stay as it is while they are used.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if the file is truncated, damaged, TorchScript, holds other objects, or no state dict.
    """
    path = check_file(path)
    try:
        kind = weights_kind(path)
    except ValueError:  # the name says what it was to be, and the reader of such files what is wrong with it
        kind = "safetensors" if path.suffix == ".safetensors" else "state_dict"
    if kind == "torchscript":
        raise ValueError(
            f"{path} is TorchScript, not a state dict; `python -m tools.convert.i3d` converts an I3D"
        )
    if kind == "safetensors":
        return read_safetensors(path)
    content = unpickle(path)
    state = content
    if isinstance(content, Mapping):
        state = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"{path} holds no state dict: expected names and tensors, found {_kind(state)}")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(
                f"{path} holds no state dict, neither plain nor under {', '.join(WRAPPERS)}: expected a "
                f"tensor under {key!r}, found {_kind(value)}"
            )
    return dict(state)


def read_safetensors(path: AnyPath, device: str = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file, whatever its name, mapped where they are for the CPU.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if it is cut short, damaged or no such file.
    """
    path = check_file(path)
    try:
        return load_file(path, device=device)
    # A damaged header fails in several ways, an empty file in mapping it.
    except (SafetensorError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{path} is damaged or no safetensors file: {error}{what_it_looks_like(path)}"
        ) from error


def what_it_looks_like(path: Path) -> str:
    """A hint, for a message's end, at what often lies in place of a file of weights; may be empty."""
    with path.open("rb") as file:
        head = file.read(64).lstrip().lower()
    if not head:
        return "; it is empty"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "; it is a web page: download the file itself"
    if head.startswith(b"version https://git-lfs"):
        return "; it is a pointer of Git LFS: `git lfs pull` fetches the file itself"
    return ""


def drop_matching(state: Mapping[str, Tensor], pattern: str) -> dict[str, Tensor]:
    """The entries whose whole name does not match the regular expression ``pattern``."""
    return {key: value for key, value in state.items() if not re.fullmatch(pattern, key)}


def read_shape(path: Path, state: Mapping[str, Tensor], key: str, axes: str) -> Size:
    """The shape of one entry, from which dimensions are read.

    Args:
        path: the file, for the message.
        state: its entries.
        key: the entry's name.
        axes: names of the axes expected, such as ``"codebook_size dim"``.

    Raises:
        ValueError: if there is no such entry, or it has another number of axes.
    """
    if key not in state:
        raise ValueError(f"{path} lacks {key!r} [{axes}]; it holds {_some(sorted(state))}")
    shape = state[key].shape
    if len(shape) != len(axes.split()):
        raise ValueError(f"{path}: {key!r} has shape {list(shape)}, expected [{axes}]")
    return shape


def load_exactly(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, names: Mapping[str, str] | None = None
) -> None:
    """Make ``state`` the parameters of ``module``, as float32 whatever precision the file has.

    The module may lie on the meta device: its parameters are replaced, not written to.

    Args:
        module: what the state is for.
        state: entries under the file's names.
        path: the file, for messages.
        names: the file's name of each entry -> the module's; the same names if not given.

    Raises:
        ValueError: if an entry is missing, unexpected, of the wrong shape or not of floating point.
    """
    own = module.state_dict()
    names = {name: name for name in own} if names is None else names
    expected = {name: own[target].shape for name, target in names.items()}
    missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unexpected:
        raise ValueError(
            f"{path} does not fit {type(module).__name__}: "
            + "; ".join(
                f"{word} {_some(keys)}"
                for word, keys in [("missing", missing), ("unexpected", unexpected)]
                if keys
            )
        )
    for name, shape in expected.items():
        found = state[name]
        if found.shape != shape or not found.is_floating_point():
            raise ValueError(
                f"{path}: {name!r} is {found.dtype} {list(found.shape)}, "
                f"expected floating point {list(shape)}"
            )
    module.load_state_dict({names[name]: value.float() for name, value in state.items()}, assign=True)


def unpickle(path: AnyPath) -> Any:
    """What a PyTorch file holds, with nothing but tensors and plain data allowed in it.

    Raises:
        OSError: if there is no such file (see `parvideo.files.check_file`).
        ValueError: if the file is truncated, damaged or holds other objects.
    """
    path = check_file(path)
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    if zipped and not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is truncated: {path.stat().st_size} bytes, and the archive's end is missing"
        )
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except UnpicklingError as error:
        raise ValueError(
            f"{path} is refused, and nothing in it was run: it is not a PyTorch checkpoint, or holds objects "
            f"other than tensors and plain data ({_reason(error)}){what_it_looks_like(path)}"
        ) from error
    # A damaged archive fails in many ways, depending on which byte is wrong.
    except (RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError, MemoryError) as error:
        raise ValueError(f"{path} is damaged: {_reason(error)}{what_it_looks_like(path)}") from error


def _reason(error: Exception) -> str:
    """The line of PyTorch's long message that says which object was refused, or its first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "Unsupported" in line or "GLOBAL" in line), lines[0])[:200]


def _kind(value: Any) -> str:
    return f"an empty {type(value).__name__}" if value in ({}, [], ()) else type(value).__name__


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(map(repr, keys[:_SHOWN])) + more

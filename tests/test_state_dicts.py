"""Other projects' checkpoints: read without running them, and loaded exactly or refused by name."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from parvideo.state_dicts import WRAPPERS, drop_matching, load_exactly, read_shape, read_state, unpickle

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.5, -2.0])}


def same(state: dict[str, torch.Tensor]) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(state[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("wrapper", [None, *WRAPPERS])
def test_a_state_is_found_plain_or_wrapped(tmp_path: Path, wrapper: str | None) -> None:
    path = tmp_path / "a.pt"
    content = STATE if wrapper is None else {wrapper: STATE, "step": 3, "args": argparse.Namespace(lr=0.1)}
    for zipped in (True, False):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        assert same(read_state(path))


def test_safetensors_are_read_by_their_suffix(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    assert same(read_state(tmp_path / "a.safetensors"))


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, zipped: bool) -> None:
    torch.save(
        {"model": STATE, "x": Trap(tmp_path / "ran")},
        tmp_path / "a.pt",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(ValueError, match="is refused, and nothing in it was run"):
        read_state(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Trap(tmp_path / "ran")))
    with pytest.raises(ValueError, match="b.pt"):
        unpickle(tmp_path / "b.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "found list"),
        ({}, "found an empty dict"),
        ({"model": {"weight": 3}}, "under 'weight', found int"),
        ({"weight": STATE["weight"], 5: STATE["bias"]}, "under 5"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=f"a.pt holds no state dict.*{message}"):
        read_state(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_what_often_lies_in_a_checkpoints_place_is_told(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} .*{message}"):
        read_state(tmp_path / name)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, part: float) -> None:
    state = {"weight": torch.randn(100, 100)}
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "a.safetensors")
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(ValueError, match=path.name):
            read_state(path)


def test_an_exact_state_is_loaded_as_float32_even_onto_meta() -> None:
    with torch.device("meta"):
        module = nn.Linear(3, 2)
    half = {f"theirs.{name}": value.bfloat16() for name, value in STATE.items()}
    load_exactly(module, half, Path("a.pt"), {f"theirs.{name}": name for name in STATE})
    assert module.weight.dtype == torch.float32
    assert same(module.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "missing 'bias'"),
        ({"extra": torch.ones(1)}, "unexpected 'extra'"),
        ({"bias": torch.ones(3)}, r"'bias' is torch.float32 \[3\], expected floating point \[2\]"),
        ({"bias": torch.ones(2, dtype=torch.int64)}, r"'bias' is torch.int64 \[2\]"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_whole(change: dict[str, Any], message: str) -> None:
    module = nn.Linear(3, 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = {name: value for name, value in {**STATE, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=f"a.pt.*{message}"):
        load_exactly(module, state, Path("a.pt"))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_shapes_are_read_by_the_names_of_their_axes() -> None:
    assert read_shape(Path("a.pt"), STATE, "weight", "out in") == (2, 3)
    with pytest.raises(ValueError, match=r"a.pt: 'bias' has shape \[2\], expected \[out in\]"):
        read_shape(Path("a.pt"), STATE, "bias", "out in")
    with pytest.raises(ValueError, match=r"a.pt lacks 'x' \[out\]; it holds 'bias', 'weight'"):
        read_shape(Path("a.pt"), STATE, "x", "out")


def test_entries_are_left_out_by_their_whole_name() -> None:
    assert drop_matching(STATE, "b.*").keys() == {"weight"}
    assert drop_matching(STATE, "ia").keys() == STATE.keys()

"""Model folders: what is written comes back; what does not fit is refused with its name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from parvideo.order import regions
from parvideo.pretrained import (
    find_folder,
    fingerprint,
    load_class_names,
    load_extra,
    load_tokenizer,
    load_transformer,
    save_generator,
    save_tokenizer,
)
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.transformer import VideoTransformer


def tiny_tokenizer() -> CausalVideoTokenizer:
    return CausalVideoTokenizer(
        channels=4,
        channel_multipliers=(1, 1),
        num_res_blocks=1,
        time_strides=(2,),
        space_strides=(2,),
        norm_groups=2,
        levels=(3, 3),
    )


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    save_tokenizer(tmp_path / "tok", tiny_tokenizer())
    transformer = VideoTransformer(regions((2, 2, 2), (1, 2, 2)), 9, 2, dim=16, num_layers=1, num_heads=2)
    save_generator(tmp_path / "run" / "model", transformer, ["A", "B"], tmp_path / "tok", extra={"fps": 8.0})
    return tmp_path / "run"


def test_a_tokenizer_comes_back(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer().eval()
    save_tokenizer(tmp_path, tokenizer, extra={"frames": 3})
    again = load_tokenizer(tmp_path)
    clips = torch.rand(1, 3, 3, 4, 4) * 2 - 1
    assert not again.training
    assert torch.equal(again.encode(clips), tokenizer.encode(clips))
    assert load_extra(tmp_path) == {"frames": 3}


def test_a_generator_comes_back_from_its_run_folder(generator: Path) -> None:
    transformer = load_transformer(generator)
    assert transformer.order == regions((2, 2, 2), (1, 2, 2))
    assert load_class_names(generator) == ["A", "B"]
    assert load_tokenizer(generator).codebook_size == 9
    weights = load_file(generator / "model" / "weights.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in transformer.state_dict().items())


def test_fingerprint_tells_models_apart(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    save_tokenizer(tmp_path / "a", tokenizer)
    save_tokenizer(tmp_path / "b", tokenizer)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    with torch.no_grad():
        next(tokenizer.parameters()).add_(1e-3)
    save_tokenizer(tmp_path / "b", tokenizer)
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_folder(tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"notes\.txt"):
        find_folder(tmp_path)


def change_weights(folder: Path, change: str) -> None:
    path = folder / "model" / "weights.safetensors"
    state = load_file(path)
    if change == "missing":
        del state["head.weight"]
    elif change == "unknown":
        state["other"] = torch.zeros(1)
    elif change == "shape":
        state["head.weight"] = torch.zeros(3, 3)
    save_file(state, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "head.weight is missing"),
        ("unknown", "other is not part of the model"),
        ("shape", r"head.weight is \[3, 3\], the model has \[9, 16\]"),
    ],
)
def test_weights_that_do_not_fit_are_named(generator: Path, change: str, message: str) -> None:
    change_weights(generator, change)
    with pytest.raises(ValueError, match=message):
        load_transformer(generator)


def test_damaged_weights_are_named(generator: Path) -> None:
    path = generator / "model" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="weights.safetensors"):
        load_transformer(generator)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("class", "os.system", "no tokenizer is called"),
        ("format", 99, "format 99"),
        ("kind", "generator", "tokenizer"),
        ("config", {"channels": -1}, "no valid model"),
        ("config", {"nonsense": 1}, "no valid model"),
    ],
)
def test_wrong_configurations_are_refused(tmp_path: Path, field: str, value: object, message: str) -> None:
    save_tokenizer(tmp_path, tiny_tokenizer())
    document = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**document, field: value}))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_tokenizer(tmp_path)


def test_names_must_match_the_classes(tmp_path: Path) -> None:
    transformer = VideoTransformer(regions((2, 2, 2), (1, 1, 1)), 9, 2, dim=16, num_layers=1, num_heads=2)
    with pytest.raises(ValueError, match="class_names"):
        save_generator(tmp_path, transformer, ["A"], tmp_path)


def test_a_tokenizer_is_no_transformer(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, tiny_tokenizer())
    with pytest.raises(ValueError, match="holds a tokenizer, not a generator"):
        load_transformer(tmp_path)


def test_a_transformer_is_loaded_without_being_initialised(
    generator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak is one copy of the weights: those of the file, not those and random ones."""
    drawn = set()
    original = torch.nn.init.normal_

    def normal_(tensor: torch.Tensor, *given: float, **more: float) -> torch.Tensor:
        drawn.add(tensor.device.type)
        return original(tensor, *given, **more)

    monkeypatch.setattr(torch.nn.init, "normal_", normal_)
    transformer = load_transformer(generator)
    assert drawn <= {"meta"}
    state = [*transformer.parameters(), *transformer.buffers()]
    assert {tensor.device.type for tensor in state} == {"cpu"}
    assert all(parameter.requires_grad for parameter in transformer.parameters())
    transformer.set_order(regions((2, 2, 2), (1, 1, 1)))  # still a whole model
    assert (
        transformer(torch.zeros(1, 8, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)).isfinite().all()
    )


def test_training_a_loaded_transformer_leaves_its_file_alone(generator: Path) -> None:
    before = fingerprint(generator)
    transformer = load_transformer(generator)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(1.0)
    assert fingerprint(generator) == before


def test_bfloat16_weights_are_loaded_as_the_module_computes(generator: Path) -> None:
    path = generator / "model" / "weights.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path)
    transformer = load_transformer(generator)
    assert {parameter.dtype for parameter in transformer.parameters()} == {torch.float32}

"""Model folders: what is written comes back; what does not fit is refused with its name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from parvideo.datasets.clip_format import ClipFormat
from parvideo.order import GenerationOrder, OrderSpec, raster, regions
from parvideo.pretrained.folder import (
    find_folder,
    fingerprint,
    load_class_names,
    load_clip_format,
    load_extra,
    load_orders,
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


ORDER = regions((2, 2, 2), (1, 2, 2))


def tiny_transformer(**changes: Any) -> VideoTransformer:
    shape = {"dim": 16, "num_layers": 1, "num_heads": 2, "num_transitions": 3, **changes}
    return VideoTransformer((2, 2, 2), 9, 2, **shape)


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    save_tokenizer(tmp_path / "tok", tiny_tokenizer())
    save_generator(
        tmp_path / "run" / "model",
        tiny_transformer(),
        ["A", "B"],
        tmp_path / "tok",
        [ORDER],
        clip_format=ClipFormat(fps=8.0),
    )
    return tmp_path / "run"


def logits(transformer: VideoTransformer, order: GenerationOrder) -> torch.Tensor:
    """Of made-up tokens, in an order."""
    tokens = order.flatten(torch.arange(16).reshape(2, 2, 2, 2) % 9)
    with torch.inference_mode():
        return transformer.eval()(tokens, torch.tensor([0, 1]), transformer.layout(order))


def test_a_tokenizer_comes_back(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer().eval()
    save_tokenizer(tmp_path, tokenizer, clip_format=ClipFormat(frames=3), extra={"from": "here"})
    again = load_tokenizer(tmp_path)
    clips = torch.rand(1, 3, 3, 4, 4) * 2 - 1
    assert not again.training
    assert torch.equal(again.encode(clips), tokenizer.encode(clips))
    assert load_clip_format(tmp_path) == ClipFormat(frames=3)
    assert load_extra(tmp_path) == {"from": "here"}
    with pytest.raises(ValueError, match=r"extra holds fps; give it as clip_format=ClipFormat\(fps="):
        save_tokenizer(tmp_path, tokenizer, extra={"fps": 8.0})


def test_a_generator_comes_back_from_its_run_folder(generator: Path) -> None:
    transformer = load_transformer(generator)
    assert transformer.grid == (2, 2, 2)
    assert load_orders(generator) == [ORDER]
    assert load_orders(generator)[0].spec == OrderSpec((1, 2, 2))
    assert load_class_names(generator) == ["A", "B"]
    assert load_tokenizer(generator).codebook_size == 9
    weights = load_file(generator / "model" / "weights.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in transformer.state_dict().items())


def test_a_folder_says_how_its_orders_are_built_and_lists_no_cells(tmp_path: Path) -> None:
    """Of the paper's grid a list of the order's cells would be 1280 numbers."""
    orders = [regions((5, 16, 16), (1, 4, 4)), OrderSpec(grouping="dyadic", most=64).build((5, 16, 16))]
    transitions = max(order.num_transitions for order in orders)
    transformer = VideoTransformer((5, 16, 16), 9, 2, 16, 1, 2, num_transitions=transitions)
    save_tokenizer(tmp_path / "tok", tiny_tokenizer())
    save_generator(tmp_path / "model", transformer, ["A", "B"], tmp_path / "tok", orders)
    text = (tmp_path / "model" / "config.json").read_text()
    document = json.loads(text)
    assert document["format"] == 2
    assert document["config"]["grid"] == [5, 16, 16]
    assert [OrderSpec(**spec) for spec in document["orders"]] == [order.spec for order in orders]
    assert "groups" not in text
    assert len(text) < 3000
    loaded = load_orders(tmp_path / "model")
    assert all(one is other for one, other in zip(loaded, orders, strict=True))


def test_an_order_without_a_spec_comes_back(tmp_path: Path) -> None:
    groups = ((7,), (0, 1), (2, 4), (3, 5, 6))
    orders = [GenerationOrder((2, 2, 2), groups, "causal"), raster((2, 2, 2))]
    transformer = tiny_transformer(num_transitions=orders[0].num_transitions)
    save_tokenizer(tmp_path / "tok", tiny_tokenizer())
    save_generator(tmp_path / "model", transformer, ["A", "B"], tmp_path / "tok", orders)
    again, loaded = load_transformer(tmp_path / "model"), load_orders(tmp_path / "model")
    assert loaded == orders
    assert [order.name for order in loaded] == ["4-steps", "1x1x1"]
    for order, other in zip(orders, loaded, strict=True):
        assert torch.equal(logits(again, other), logits(transformer, order))


def as_format_1(folder: Path, order: GenerationOrder, **changes: Any) -> None:
    """Rewrite a config.json as format 1 was: the main order cell by cell, specs among the extras if any."""
    path = folder / "config.json"
    document = json.loads(path.read_text())
    del document["orders"], document["config"]["grid"]
    document["format"] = 1
    document["config"]["order"] = {
        "grid": list(order.grid),
        "groups": [list(group) for group in order.groups],
        "attention": order.attention,
        "transition": order.transition,
    }
    document["extra"] |= changes
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("transitions", [3, 7])
def test_a_folder_of_format_1_is_the_same_model(tmp_path: Path, transitions: int) -> None:
    orders = [ORDER, raster((2, 2, 2))]
    transformer = tiny_transformer(target_position_embedding=True, num_transitions=transitions)
    save_tokenizer(tmp_path / "tok", tiny_tokenizer())
    save_generator(tmp_path / "model", transformer, ["A", "B"], tmp_path / "tok", orders)
    as_format_1(
        tmp_path / "model",
        ORDER,
        orders=[
            # The oldest named fewer fields.
            {"regions": [1, 2, 2], "grouping": "distant", "initial": "sequential"},
            {"regions": [1, 1, 1]},
        ],
    )
    again, loaded = load_transformer(tmp_path / "model"), load_orders(tmp_path / "model")
    assert again.config == transformer.config
    assert loaded == orders
    assert [order.spec for order in loaded] == [OrderSpec((1, 2, 2)), OrderSpec()]
    for order in orders:
        assert torch.equal(logits(again, order), logits(transformer, order))


def test_a_folder_of_format_1_that_names_no_orders_has_its_own(tmp_path: Path, generator: Path) -> None:
    expected = logits(load_transformer(generator), ORDER)
    as_format_1(generator / "model", ORDER)
    path = generator / "model" / "config.json"
    for older in ((), ("num_transitions", "target_position_embedding", "query_positions")):
        document = json.loads(path.read_text())
        for name in older:  # options that came later
            del document["config"][name]
        path.write_text(json.dumps(document))
        (order,) = load_orders(generator)
        assert order == ORDER
        assert torch.equal(logits(load_transformer(generator), order), expected)


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ([], "names no order"),
        ([{"regions": [1, 2]}], "describes no valid model or order"),
        (["raster"], "describes no valid model or order"),
        ([{"regions": [1, 2, 2], "x": 1}], "unexpected keyword argument 'x'"),
        ([{"regions": [1, 3, 1]}], "do not divide grid"),
        (
            [{"grid": [2, 2, 2], "groups": [[0]], "attention": "causal", "transition": "learned"}],
            "every cell",
        ),
    ],
)
def test_orders_that_are_none_are_refused(generator: Path, orders: list[Any], message: str) -> None:
    path = generator / "model" / "config.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "orders": orders}))
    for load in (load_orders, load_transformer):
        with pytest.raises(ValueError, match=message) as refusal:
            load(generator)
        assert str(path) in str(refusal.value)


def test_a_generator_is_saved_with_orders_of_its_grid(tmp_path: Path) -> None:
    for orders in ([], [ORDER, raster((1, 2, 2))]):
        with pytest.raises(ValueError, match=r"orders must be one or more on the transformer's grid"):
            save_generator(tmp_path / "model", tiny_transformer(), ["A", "B"], tmp_path, orders)
    assert not (tmp_path / "model").exists()


def test_fingerprints_tell_orders_apart(tmp_path: Path) -> None:
    """The same weights generate other clips in another main order."""
    transformer = tiny_transformer()
    save_tokenizer(tmp_path / "tok", tiny_tokenizer())
    for name, orders in {"a": [ORDER], "b": [raster((2, 2, 2))], "c": [ORDER]}.items():
        save_generator(tmp_path / name, transformer, ["A", "B"], tmp_path / "tok", orders)
    a, b, c = (fingerprint(tmp_path / name) for name in "abc")
    assert a == c != b


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
    with pytest.raises(ValueError, match="class_names"):
        save_generator(tmp_path, tiny_transformer(), ["A"], tmp_path, [ORDER])


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
    assert logits(transformer, ORDER).isfinite().all()  # a whole model


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

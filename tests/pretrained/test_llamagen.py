"""Published transformers: equal to the code that made them, and damaged files are refused by name."""

import argparse
import math
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from parvideo.pretrained.llamagen import PUBLISHED, load_published_transformer
from parvideo.sampling import SamplingConfig, generate
from parvideo.state_dicts import WRAPPERS
from parvideo.transformer import SIZES, VideoTransformer

GOLDEN = {"par4x_8x8": (4, 19), "par16x_8x8": (16, 19), "llamagen_8x8": (1, 64)}
DIM, LAYERS, HEADS, HIDDEN, VOCABULARY, CLASSES, GRID = 16, 2, 2, 24, 10, 3, 4
State = dict[str, Tensor]


def entries(parallel: int = 4, kv_heads: int = HEADS) -> State:
    """A small random state dict under the published names."""
    shapes = {
        "tok_embeddings.weight": (VOCABULARY, DIM),
        "cls_embedding.embedding_table.weight": (CLASSES + 1, DIM),
        "spe_tok_embeddings.special_embeddings.weight": (parallel - 1, DIM),
        "norm.weight": (DIM,),
        "output.weight": (VOCABULARY, DIM),
    }
    for layer in range(LAYERS):
        shapes |= {
            f"layers.{layer}.{name}": shape
            for name, shape in {
                "attention.wqkv.weight": (DIM + 2 * kv_heads * DIM // HEADS, DIM),
                "attention.wo.weight": (DIM, DIM),
                "feed_forward.w1.weight": (HIDDEN, DIM),
                "feed_forward.w3.weight": (HIDDEN, DIM),
                "feed_forward.w2.weight": (DIM, HIDDEN),
                "attention_norm.weight": (DIM,),
                "ffn_norm.weight": (DIM,),
            }.items()
        }
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


def load(path: Path) -> VideoTransformer:
    return load_published_transformer(path, grid=GRID, num_heads=HEADS)[0]


def logits(path: Path, tokens: Tensor, labels: Tensor) -> Tensor:
    """Of the model in the file, in its order."""
    model, spec = load_published_transformer(path, grid=GRID, num_heads=HEADS)
    return model(tokens, labels, model.layout(spec.build(model.grid)))


def damage(path: Path, state: State, named: str, *words: str) -> None:
    """The state must be refused by an error that names the file, the entry, and what is wrong."""
    torch.save(state, path)
    with pytest.raises(ValueError, match=str(path)) as refusal:
        load(path)
    for word in (named, *words):
        assert word in str(refusal.value)


@pytest.mark.parametrize("name", GOLDEN)
@torch.no_grad()
def test_golden_outputs(name: str, golden_folder: Path, path: Path) -> None:
    with safe_open(golden_folder / f"{name}.safetensors", "pt") as file:
        metadata = file.metadata()
        golden = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    state = {key.removeprefix("state."): value for key, value in golden.items() if key.startswith("state.")}
    torch.save({"model": state, "steps": 7, "args": argparse.Namespace(dropout_p=0.1)}, path)

    model, spec = load_published_transformer(path, int(metadata["grid"]), int(metadata["heads"]))
    order = spec.build(model.grid)
    parallel, steps = GOLDEN[name]
    assert (len(order.groups[-1]), order.steps) == (parallel, steps)
    assert model.num_classes == int(metadata["classes"])
    assert not model.training

    ordered = order.flatten(golden["grid_tokens"][:, None])
    assert torch.equal(ordered, golden["ordered_tokens"])
    logits = model(ordered, golden["class_labels"], model.layout(order))
    error = (logits - golden["train_logits"]).abs().max() / golden["train_logits"].abs().max()
    assert error < 1e-4
    for scale in (1, 2):
        config = SamplingConfig(temperature=0, guidance_scale=float(scale))
        tokens = generate(model, order, golden["class_labels"], config)
        assert torch.equal(tokens[:, 0], golden[f"greedy_cfg{scale}"])


@torch.no_grad()
def test_every_wrapper_and_format_gives_the_same_model(path: Path) -> None:
    state = entries()
    tokens, labels = torch.randint(VOCABULARY, (2, GRID**2)), torch.tensor([0, CLASSES])
    torch.save(state, path)
    expected = logits(path, tokens, labels)
    for key in WRAPPERS:
        torch.save({"steps": 3, key: state, "optimizer": {"state": {0: torch.zeros(2)}}}, path)
        assert torch.equal(logits(path, tokens, labels), expected)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert torch.equal(logits(path, tokens, labels), expected)
    save_file(state, path.with_suffix(".safetensors"))
    assert torch.equal(logits(path.with_suffix(".safetensors"), tokens, labels), expected)


def test_the_trained_weights_come_before_their_average(path: Path) -> None:
    torch.save({"ema": entries(), "model": (state := entries())}, path)
    assert torch.equal(load(path).head.weight, state["output.weight"])


def test_half_precision_becomes_float32(path: Path) -> None:
    state = {name: value.bfloat16() for name, value in entries().items()}
    torch.save(state, path)
    model = load(path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.token_embedding.weight, state["tok_embeddings.weight"].float())


@torch.no_grad()
def test_grouped_queries_are_seen_in_the_projection(path: Path) -> None:
    torch.save(entries(kv_heads=1), path)
    assert load(path).config["num_kv_heads"] == 1
    assert logits(path, torch.zeros(1, GRID**2, dtype=torch.int64), torch.tensor([0])).isfinite().all()


def test_saved_tables_are_ignored_but_tell_the_grid(path: Path) -> None:
    state = entries() | {
        "freqs_cis": torch.zeros(1 + 3 + 36, 4, 2),
        "group_mask": torch.zeros(40, 40),
        "layers.0.attention.kv_cache.k_cache": torch.zeros(2, 3),
    }
    torch.save(state, path)
    assert load_published_transformer(path, num_heads=HEADS)[0].grid == (1, 6, 6)
    with pytest.raises(ValueError, match=r"'freqs_cis' is for grid 6, expected the given grid 4"):
        load(path)


def test_published_files_know_their_grid(tmp_path: Path) -> None:
    path = tmp_path / "PAR-3B-4x.pt"
    torch.save(entries(), path)
    assert load_published_transformer(path, num_heads=HEADS)[0].grid == (1, 24, 24)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_sizes_are_known(name: str, tmp_path: Path) -> None:
    published = PUBLISHED[name]
    size = SIZES[published.size]
    side = math.isqrt(published.parallel)
    assert published.url.endswith("/" + name)
    assert published.grid % side == 0
    state = {
        "tok_embeddings.weight": torch.empty(1, size.dim),
        "cls_embedding.embedding_table.weight": torch.empty(1001, size.dim),
        f"layers.{size.num_layers - 1}.ffn_norm.weight": torch.empty(size.dim),
    }
    torch.save(state, tmp_path / name)
    # Grid and heads are settled before the first layer's tensors are asked for.
    with pytest.raises(ValueError, match=r"lacks 'layers\.0\.feed_forward\.w1\.weight'"):
        load_published_transformer(tmp_path / name)


def test_what_no_tensor_tells_must_be_given(path: Path) -> None:
    torch.save(entries(), path)
    with pytest.raises(ValueError, match="does not tell its grid; give it"):
        load_published_transformer(path, num_heads=HEADS)
    with pytest.raises(ValueError, match=f"2 layers of width {DIM}, which is none of the sizes B, L, XL"):
        load_published_transformer(path, grid=GRID)
    with pytest.raises(ValueError, match=f"num_heads must divide .* {DIM}; got 3"):
        load_published_transformer(path, grid=GRID, num_heads=3)
    with pytest.raises(ValueError, match="takes one of"):
        load_published_transformer(path, grid=5, num_heads=HEADS)


@pytest.mark.parametrize("name", sorted(entries()))
def test_every_entry_is_needed_in_its_shape(name: str, path: Path) -> None:
    state = entries()
    value = state.pop(name)
    if not name.startswith("spe_tok"):  # without transition tokens it is a raster model
        damage(path, state, repr(name))
    damage(path, state | {name: value.long()}, repr(name), "torch.int64", "expected floating point")
    damage(path, state | {name: value[None]}, repr(name), "expected")
    if not name.startswith("cls_"):  # one row fewer is one class fewer
        damage(path, state | {name: value[:-1]}, "expected")
    if value.ndim == 2:
        damage(path, state | {name: value[:, 1:]}, "weight'")


def test_an_unknown_entry_is_refused(path: Path) -> None:
    damage(path, entries() | {"layers.1.attention.bias": torch.zeros(1)}, "'layers.1.attention.bias'")
    damage(path, entries() | {"layers.7.ffn_norm.weight": torch.zeros(DIM)}, "missing 'layers.2.")


def test_a_text_conditional_checkpoint_is_refused(path: Path) -> None:
    state = entries()
    state["cls_embedding.cap_proj.fc1.weight"] = state.pop("cls_embedding.embedding_table.weight")
    damage(path, state, "lacks 'cls_embedding.embedding_table.weight'")


def test_a_wrong_shape_names_found_and_expected(path: Path) -> None:
    state = entries() | {"layers.1.feed_forward.w2.weight": torch.zeros(DIM, HIDDEN + 1)}
    damage(path, state, "'layers.1.feed_forward.w2.weight'", str([DIM, HIDDEN + 1]), str([DIM, HIDDEN]))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_refused_wherever_it_ends(zipped: bool, path: Path) -> None:
    torch.save(entries(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for size in [0, 1, 3, 4, 100, *range(200, len(whole) - 1, len(whole) // 40), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=str(path)):
            load(path)


def test_a_truncated_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_file(entries(), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=str(path)):
        load(path)


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["alone", "beside", "within", "in the options"])
def test_pickled_code_is_refused_and_not_run(zipped: bool, place: str, path: Path) -> None:
    target = path.with_name("executed")
    code = Malicious(target)
    content = {
        "alone": code,
        "beside": {"model": entries(), "optimizer": code},
        "within": entries() | {"norm.weight": code},
        "in the options": {"model": entries(), "args": argparse.Namespace(code=code)},
    }[place]
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"refused, and nothing in it was run.*mkdir"):
        load(path)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists()  # the file would have done it


def test_what_is_no_checkpoint_is_refused(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(path)):
        load(path)
    path.write_text("<html>404</html>")
    with pytest.raises(ValueError, match="not a PyTorch checkpoint"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no tensors")
    with pytest.raises(ValueError, match="is damaged"):
        load(path)
    for content, found in [([1], "found list"), ({}, "found an empty dict"), ({"epoch": 3}, "found int")]:
        torch.save(content, path)
        with pytest.raises(ValueError, match=f"{path} holds no state dict.*{found}"):
            load(path)

"""Starting from a trained model: its weights, whole, or a refusal that names what differs."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from parvideo.cli import main
from parvideo.order import regions
from parvideo.pretrained.folder import load_tokenizer, load_transformer
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.training.initial_weights import start_from
from parvideo.transformer import VideoTransformer
from tests.training.runs import resumable_arguments
from tests.world import write_generator, write_tokenizer


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path / "tokenizer")
    write_generator(tmp_path / "generator", tmp_path / "tokenizer", ["a", "b"])
    return tmp_path / "generator"


def same(one: nn.Module, two: nn.Module) -> bool:
    state = two.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def test_a_network_of_the_same_form_takes_all_weights(generator: Path) -> None:
    trained = load_tokenizer(generator)
    assert isinstance(trained, CausalVideoTokenizer)
    torch.manual_seed(9)
    fresh = CausalVideoTokenizer(**trained.config)
    assert not same(fresh, trained)
    start_from(fresh, generator)  # a generator's folder holds its tokenizer
    assert same(fresh, trained)
    transformer = load_transformer(generator)
    other = VideoTransformer.from_config(transformer.config)
    start_from(other, generator)
    assert same(other, transformer)


def test_another_form_is_refused_by_name_and_changes_nothing(generator: Path) -> None:
    order = regions((3, 4, 4), (1, 2, 2))
    shape = {"num_layers": 1, "num_heads": 2, "num_transitions": order.num_transitions}
    wide = VideoTransformer(order.grid, 9, 2, dim=32, **shape)
    before = {name: value.clone() for name, value in wide.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"does not fit: blocks\.0.* is \[.*\] there and \[.*\] in the model"
    ):
        start_from(wide, generator)
    assert all(torch.equal(value, before[name]) for name, value in wide.state_dict().items())
    deep = VideoTransformer(order.grid, 9, 2, dim=16, **(shape | {"num_layers": 2}))
    with pytest.raises(ValueError, match=r"blocks\.1.* is missing there"):
        start_from(deep, generator)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        start_from(deep, Path("nowhere"))


def test_a_decoder_of_another_form_starts_anew_where_that_is_asked_for(generator: Path) -> None:
    trained = load_tokenizer(generator)
    assert isinstance(trained, CausalVideoTokenizer)
    config = trained.config
    levels = {
        "channels": 8,
        "channel_multipliers": [1],
        "num_res_blocks": 1,
        "time_strides": [],
        "space_strides": [],
        "patch_size": trained.space_factor,
        "patch_frames": trained.time_factor,
    }
    light = CausalVideoTokenizer(**config | {"decoder_levels": levels})
    before = {name: value.clone() for name, value in light.decoder.state_dict().items()}
    with pytest.raises(ValueError, match=r"does not fit: decoder\."):
        start_from(light, generator)
    start_from(light, generator, new_decoder=True)
    assert same(light.encoder, trained.encoder)
    assert all(torch.equal(value, before[name]) for name, value in light.decoder.state_dict().items())
    # A decoder of the same form takes its weights, and another encoder is refused all the same.
    again = CausalVideoTokenizer(**config)
    start_from(again, generator, new_decoder=True)
    assert same(again, trained)
    wide = CausalVideoTokenizer(**config | {"channels": 8})
    with pytest.raises(ValueError, match=r"does not fit: encoder\."):
        start_from(wide, generator, new_decoder=True)


def test_a_run_that_goes_on_needs_the_folder_no_more(
    tokens_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, run, whole = (tmp_path / name for name in ("first", "run", "whole"))
    assert main(["fit", *resumable_arguments(tokens_folder, first, 2)]) == 0
    shutil.copytree(first / "model", tmp_path / "start")
    started = f"--model.init_from={tmp_path / 'start'}"
    assert main(["fit", *resumable_arguments(tokens_folder, whole, 4, started)]) == 0
    assert main(["fit", *resumable_arguments(tokens_folder, run, 2, started, "--model.max_steps=4")]) == 0
    shutil.rmtree(tmp_path / "start")
    assert main(["fit", *resumable_arguments(tokens_folder, run, 4, started)]) == 0
    assert same(load_transformer(run), load_transformer(whole))
    assert not same(load_transformer(run), load_transformer(first))
    capsys.readouterr()
    assert main(["fit", *resumable_arguments(tokens_folder, tmp_path / "new", 2, started)]) == 2
    assert str(tmp_path / "start") in capsys.readouterr().err

"""The decoder of a pipeline: in which arithmetic it decodes, and that it changes nothing else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from parvideo.pipeline import VideoPipeline, decoding
from parvideo.pipeline.decoding import BF16_NOTE, Decoder, decode_tokens, stated_loss
from parvideo.pretrained.folder import add_note, fingerprint
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.llamagen import LlamaGenTokenizer
from tests.pipeline.cases import make, several_orders

CPU = torch.device("cpu")


def tokenizer() -> CausalVideoTokenizer:
    torch.manual_seed(0)
    made = make().tokenizer
    assert isinstance(made, CausalVideoTokenizer)
    for layer in made.modules():  # so that zero-initialised branches take part
        if isinstance(layer, nn.Conv3d):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    return made


@pytest.mark.parametrize("able", [True, False])
@pytest.mark.parametrize("loss", [None, 0.0099, 0.01, 3.0, -0.001])
def test_bfloat16_is_chosen_where_it_costs_nothing_and_is_there(
    loss: float | None, able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "multiplies_bf16", lambda device: able)
    decoder = Decoder(tokenizer(), loss)
    small = loss is not None and loss < 0.01
    assert decoder.dtype(CPU) == ("bfloat16" if small and able else "float32")
    decoder.ask("float32")
    assert (decoder.dtype(CPU), decoder.record(CPU)) == ("float32", {})
    decoder.ask("bfloat16")
    assert (decoder.dtype(CPU), decoder.record(CPU)) == ("bfloat16", {"decoder_dtype": "bfloat16"})


def test_the_tokenizer_stays_in_float32() -> None:
    network = tokenizer()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tokens = torch.randint(9, (2, 2, 2, 2))
    decoder = Decoder(network)
    exact = decoder.decode(tokens, 12, 16)
    assert torch.equal(exact, decode_tokens(network, tokens, 12, 16))
    decoder.ask("bfloat16")
    rough = decoder.decode(tokens, 12, 16)
    assert not torch.equal(exact, rough)
    assert (exact.float() - rough.float()).abs().mean() < 3
    assert decoder.network(CPU) is decoder.network(CPU)  # made once
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    decoder.ask("auto")
    assert torch.equal(decoder.decode(tokens, 12, 16), exact)


def test_clips_in_bfloat16_do_not_depend_on_what_is_decoded_with_them() -> None:
    decoder, seen = Decoder(tokenizer()), []
    decoder.ask("bfloat16")
    rough = decoder.network(CPU)
    assert isinstance(rough, CausalVideoTokenizer)
    rough.decoder[0].register_forward_pre_hook(lambda layer, given: seen.append(len(given[0])))
    tokens = torch.randint(9, (5, 3, 4, 4))
    together = decoder.decode(tokens, 64, 16)
    assert torch.equal(decoder.decode(tokens, 64, 2), together)
    assert torch.equal(torch.cat([decoder.decode(part, 64, 16) for part in tokens.split(3)]), together)
    assert set(seen) == {1}  # on any processor: each clip is computed by itself
    decoder.ask("float32")
    exact = decoder.decode(tokens, 64, 16)
    assert (decoder.decode(tokens, 64, 2).int() - exact.int()).abs().max() <= 1


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="one of auto, float32, bfloat16; got 'float16'"):
        Decoder(tokenizer()).ask("float16")  # type: ignore[arg-type]
    image = LlamaGenTokenizer.__new__(LlamaGenTokenizer)
    nn.Module.__init__(image)
    with pytest.raises(ValueError, match="a LlamaGenTokenizer decodes in float32 alone"):
        Decoder(image).ask("bfloat16")
    assert Decoder(image, 0.0).dtype(CPU) == "float32"


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ({}, None),
        ({BF16_NOTE: {"loss_db": 0.002, "psnr": 27.0}}, 0.002),
        ({BF16_NOTE: {"loss_db": 0}}, 0.0),
        ({BF16_NOTE: {"loss_db": "small"}}, None),
        ({BF16_NOTE: {"loss_db": True}}, None),
        ({BF16_NOTE: 0.001}, None),
    ],
)
def test_the_loss_is_read_where_a_folder_states_it(notes: dict[str, Any], expected: float | None) -> None:
    assert stated_loss(notes) == expected


def test_a_folder_that_states_its_loss_decodes_in_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "multiplies_bf16", lambda device: True)
    folder = several_orders(tmp_path)
    plain = VideoPipeline.from_pretrained(folder)
    assert plain.decoder.dtype(CPU) == "float32"  # nobody has measured it
    before = fingerprint(folder / "tokenizer")
    add_note(folder / "tokenizer", BF16_NOTE, {"loss_db": 0.003})
    assert fingerprint(folder / "tokenizer") == before
    rough = VideoPipeline.from_pretrained(folder)
    assert (rough.decoder.loss_db, rough.decoder.dtype(CPU)) == (0.003, "bfloat16")
    rough.decode(torch.randint(9, (1, 2, 2, 2)))
    rough.save_pretrained(tmp_path / "again")  # float32 weights, and what is known of them
    assert fingerprint(tmp_path / "again" / "tokenizer") == before
    assert VideoPipeline.from_pretrained(tmp_path / "again").decoder.loss_db == 0.003

"""Presets: what "light" is for, counted by PyTorch's own counter of multiplications."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS


def decoder_flops(preset: str, grid: tuple[int, int, int] = (5, 16, 16)) -> int:
    """Operations of decoding one clip of a preset's tokens, two for each multiplication."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        tokenizer = CausalVideoTokenizer.from_preset(preset)
        tokenizer.decode_codes(torch.zeros(1, tokenizer.quantizer.dim, *grid))
    return counter.get_total_flops()


def test_lights_decoder_takes_less_than_a_quarter_of_bases_multiplications() -> None:
    light, base = decoder_flops("light"), decoder_flops("base")
    assert base / 2 == 493_757_267_968  # MACs, as docs/tokenizer.md says
    assert 0.15 < light / base < 0.25


def test_light_makes_the_same_tokens_as_base() -> None:
    """So a decoder of one can be trained for the other's encoder."""
    with torch.device("meta"):
        light, base = (CausalVideoTokenizer.from_preset(name) for name in ("light", "base"))
    for part in ("encoder", "quantizer"):
        shapes = [
            {name: value.shape for name, value in getattr(tokenizer, part).state_dict().items()}
            for tokenizer in (light, base)
        ]
        assert shapes[0] == shapes[1]
    without = {name: value for name, value in PRESETS["light"].items() if name != "decoder_levels"}
    assert without == PRESETS["base"]
    assert light.clip_shape((5, 16, 16)) == base.clip_shape((5, 16, 16)) == (17, 128, 128)

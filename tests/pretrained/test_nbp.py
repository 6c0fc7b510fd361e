import math

import pytest
import torch
from torch import Tensor

from parvideo.pretrained.nbp import convert_nbp, nbp_names
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of magvit2_ucf.pt, written down from the notes, not from our network."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, outer: int, inner: int, kernel: int = 3) -> None:
        shapes[f"{name}.weight"] = (outer, inner, kernel, kernel, kernel)
        shapes[f"{name}.bias"] = (outer,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def block(name: str, inner: int, outer: int) -> None:
        norm(f"{name}.fn.0", inner)
        shapes[f"{name}.fn.1.beta"] = (1, inner, 1, 1, 1)
        conv(f"{name}.fn.2.conv", outer, inner)
        norm(f"{name}.fn.3", outer)
        shapes[f"{name}.fn.4.beta"] = (1, outer, 1, 1, 1)
        conv(f"{name}.fn.5.conv", outer, outer)
        if inner != outer:
            conv(f"{name}.residual_fn.0.conv", outer, inner, kernel=1)

    for index, (outer, inner) in {0: (128, 3), 5: (128, 128), 10: (256, 256), 15: (256, 256)}.items():
        conv(f"encoder_layers.{index}.conv", outer, inner)
    widths = {1: 128, 6: 256, 11: 256, 16: 512, 20: 512}
    for start, width in widths.items():
        for index in range(start, start + 4):
            block(f"encoder_layers.{index}", {6: 128, 16: 256}.get(index, width), width)
    norm("encoder_layers.24", 512)
    shapes["encoder_layers.25.beta"] = (1, 512, 1, 1, 1)
    conv("encoder_layers.26", 6, 512, kernel=1)

    convs = {0: (512, 6), 9: (4096, 512), 15: (2048, 256), 21: (1024, 256), 29: (3, 128)}
    for index, (outer, inner) in convs.items():
        conv(f"decoder_layers.{index}.conv", outer, inner)
    widths = {1: 512, 5: 512, 11: 256, 17: 256, 23: 128}
    for start, width in widths.items():
        for index in range(start, start + 4):
            block(f"decoder_layers.{index}", {11: 512, 23: 256}.get(index, width), width)
    norm("decoder_layers.27", 128)
    shapes["decoder_layers.28.beta"] = (1, 128, 1, 1, 1)
    return shapes


def test_every_published_tensor_has_its_place() -> None:
    with torch.device("meta"):
        ours = CausalVideoTokenizer.from_preset("nbp").state_dict()
    names = nbp_names()
    published = published_shapes()
    assert set(names) == set(ours)
    assert {theirs: tuple(ours[name].shape) for name, theirs in names.items()} == published
    assert len(published) == 434
    sizes = {name: math.prod(shape) for name, shape in published.items()}
    assert sum(sizes.values()) == 370_372_105
    assert sum(size for name, size in sizes.items() if name.startswith("encoder")) == 144_886_790
    assert sum(size for name, size in sizes.items() if name.startswith("decoder")) == 225_485_315


def slim_checkpoint() -> tuple[CausalVideoTokenizer, dict[str, dict[str, Tensor]]]:
    """A narrow nbp (the same layers), and its weights under NBP's names."""
    tokenizer = CausalVideoTokenizer(**PRESETS["nbp"] | {"channels": 4, "norm_groups": 4}).eval()
    for name, parameter in tokenizer.named_parameters():
        if name.endswith("weight") and parameter.ndim == 5:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    state = tokenizer.state_dict()
    return tokenizer, {
        "model_state_dict": {f"module.{theirs}": state[ours] for ours, theirs in nbp_names().items()}
    }


def test_conversion_folds_the_pixel_range_into_the_weights() -> None:
    theirs, checkpoint = slim_checkpoint()
    ours = CausalVideoTokenizer(**theirs.config).eval()
    ours.load_state_dict(convert_nbp(checkpoint))
    unit = torch.rand(1, 3, 5, 16, 16)
    with torch.no_grad():
        # What NBP's network does: pixels in [0, 1] in and out.
        codes = theirs.encode_codes(unit)
        pixels = theirs.decode_codes(theirs.quantizer(codes).codes)
        torch.testing.assert_close(ours.encode_codes(unit * 2 - 1), codes, atol=1e-4, rtol=1e-4)
        ids = ours.encode(unit * 2 - 1)
        assert (ids == theirs.quantizer(codes).ids).float().mean() > 0.95
        same = ours.decode_codes(theirs.quantizer(codes).codes)
        torch.testing.assert_close(same, pixels * 2 - 1, atol=1e-4, rtol=1e-4)


def test_conversion_leaves_the_checkpoint_alone() -> None:
    _, checkpoint = slim_checkpoint()
    before = {name: value.clone() for name, value in checkpoint["model_state_dict"].items()}
    convert_nbp(checkpoint)
    assert all(torch.equal(before[name], value) for name, value in checkpoint["model_state_dict"].items())


def test_other_checkpoints_are_refused() -> None:
    _, checkpoint = slim_checkpoint()
    with pytest.raises(ValueError, match="must hold 'model_state_dict', found \\['state_dict'\\]"):
        convert_nbp({"state_dict": {}})
    del checkpoint["model_state_dict"]["module.encoder_layers.25.beta"]
    with pytest.raises(ValueError, match=r"it lacks \['encoder_layers.25.beta'\]"):
        convert_nbp(checkpoint)

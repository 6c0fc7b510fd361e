import functools
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parvideo.tokenizer import TOKENIZERS, CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS
from parvideo.tokenizer.streaming import decode_stream

# The presets' own architectures; base and nbp narrower and one block a level, so that they run in a test.
SLIM: dict[str, dict[str, Any]] = {
    "tiny": PRESETS["tiny"],
    "base": PRESETS["base"] | {"channels": 8, "num_res_blocks": 1, "norm_groups": 4},
    "nbp": PRESETS["nbp"] | {"channels": 8, "num_res_blocks": 1, "norm_groups": 4},
    "light": PRESETS["light"]
    | {"channels": 8, "num_res_blocks": 1, "norm_groups": 4}
    | {"decoder_levels": PRESETS["light"]["decoder_levels"] | {"channels": 8, "num_res_blocks": 1}},
}
NAMES = list(SLIM)


@functools.cache
def build(name: str) -> CausalVideoTokenizer:
    torch.manual_seed(0)
    tokenizer = CausalVideoTokenizer(**SLIM[name])
    for layer in tokenizer.modules():  # so that zero-initialised branches take part
        if isinstance(layer, nn.Conv3d):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    return tokenizer


def clips(frames: int = 9, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, frames, 32, 32) * 2 - 1


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_no_latent_sees_a_later_frame(name: str, training: bool) -> None:
    tokenizer = build(name).train(training)
    x = clips(13)
    with torch.no_grad():
        before = tokenizer.encode_codes(x)
        for frame in (0, 1, 4, 5, 8, 9, 12):
            changed = x.clone()
            changed[:, :, frame] = torch.rand_like(changed[:, :, frame]) * 2 - 1
            after = tokenizer.encode_codes(changed)
            own = (frame + 3) // 4  # the latent frame that holds this frame
            assert torch.equal(after[:, :, :own], before[:, :, :own])
            assert not torch.equal(after[:, :, own], before[:, :, own])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_no_frame_sees_a_later_latent(name: str, training: bool) -> None:
    tokenizer = build(name).train(training)
    codes = torch.randn(1, tokenizer.quantizer.dim, 4, 4, 4)
    with torch.no_grad():
        before = tokenizer.decode_codes(codes)
        for latent in range(4):
            changed = codes.clone()
            changed[:, :, latent] += 1
            after = tokenizer.decode_codes(changed)
            first = max(0, 4 * latent - 3)
            assert torch.equal(after[:, :, :first], before[:, :, :first])
            assert not torch.equal(after[:, :, first], before[:, :, first])


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_causal_too(name: str) -> None:
    tokenizer = build(name).train()
    x = clips(9).requires_grad_()
    (gradient,) = torch.autograd.grad(tokenizer.encode_codes(x)[:, :, 1].sum(), x)
    assert gradient[:, :, 5:].abs().max() == 0
    assert gradient[:, :, :5].abs().amax(dim=(0, 1, 3, 4)).min() > 0


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_a_clip_of_one_frame(name: str) -> None:
    tokenizer = build(name).eval()
    x = clips(9, batch=2)
    with torch.no_grad():
        whole, image = tokenizer.encode_codes(x), tokenizer.encode_codes(x[:, :, :1])
        torch.testing.assert_close(image, whole[:, :, :1], atol=1e-5, rtol=1e-5)
        ids, first = tokenizer.encode(x), tokenizer.encode(x[:, :, :1])
        assert torch.equal(first, ids[:, :1])
        torch.testing.assert_close(
            tokenizer.decode(first), tokenizer.decode(ids)[:, :, :1], atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_ids(name: str) -> None:
    tokenizer = build(name).eval()
    x = clips(9)
    reconstruction = tokenizer(x)
    grid = tokenizer.latent_grid((9, 32, 32))
    assert grid == ((3, 8, 8) if name == "tiny" else (3, 4, 4))
    assert reconstruction.clips.shape == x.shape
    assert reconstruction.ids.shape == (1, *grid)
    assert torch.equal(tokenizer.encode(x), reconstruction.ids)
    assert reconstruction.ids.unique().numel() > 1
    assert 0 <= int(reconstruction.ids.min()) <= int(reconstruction.ids.max()) < tokenizer.codebook_size
    decoded = tokenizer.decode(reconstruction.ids)
    torch.testing.assert_close(decoded, reconstruction.clips.clamp(-1, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [2, 3, 4, 8, 10])
def test_other_frame_counts_are_refused(frames: int) -> None:
    tokenizer = build("tiny")
    for call in (tokenizer, tokenizer.encode):
        with pytest.raises(ValueError, match=rf"1 \+ k \* 4 frames .* got {frames}"):
            call(clips(frames))


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8, got 36x32"):
        build("base").encode(torch.zeros(1, 3, 1, 36, 32))


def test_tokens_that_are_none_are_refused() -> None:
    tokenizer = build("tiny")
    with pytest.raises(ValueError, match=r"tokens must lie in \[0, 1000\), got 0 to 1000"):
        tokenizer.decode(torch.tensor([0, 1000]).view(1, 1, 1, 2))
    with pytest.raises(ValueError, match="tokens must be int64"):
        tokenizer.decode(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("name", ["nbp", "light"])
def test_config_rebuilds_the_tokenizer(name: str) -> None:
    tokenizer = build(name)
    assert json.loads(json.dumps(tokenizer.config)) == tokenizer.config
    again = TOKENIZERS["CausalVideoTokenizer"](**tokenizer.config)
    again.load_state_dict(tokenizer.state_dict())
    x = clips(5)
    assert torch.equal(again.eval().encode(x), tokenizer.eval().encode(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_strides": [1, 2]}, "time_strides must be 3 values"),
        ({"space_strides": [2, 2, 3]}, r"space_strides must be 3 values of 1 or 2.*got \[2, 2, 3\]"),
        ({"norm_groups": 5}, r"norm_groups must divide every level's width \[8, 16, 16, 32\], got 5"),
        ({"space_padding": "reflect"}, "space_padding must be 'zeros' or 'replicate', got 'reflect'"),
        ({"patch_size": 0}, "at least 1, got 0"),
        ({"quantizer": "pq"}, "quantizer must be"),
        (
            {"decoder_levels": PRESETS["light"]["decoder_levels"] | {"patch_size": 4}},
            "decoder_levels makes 4 frames and 16x16 pixels of a token, and the encoder a token of 4 and 8x8",
        ),
        ({"decoder_levels": {"width": 4}}, "decoder_levels must have the fields of Levels.*'width'"),
        (
            {"decoder_levels": PRESETS["light"]["decoder_levels"] | {"channels": 6}},
            r"norm_groups must divide every level's width \[6, 12, 18\], got 4",
        ),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CausalVideoTokenizer(**SLIM["base"] | change)


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="preset must be one of tiny, base, light, nbp; got 'large'"):
        CausalVideoTokenizer.from_preset("large")


@pytest.mark.parametrize(
    ("name", "millions"), [("tiny", 0.56), ("base", 56.35), ("light", 40.19), ("nbp", 370.37)]
)
def test_preset_sizes(name: str, millions: float) -> None:
    with torch.device("meta"):
        tokenizer = CausalVideoTokenizer.from_preset(name)
    assert round(sum(p.numel() for p in tokenizer.parameters()) / 1e6, 2) == millions
    assert tokenizer.latent_grid((17, 128, 128)) == ((5, 32, 32) if name == "tiny" else (5, 16, 16))
    assert tokenizer.codebook_size == (1000 if name == "tiny" else 64000)


def test_checkpointed_activations_give_the_same_gradients() -> None:
    plain = build("base").train()
    saving = CausalVideoTokenizer(**plain.config | {"checkpoint_activations": True}).train()
    saving.load_state_dict(plain.state_dict())
    x = clips(5)
    gradients = []
    for tokenizer in (plain, saving):
        tokenizer.zero_grad()
        tokenizer(x).clips.square().mean().backward()
        gradients.append([p.grad for p in tokenizer.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_channels_last_gives_the_same_ids() -> None:
    plain = build("base").eval()
    last = CausalVideoTokenizer(**plain.config).eval()
    last.load_state_dict(plain.state_dict())
    last.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    x = clips(5)
    assert torch.equal(last.encode(x), plain.encode(x))
    torch.testing.assert_close(last(x).clips, plain(x).clips, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_decoding_is_close_and_leaves_tokens_alone(name: str) -> None:
    exact = build(name).eval()
    rough = CausalVideoTokenizer(**exact.config).eval()
    rough.load_state_dict(exact.state_dict())
    rough.decode_in_bf16()
    x = clips(5)
    with torch.no_grad():
        ids = exact.encode(x)
        assert torch.equal(rough.encode(x), ids)
        whole, lossy = exact.decode(ids), rough.decode(ids)
        assert lossy.dtype == torch.float32
        error = (lossy - whole).abs().mean() / whole.abs().mean()
        assert 0 < error < 0.03
        streamed = torch.cat(list(decode_stream(rough, ids.split(1, dim=1))), dim=2)
        assert (streamed - lossy).abs().mean() / whole.abs().mean() < 0.03
        with torch.autocast("cpu", dtype=torch.bfloat16):
            autocast = exact.decode(ids)
        assert (autocast - whole).abs().mean() / whole.abs().mean() < 0.03


def test_a_twin_that_decodes_in_bf16_shares_the_rest_and_leaves_the_original_alone() -> None:
    exact = build("light").eval()
    state = {name: value.clone() for name, value in exact.state_dict().items()}
    twin = exact.with_bf16_decoder()
    ids = exact.encode(clips(5))
    with torch.no_grad():
        rough = CausalVideoTokenizer(**exact.config).eval()
        rough.load_state_dict(state)
        assert torch.equal(twin.decode(ids), rough.decode_in_bf16().decode(ids))
    assert twin.encoder is exact.encoder
    assert {p.dtype for p in twin.decoder.parameters()} == {torch.bfloat16}
    assert all(torch.equal(value, state[name]) for name, value in exact.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["base", "nbp"])
def test_whole_presets_are_causal(name: str) -> None:
    tokenizer = CausalVideoTokenizer.from_preset(name)
    for layer in tokenizer.modules():
        if isinstance(layer, nn.Conv3d) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    x = clips(9)[..., :16, :16]
    changed = x.clone()
    changed[:, :, 5:] = torch.rand_like(changed[:, :, 5:])
    for training in (False, True):
        tokenizer.train(training)
        with torch.no_grad():
            before, after = tokenizer.encode_codes(x), tokenizer.encode_codes(changed)
        assert torch.equal(after[:, :, :2], before[:, :, :2])
        assert not torch.equal(after[:, :, 2], before[:, :, 2])


@pytest.mark.slow
def test_compiled_equals_eager() -> None:
    tokenizer = build("tiny").eval()
    x = clips(5)
    with torch.no_grad():
        expected = tokenizer.encode_codes(x)
        compiled = torch.compile(tokenizer.encode_codes)(x)
        torch.testing.assert_close(compiled, expected, atol=1e-5, rtol=1e-5)
        codes = tokenizer.quantizer(expected).codes
        clip = torch.compile(tokenizer.decode_codes)(codes)
        torch.testing.assert_close(clip, tokenizer.decode_codes(codes), atol=1e-5, rtol=1e-5)

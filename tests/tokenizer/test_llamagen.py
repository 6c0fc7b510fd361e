"""LlamaGen's tokenizer: the published names, codes that survive a round trip, and strict loading."""

import argparse
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from parvideo.files import sha256_json
from parvideo.pretrained.llamagen import load_llamagen_tokenizer
from parvideo.tokenizer import TOKENIZERS, LlamaGenTokenizer

CODES, DIM = 50, 4


@pytest.fixture
def tokenizer() -> LlamaGenTokenizer:
    """Two resolutions; every parameter random, so that no term hides behind a zero or a one."""
    made = LlamaGenTokenizer(CODES, DIM, 32, (1, 2), num_res_blocks=1, latent_channels=8).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


@pytest.mark.parametrize(
    ("multipliers", "entries", "parameters", "digest"),
    [
        # Taken from the published code's own state dict, without its statistic quantize.codebook_used.
        (
            (1, 1, 2, 2, 4),
            343,
            71_883_403,
            "294b3f6da327e8bf34a01ce378e33062931da4207036c7f62bd00f6dcc9b80c1",
        ),
        ((1, 2, 2, 4), 299, 70_109_835, "867df088c55f284df8ec80ea29fca2a58d0ce78228503b8b84c1d1584aa66cfb"),
    ],
    ids=["VQ-16", "VQ-8"],
)
def test_names_and_shapes_are_the_published_ones(
    multipliers: tuple[int, ...], entries: int, parameters: int, digest: str
) -> None:
    with torch.device("meta"):
        state = LlamaGenTokenizer(channel_multipliers=multipliers).state_dict()
    shapes = {name: list(value.shape) for name, value in state.items()}
    last = len(multipliers) - 1
    assert shapes["quantize.embedding.weight"] == [16384, 8]
    assert shapes["encoder.conv_blocks.0.downsample.conv.weight"] == [128, 128, 3, 3]
    assert shapes[f"encoder.conv_blocks.{last}.attn.1.proj_out.weight"] == [512, 512, 1, 1]
    assert shapes["decoder.conv_blocks.0.attn.2.q.weight"] == [512, 512, 1, 1]
    assert shapes["decoder.conv_blocks.1.res.0.nin_shortcut.weight"] == [256, 512, 1, 1]
    assert shapes["post_quant_conv.weight"] == [256, 8, 1, 1]
    assert (len(shapes), sum(value.numel() for value in state.values())) == (entries, parameters)
    assert sha256_json(shapes) == digest


@torch.no_grad()
def test_encode_gives_the_nearest_code_at_every_place(tokenizer: LlamaGenTokenizer) -> None:
    images = torch.rand(3, 3, 1, 8, 6) * 2 - 1
    tokens = tokenizer.encode(images)
    assert tokens.shape == (3, *tokenizer.latent_grid((1, 8, 6)))
    assert tokens.unique().numel() > 3
    latents = tokenizer.quant_conv(tokenizer.encoder(images[:, :, 0])).double()
    codebook = tokenizer.quantize.embedding.weight.double()
    for b, y, x in torch.cartesian_prod(torch.arange(3), torch.arange(4), torch.arange(3)).tolist():
        vector = latents[b, :, y, x]
        angles = [float(vector @ code / vector.norm() / code.norm()) for code in codebook]
        assert tokens[b, 0, y, x] == max(range(CODES), key=lambda code: angles[code])


@torch.no_grad()
def test_codes_survive_the_round_trip_and_ignore_length(tokenizer: LlamaGenTokenizer) -> None:
    tokens = torch.randint(CODES, (2, 4, 3))
    codes = tokenizer.quantize.codes(tokens)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(2, 4, 3))
    assert torch.equal(tokenizer.quantize.nearest(codes), tokens)
    assert torch.equal(tokenizer.quantize.nearest(codes * torch.rand(2, 1, 4, 3).add(0.1)), tokens)


@torch.no_grad()
def test_decode_is_clamped_and_depends_on_every_token(tokenizer: LlamaGenTokenizer) -> None:
    tokens = torch.randint(CODES, (1, 1, 3, 4))
    images = tokenizer.decode(tokens)
    assert images.shape == (1, 3, 1, 6, 8)
    assert images.abs().max() <= 1
    for y in range(3):
        for x in range(4):
            changed = tokens.clone()
            changed[0, 0, y, x] = (changed[0, 0, y, x] + 1) % CODES
            assert not torch.equal(tokenizer.decode(changed), images)


@torch.no_grad()
def test_images_of_a_batch_are_independent(tokenizer: LlamaGenTokenizer) -> None:
    images = torch.rand(3, 3, 1, 8, 8) * 2 - 1
    together = tokenizer.encode(images)
    decoded = tokenizer.decode(together)
    for i in range(3):
        alone = tokenizer.encode(images[i : i + 1])
        assert torch.equal(alone, together[i : i + 1])
        torch.testing.assert_close(tokenizer.decode(alone), decoded[i : i + 1], atol=1e-5, rtol=1e-5)


def plain_attention(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """Attention over one image ``[C, H, W]``, written place by place."""
    c, h, w = x.shape

    def project(which: str, value: Tensor) -> Tensor:
        matrix = weights[f"{name}.{which}.weight"][:, :, 0, 0]
        return matrix @ value + weights[f"{name}.{which}.bias"][:, None]

    grouped = x.reshape(32, -1)
    spread = grouped.var(dim=1, keepdim=True, unbiased=False)
    normed = ((grouped - grouped.mean(dim=1, keepdim=True)) / (spread + 1e-6).sqrt()).reshape(c, -1)
    normed = normed * weights[f"{name}.norm.weight"][:, None] + weights[f"{name}.norm.bias"][:, None]
    q, k, v = (project(which, normed) for which in "qkv")
    mixed = torch.zeros_like(v)
    for place in range(h * w):
        scores = torch.stack([q[:, place] @ k[:, other] / c**0.5 for other in range(h * w)])
        mixed[:, place] = v @ (scores.exp() / scores.exp().sum())
    return x + project("proj_out", mixed).reshape(c, h, w)


@torch.no_grad()
def test_the_decoder_equals_a_plain_computation(tokenizer: LlamaGenTokenizer) -> None:
    weights = {name: value.double() for name, value in tokenizer.state_dict().items()}

    def conv(x: Tensor, name: str) -> Tensor:
        kernel = weights[f"{name}.weight"]
        return F.conv2d(x[None], kernel, weights[f"{name}.bias"], padding=kernel.shape[-1] // 2)[0]

    def swish_norm(x: Tensor, name: str) -> Tensor:
        normed = F.group_norm(x[None], 32, weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)[0]
        return normed / (1 + (-normed).exp())

    def residual(x: Tensor, name: str) -> Tensor:
        h = conv(swish_norm(x, f"{name}.norm1"), f"{name}.conv1")
        h = conv(swish_norm(h, f"{name}.norm2"), f"{name}.conv2")
        return h + (conv(x, f"{name}.nin_shortcut") if f"{name}.nin_shortcut.bias" in weights else x)

    tokens = torch.randint(CODES, (1, 1, 2, 3))
    codebook = weights["quantize.embedding.weight"]
    codes = (codebook / codebook.norm(dim=1, keepdim=True))[tokens[0, 0]].permute(2, 0, 1)
    h = conv(conv(codes, "post_quant_conv"), "decoder.conv_in")
    h = residual(h, "decoder.mid.0")
    h = plain_attention(h, weights, "decoder.mid.1")
    h = residual(h, "decoder.mid.2")
    for block in range(2):
        h = residual(h, f"decoder.conv_blocks.0.res.{block}")
        h = plain_attention(h, weights, f"decoder.conv_blocks.0.attn.{block}")
    h = h.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    h = conv(h, "decoder.conv_blocks.0.upsample.conv")
    for block in range(2):
        h = residual(h, f"decoder.conv_blocks.1.res.{block}")
    expected = conv(swish_norm(h, "decoder.norm_out"), "decoder.conv_out").clamp(-1, 1)
    torch.testing.assert_close(tokenizer.decode(tokens)[0, :, 0].double(), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_halving_pads_below_and_to_the_right(tokenizer: LlamaGenTokenizer) -> None:
    halve = tokenizer.encoder.conv_blocks[0].downsample
    image = torch.rand(1, 32, 4, 4)
    kernel, bias = halve.conv.weight, halve.conv.bias
    torch.testing.assert_close(
        halve(image)[0, :, 0, 0], (kernel * image[:, :, :3, :3]).sum((1, 2, 3)) + bias, atol=1e-4, rtol=1e-4
    )
    corner = (kernel[:, :, :2, :2] * image[:, :, 2:, 2:]).sum((1, 2, 3)) + bias
    torch.testing.assert_close(halve(image)[0, :, 1, 1], corner, atol=1e-4, rtol=1e-4)


def test_wrong_input_is_refused(tokenizer: LlamaGenTokenizer) -> None:
    with pytest.raises(ValueError, match="clips of 1 frame, got 2"):
        tokenizer.encode(torch.zeros(1, 3, 2, 8, 8))
    with pytest.raises(ValueError, match="multiples of 2, got 8x7"):
        tokenizer.encode(torch.zeros(1, 3, 1, 8, 7))
    with pytest.raises(ValueError, match=r"\[0, 50\), got 0 to 50"):
        tokenizer.decode(torch.tensor([[[[0, 50]]]]))
    with pytest.raises(ValueError, match=r"int64 \[B, 1, h, w\]"):
        tokenizer.decode(torch.zeros(1, 2, 2, 2, dtype=torch.int64))


def test_wrong_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="channels must be a multiple of 32, .* got 48"):
        LlamaGenTokenizer(channels=48)
    with pytest.raises(ValueError, match=r"channel_multipliers must be positive, got \[\]"):
        LlamaGenTokenizer(channel_multipliers=())
    with pytest.raises(ValueError, match="codebook_dim must be positive, got 0"):
        LlamaGenTokenizer(codebook_dim=0)


@torch.no_grad()
def test_every_dimension_is_read_from_the_file(tokenizer: LlamaGenTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "vq.pt"
    state = tokenizer.state_dict()
    used = {"quantize.codebook_used": torch.zeros(65536)}
    torch.save({"model": state | used, "discriminator": {}, "args": argparse.Namespace(beta=1)}, path)
    save_file(state, path.with_suffix(".safetensors"))
    images = torch.rand(2, 3, 1, 8, 8) * 2 - 1
    for file in (path, path.with_suffix(".safetensors")):
        loaded = load_llamagen_tokenizer(file)
        assert loaded.config == tokenizer.config
        assert not loaded.training
        assert torch.equal(loaded.decode(loaded.encode(images)), tokenizer.decode(tokenizer.encode(images)))
    rebuilt = TOKENIZERS["LlamaGenTokenizer"](**tokenizer.config)
    rebuilt.load_state_dict(state)
    assert torch.equal(rebuilt.encode(images), tokenizer.encode(images))


def test_entries_are_needed_in_their_shape(tokenizer: LlamaGenTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "vq.pt"
    state = tokenizer.state_dict()
    for name, value in list(state.items())[::8]:  # every kind of entry; all would take half a minute
        without = {key: other for key, other in state.items() if key != name}
        torch.save(without, path)
        with pytest.raises(ValueError, match=f"{path}.*{name}"):
            load_llamagen_tokenizer(path)
        if name != "quantize.embedding.weight":  # one row fewer is one code fewer
            torch.save(without | {name: value[1:]}, path)
            with pytest.raises(ValueError, match=f"{path}.*expected"):
                load_llamagen_tokenizer(path)
    without = {name: value for name, value in state.items() if name != "quantize.embedding.weight"}
    torch.save(without, path)
    with pytest.raises(ValueError, match=r"lacks 'quantize\.embedding\.weight'"):
        load_llamagen_tokenizer(path)
    torch.save(state | {"loss.logvar": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"unexpected 'loss\.logvar'"):
        load_llamagen_tokenizer(path)


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.target),)


def test_damaged_files_and_code_are_refused(tokenizer: LlamaGenTokenizer, tmp_path: Path) -> None:
    path, target = tmp_path / "vq.pt", tmp_path / "executed"
    torch.save({"model": tokenizer.state_dict()}, path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=f"{path} is truncated"):
        load_llamagen_tokenizer(path)
    torch.save({"model": tokenizer.state_dict(), "optimizer": Malicious(target)}, path)
    with pytest.raises(ValueError, match="nothing in it was run"):
        load_llamagen_tokenizer(path)
    assert not target.exists()

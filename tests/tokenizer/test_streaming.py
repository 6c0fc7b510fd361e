import pytest
import torch
from torch import nn

from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.layers import CausalConv3d, StreamCache
from parvideo.tokenizer.presets import PRESETS
from parvideo.tokenizer.streaming import decode_stream, encode_stream

SLIM = {"channels": 8, "num_res_blocks": 1, "norm_groups": 4}
CONFIGS = {
    "tiny": PRESETS["tiny"],
    "base": PRESETS["base"] | SLIM,
    "nbp": PRESETS["nbp"] | SLIM,
    "light": PRESETS["light"]
    | SLIM
    | {"decoder_levels": PRESETS["light"]["decoder_levels"] | {"channels": 8, "num_res_blocks": 1}},
    "patches and strides in time": PRESETS["base"] | SLIM | {"patch_frames": 2},
}


def build(name: str) -> CausalVideoTokenizer:
    tokenizer = CausalVideoTokenizer(**CONFIGS[name]).eval()
    for layer in tokenizer.modules():  # so that zero-initialised branches take part
        if isinstance(layer, nn.Conv3d):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    return tokenizer


@pytest.mark.parametrize("latent_frames", [1, 2, 3])
@pytest.mark.parametrize("name", list(CONFIGS))
def test_stream_equals_the_whole_clip(name: str, latent_frames: int) -> None:
    tokenizer = build(name)
    x = torch.rand(2, 3, 1 + 4 * tokenizer.time_factor, 16, 16) * 2 - 1
    factor = tokenizer.time_factor
    first = 1 + factor * (latent_frames - 1)
    chunks = [x[:, :, :first], *x[:, :, first:].split(factor * latent_frames, dim=2)]
    with torch.no_grad():
        ids = tokenizer.encode(x)
        whole = tokenizer.decode(ids)
    streamed = torch.cat(list(encode_stream(tokenizer, chunks)), dim=1)
    assert (streamed != ids).float().mean() < 0.01  # an id may flip where rounding meets a border
    decoded = torch.cat(list(decode_stream(tokenizer, ids.split(latent_frames, dim=1))), dim=2)
    torch.testing.assert_close(decoded, whole, atol=1e-5, rtol=0)


def test_chunks_of_any_allowed_size() -> None:
    tokenizer = build("base")
    x = torch.rand(1, 3, 17, 16, 16) * 2 - 1
    streamed = torch.cat(list(encode_stream(tokenizer, x.split([5, 8, 4], dim=2))), dim=1)
    assert (streamed != tokenizer.encode(x)).float().mean() < 0.01


def test_codes_stream_to_rounding() -> None:
    tokenizer = build("nbp")
    x = torch.rand(1, 3, 13, 16, 16) * 2 - 1
    cache = StreamCache()
    with torch.no_grad():
        parts = [tokenizer.encode_codes(part, cache) for part in x.split([1, 4, 8], dim=2)]
        torch.testing.assert_close(torch.cat(parts, dim=2), tokenizer.encode_codes(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_a_stream_keeps_at_most_two_frames_a_convolution(side: str) -> None:
    tokenizer = build("base")
    cache = StreamCache()
    # The inputs' sizes of each convolution, seen on one latent frame's worth of stream.
    frame_bytes: dict[nn.Module, int] = {}

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        x = inputs[0]
        frame_bytes[layer] = x[:, :, 0].numel() * x.element_size()

    for layer in getattr(tokenizer, side).modules():
        if isinstance(layer, CausalConv3d):
            layer.register_forward_hook(note)
    run = tokenizer.encode_codes if side == "encoder" else tokenizer.decode_codes
    shape, factor = ((1, 3), 4) if side == "encoder" else ((1, 6), 1)
    size = 16 if side == "encoder" else 2
    with torch.no_grad():
        run(torch.rand(*shape, 1, size, size), cache)
        for latent_frames in (1, 3, 2):
            run(torch.rand(*shape, latent_frames * factor, size, size), cache)
            kept = list(cache._frames.values())
            assert max(frames.shape[2] for frames in kept) <= 2
            # Copies, not views, which would keep the whole chunk.
            assert sum(frames.untyped_storage().nbytes() for frames in kept) <= 2 * sum(frame_bytes.values())


@pytest.mark.parametrize("frames", [[4], [5, 1], [5, 5], [5, 0]])
def test_chunks_of_other_sizes_are_refused(frames: list[int]) -> None:
    tokenizer = build("tiny")
    with pytest.raises(ValueError, match="frames"):
        list(encode_stream(tokenizer, (torch.zeros(1, 3, count, 16, 16) for count in frames)))

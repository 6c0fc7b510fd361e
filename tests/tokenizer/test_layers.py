import pytest
import torch
from einops import rearrange

from parvideo.tokenizer.layers import (
    CausalConv3d,
    DepthToSpace,
    FrameGroupNorm,
    ResidualBlock,
    SpaceToDepth,
    StreamCache,
    Swish,
)


@pytest.mark.parametrize("space_padding", ["zeros", "replicate"])
def test_causal_convolution_equals_a_padded_plain_one(space_padding: str) -> None:
    layer = CausalConv3d(3, 5, time_stride=2, space_stride=2, space_padding=space_padding)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 5, 8, 8)
    padded = torch.cat([x[:, :, :1], x[:, :, :1], x], dim=2)
    mode = "constant" if space_padding == "zeros" else "replicate"
    padded = torch.nn.functional.pad(padded, (1, 1, 1, 1, 0, 0), mode=mode)
    expected = torch.nn.functional.conv3d(padded, layer.conv.weight, layer.conv.bias, stride=2)
    torch.testing.assert_close(layer(x), expected)


def test_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel must be odd, got 2"):
        CausalConv3d(3, 3, kernel=2)


@pytest.mark.parametrize(("time_stride", "chunks"), [(1, [1, 2, 3]), (2, [1, 2, 4]), (2, [3, 2, 2])])
@pytest.mark.parametrize("space_padding", ["zeros", "replicate"])
def test_convolution_streams(time_stride: int, chunks: list[int], space_padding: str) -> None:
    layer = CausalConv3d(3, 4, time_stride=time_stride, space_padding=space_padding)  # type: ignore[arg-type]
    x = torch.randn(1, 3, sum(chunks), 6, 6)
    cache = StreamCache()
    streamed = torch.cat([layer(chunk, cache) for chunk in x.split(chunks, dim=2)], dim=2)
    torch.testing.assert_close(streamed, layer(x), atol=1e-6, rtol=1e-5)


def test_group_norm_treats_each_frame_alone() -> None:
    norm = FrameGroupNorm(2, 4).requires_grad_(False)
    x = torch.randn(2, 4, 3, 5, 5)
    whole = norm(x)
    for frame in range(3):
        assert torch.equal(whole[:, :, frame : frame + 1], norm(x[:, :, frame : frame + 1]))
    assert abs(float(whole[0, :2, 1].mean())) < 1e-6
    assert abs(float(whole[0, :2, 1].std(correction=0)) - 1) < 1e-3


def test_swish_learns_its_slope() -> None:
    act = Swish(2)
    x = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1, 1)
    torch.testing.assert_close(act(x), torch.nn.functional.silu(x))
    with torch.no_grad():
        act.beta[:] = 0.0
    torch.testing.assert_close(act(x), x / 2)


def test_fresh_residual_block_is_the_identity() -> None:
    x = torch.randn(1, 8, 3, 4, 4)
    block = ResidualBlock(8, 8, norm_groups=4)
    assert torch.equal(block(x), x)
    block(x).sum().backward()
    assert block.conv2.conv.weight.grad is not None
    assert block.conv2.conv.weight.grad.abs().sum() > 0


def test_depth_to_space_order_is_time_height_width_channel() -> None:
    channels = 5
    x = torch.randn(1, 8 * channels, 3, 2, 2)
    whole = DepthToSpace(2, 2)(x)
    assert whole.shape == (1, channels, 5, 4, 4)
    for p in range(2):
        for q in range(2):
            for r in range(2):
                block = x[:, ((p * 2 + q) * 2 + r) * channels :][:, :channels]
                # Frame 2k + p of the whole, less the dropped first one.
                got = torch.stack([whole[:, :, 2 * k + p - 1, q::2, r::2] for k in range(1, 3)], dim=2)
                assert torch.equal(got, block[:, :, 1:])
    assert torch.equal(whole[:, :, 0, 1::2, 1::2], x[:, 7 * channels :, 0])


@pytest.mark.parametrize(("time", "space"), [(1, 2), (2, 1), (4, 4)])
def test_depth_to_space_inverts_space_to_depth(time: int, space: int) -> None:
    x = torch.randn(2, 3, 1 + 2 * time, 8, 8)
    folded = SpaceToDepth(time, space)(x)
    assert folded.shape == (2, 3 * time * space**2, 3, 8 // space, 8 // space)
    assert torch.equal(DepthToSpace(time, space)(folded), x)
    # The first frame fills its block alone.
    first = rearrange(folded[:, :, 0], "b (p q r c) h w -> b p c (h q) (w r)", p=time, q=space, r=space)
    assert torch.equal(first, x[:, None, :, 0].expand_as(first))


def test_memory_of_folding_is_channels_last() -> None:
    folded = SpaceToDepth(1, 2)(torch.randn(1, 3, 3, 4, 4))
    assert folded.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_norm_under_autocast_keeps_its_dtype_and_its_means() -> None:
    torch.manual_seed(0)
    layer = FrameGroupNorm(2, 8)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    frames = (torch.randn(3, 8, 16, 16) * 4 + 50).bfloat16()  # where sums in bfloat16 would be far off
    with torch.autocast("cpu", torch.bfloat16):
        normed = layer.in_own_dtype(frames)
    assert normed.dtype == torch.bfloat16
    exact = torch.nn.functional.group_norm(frames.float(), 2, layer.weight, layer.bias, layer.eps)
    torch.testing.assert_close(normed.float(), exact, atol=0.05, rtol=0.02)
    normed.float().square().mean().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32

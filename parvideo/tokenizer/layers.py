"""Layers of a causal video network: what a frame becomes depends on it and on earlier frames alone.

Every layer maps float ``[B, C, T, H, W]`` and takes an optional `StreamCache`. Without one the clip is
whole; with one it is the next chunk of a stream, and the cache holds what the layer needs of the past.
"""

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

SpacePadding = Literal["zeros", "replicate"]


class StreamCache:
    """What causal layers remember between two chunks of one stream: their last input frames."""

    def __init__(self) -> None:
        self._frames: dict[nn.Module, Tensor] = {}

    def is_first(self, layer: nn.Module) -> bool:
        """Whether ``layer`` has not yet seen a chunk."""
        return layer not in self._frames

    def past(self, layer: nn.Module) -> Tensor:
        """The frames ``layer`` remembered, ``[B, C, k, H, W]``."""
        return self._frames[layer]

    def remember(self, layer: nn.Module, frames: Tensor) -> None:
        """Keep ``frames`` for the layer's next chunk (a copy, so that the chunk itself can be freed)."""
        self._frames[layer] = frames.clone()


class Layer(nn.Module):
    """A layer that can run on a whole clip or on the chunks of a stream."""

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        """Map ``[B, C, T, H, W]``; with ``cache``, as the next chunk of its stream."""
        raise NotImplementedError


class CausalConv3d(Layer):
    """A 3D convolution padded in time on the left only, with the clip's first frame repeated.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel: width of the cubic kernel, odd.
        time_stride: frames in per frame out.
        space_stride: pixels in per pixel out, both ways.
        space_padding: what lies outside a frame: "zeros", or "replicate" for its border repeated.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        time_stride: int = 1,
        space_stride: int = 1,
        space_padding: SpacePadding = "zeros",
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        self.time_pad = kernel - 1
        self.time_memory = kernel - time_stride
        border = kernel // 2
        self.replicated_border = border if space_padding == "replicate" else 0
        self.conv = nn.Conv3d(
            in_channels,
            out_channels,
            kernel,
            stride=(time_stride, space_stride, space_stride),
            padding=(0, border - self.replicated_border, border - self.replicated_border),
        )

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        if self.time_pad == 0:
            return self.conv(x)
        time_pad = self.time_pad
        if cache is not None:
            chunk = x
            if not cache.is_first(self):
                x, time_pad = torch.cat([cache.past(self), x], dim=2), 0
            recent = torch.cat([x[:, :, :1]] * self.time_memory + [chunk], dim=2) if time_pad else x
            cache.remember(self, recent[:, :, -self.time_memory :])
        border = self.replicated_border
        if time_pad or border:
            x = F.pad(x, (border, border, border, border, time_pad, 0), mode="replicate")
        return self.conv(x)


class FrameGroupNorm(nn.GroupNorm):
    """Group normalisation of each frame by itself; pooled over time it would let the future in."""

    def forward(self, input: Tensor) -> Tensor:
        frames = rearrange(input, "b c t h w -> (b t) c h w")
        # CUDA's autocast would copy frames to float32 and hand the next layer twice the bytes. The kernel
        # computes its means in float32 all the same.
        if input.is_cuda and input.dtype == torch.bfloat16 and torch.is_autocast_enabled("cuda"):
            normed = self.in_own_dtype(frames)
        else:
            normed = super().forward(frames)
        return rearrange(normed, "(b t) c h w -> b c t h w", b=input.shape[0])

    def in_own_dtype(self, frames: Tensor) -> Tensor:
        """Normalise ``[N, C, H, W]`` in the dtype that it has, autocast or not."""
        with torch.autocast(frames.device.type, enabled=False):
            weight, bias = self.weight.to(frames.dtype), self.bias.to(frames.dtype)
            return F.group_norm(frames, self.num_groups, weight, bias, self.eps)


class Swish(nn.Module):
    """``x * sigmoid(beta * x)`` with one learned beta a channel (Ramachandran et al., arXiv 1710.05941)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.beta * x)


class ResidualBlock(Layer):
    """Twice (norm, Swish, causal 3x3x3 convolution), added to the input.

    The last convolution starts at zero, so that a fresh block passes its input on unchanged.
    """

    def __init__(
        self, in_channels: int, out_channels: int, norm_groups: int, space_padding: SpacePadding = "zeros"
    ) -> None:
        super().__init__()
        self.norm1 = FrameGroupNorm(norm_groups, in_channels)
        self.act1 = Swish(in_channels)
        self.conv1 = CausalConv3d(in_channels, out_channels, space_padding=space_padding)
        self.norm2 = FrameGroupNorm(norm_groups, out_channels)
        self.act2 = Swish(out_channels)
        self.conv2 = CausalConv3d(out_channels, out_channels, space_padding=space_padding)
        self.shortcut = (
            nn.Identity() if in_channels == out_channels else nn.Conv3d(in_channels, out_channels, 1)
        )
        nn.init.zeros_(self.conv2.conv.weight)
        if self.conv2.conv.bias is not None:
            nn.init.zeros_(self.conv2.conv.bias)

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        hidden = self.conv1(self.act1(self.norm1(x)), cache)
        hidden = self.conv2(self.act2(self.norm2(hidden)), cache)
        return self.shortcut(x) + hidden


class NormSwish(Layer):
    """Norm and Swish, as they stand before a network's last convolution."""

    def __init__(self, channels: int, norm_groups: int) -> None:
        super().__init__()
        self.norm = FrameGroupNorm(norm_groups, channels)
        self.act = Swish(channels)

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        return self.act(self.norm(x))


class SpaceToDepth(Layer):
    """Fold blocks of ``time x space x space`` pixels into channels, ordered (time, height, width, channel).

    The first frame stands alone: it is repeated to fill its block, so T = 1 + time * k gives 1 + k frames.
    """

    def __init__(self, time: int, space: int) -> None:
        super().__init__()
        self.time, self.space = time, space

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        if self.time > 1 and (cache is None or cache.is_first(self)):
            x = F.pad(x, (0, 0, 0, 0, self.time - 1, 0), mode="replicate")
            if cache is not None:
                cache.remember(self, x[:, :, :0])
        folded = rearrange(
            x,
            "b c (t p) (h q) (w r) -> b t h w (p q r c)",
            p=self.time,
            q=self.space,
            r=self.space,
        )
        return folded.movedim(-1, 1)  # the memory stays channels_last_3d, which convolutions like


class DepthToSpace(Layer):
    """Unfold channels, ordered (time, height, width, channel), into blocks of pixels.

    The first frame's block shrinks to its last frame, so t frames give 1 + time * (t - 1): the inverse of
    `SpaceToDepth`.
    """

    def __init__(self, time: int, space: int) -> None:
        super().__init__()
        self.time, self.space = time, space

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        unfolded = rearrange(
            x,
            "b (p q r c) t h w -> b (t p) (h q) (w r) c",
            p=self.time,
            q=self.space,
            r=self.space,
        ).movedim(-1, 1)
        if self.time > 1 and (cache is None or cache.is_first(self)):
            unfolded = unfolded[:, :, self.time - 1 :]
            if cache is not None:
                cache.remember(self, unfolded[:, :, :0])
        return unfolded


class Upsample(Layer):
    """A causal convolution to ``time * space**2`` times the channels, then depth to space."""

    def __init__(self, channels: int, time: int, space: int, space_padding: SpacePadding = "zeros") -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels * time * space**2, space_padding=space_padding)
        self.unfold = DepthToSpace(time, space)

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        return self.unfold(self.conv(x, cache), cache)


def run_layers(
    layers: Iterable[nn.Module], x: Tensor, cache: StreamCache | None = None, checkpointing: bool = False
) -> Tensor:
    """Run layers in turn on ``[B, C, T, H, W]``.

    With ``checkpointing`` activations inside each layer are computed again in the backward pass, not kept.
    """
    for layer in layers:
        if checkpointing and torch.is_grad_enabled() and cache is None:
            x = checkpoint(layer, x, use_reentrant=False)
        else:
            x = layer(x, cache)
    return x

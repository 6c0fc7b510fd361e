"""LlamaGen's image tokenizer: a 2D convolutional VQ autoencoder that takes an image as a clip of one frame.

Architecture of VQGAN (Esser et al., arXiv 2012.09841) as LlamaGen publishes it (arXiv 2406.06525, section
3.1): attention at the lowest resolution only, and a codebook of unit vectors. The modules carry the names of
the published state dicts, ``vq_ds16_c2i.pt`` (VQ-16) and ``vq_ds8_c2i.pt`` (VQ-8), so that those load
unchanged.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from parvideo.pixels import TensorLike, as_tensor
from parvideo.tokenizer.base import VideoTokenizer

NORM_GROUPS = 32
"""Every width is a multiple of this."""


class LlamaGenTokenizer(VideoTokenizer):
    """A discrete image autoencoder; the defaults are VQ-16.

    Args:
        codebook_size: number of codes.
        codebook_dim: dimensions of a code.
        channels: width at the highest resolution, a multiple of 32.
        channel_multipliers: width of each resolution in units of ``channels``, highest first; each but the
            last halves height and width.
        num_res_blocks: residual blocks at each resolution (the decoder has one more).
        latent_channels: width between the autoencoder and the projections to and from codes.

    Raises:
        ValueError: if a size is not positive, or ``channels`` is no multiple of 32.
    """

    def __init__(
        self,
        codebook_size: int = 16384,
        codebook_dim: int = 8,
        channels: int = 128,
        channel_multipliers: Sequence[int] = (1, 1, 2, 2, 4),
        num_res_blocks: int = 2,
        latent_channels: int = 256,
    ) -> None:
        super().__init__()
        self.config = {
            "codebook_size": codebook_size,
            "codebook_dim": codebook_dim,
            "channels": channels,
            "channel_multipliers": list(channel_multipliers),
            "num_res_blocks": num_res_blocks,
            "latent_channels": latent_channels,
        }
        for name, value in self.config.items():
            sizes = value if isinstance(value, list) else [value]
            if not sizes or min(sizes) < 1:
                raise ValueError(f"{name} must be positive, got {value}")
        if channels % NORM_GROUPS:
            raise ValueError(
                f"channels must be a multiple of {NORM_GROUPS}, the groups of a norm; got {channels}"
            )
        widths = [channels * multiplier for multiplier in channel_multipliers]
        self.factor = 2 ** (len(widths) - 1)
        self.encoder = _Encoder(widths, num_res_blocks, latent_channels)
        self.decoder = _Decoder(widths, num_res_blocks, latent_channels)
        self.quantize = _Codebook(codebook_size, codebook_dim)
        self.quant_conv = nn.Conv2d(latent_channels, codebook_dim, 1)
        self.post_quant_conv = nn.Conv2d(codebook_dim, latent_channels, 1)

    @property
    def codebook_size(self) -> int:
        return self.quantize.embedding.num_embeddings

    def latent_grid(self, clip_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        frames, height, width = clip_shape
        if frames != 1:
            raise ValueError(f"an image tokenizer takes clips of 1 frame, got {frames}")
        if min(height, width) < 1 or height % self.factor or width % self.factor:
            raise ValueError(
                f"an image's height and width must be multiples of {self.factor}, got {height}x{width}"
            )
        return 1, height // self.factor, width // self.factor

    def encode(self, clips: TensorLike) -> Tensor:
        clips = as_tensor(clips)
        self.latent_grid((clips.shape[2], clips.shape[3], clips.shape[4]))
        latents = self.quant_conv(self.encoder(clips.squeeze(2)))
        return self.quantize.nearest(latents).unsqueeze(1)

    def decode(self, tokens: TensorLike) -> Tensor:
        tokens = as_tensor(tokens, "tokens")
        if tokens.dtype != torch.int64 or tokens.ndim != 4 or tokens.shape[1] != 1:
            raise ValueError(f"tokens must be int64 [B, 1, h, w], got {tokens.dtype} {list(tokens.shape)}")
        low, high = (int(bound) for bound in tokens.aminmax())
        if low < 0 or high >= self.codebook_size:
            raise ValueError(f"tokens must lie in [0, {self.codebook_size}), got {low} to {high}")
        codes = self.quantize.codes(tokens.squeeze(1))
        return self.decoder(self.post_quant_conv(codes)).clamp(-1.0, 1.0).unsqueeze(2)


class _Codebook(nn.Module):
    """Codes on the unit sphere: a vector takes the code it makes the smallest angle with."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, dim)

    def nearest(self, latents: Tensor) -> Tensor:
        """``[B, dim, h, w]`` -> int64 ``[B, h, w]``, in float32 also under autocast."""
        with torch.autocast(latents.device.type, enabled=False):
            codebook = self._unit()
            vectors = F.normalize(rearrange(latents.float(), "b c h w -> b h w c"), dim=-1)
            # Image by image: the table of similarities has codebook_size columns.
            return torch.stack([(image @ codebook.T).argmax(dim=-1) for image in vectors])

    def codes(self, ids: Tensor) -> Tensor:
        """int64 ``[B, h, w]`` -> unit vectors ``[B, dim, h, w]``."""
        return rearrange(self._unit()[ids], "b h w c -> b c h w")

    def _unit(self) -> Tensor:
        return F.normalize(self.embedding.weight, dim=-1)


class _Encoder(nn.Module):
    """Image ``[B, 3, H, W]`` -> latents ``[B, latent_channels, H / factor, W / factor]``."""

    def __init__(self, widths: Sequence[int], num_res_blocks: int, latent_channels: int) -> None:
        super().__init__()
        lowest = widths[-1]
        self.conv_in = _conv(3, widths[0])
        self.conv_blocks = nn.ModuleList(
            _Level(
                widths[max(level - 1, 0)],
                width,
                num_res_blocks,
                attention=level == len(widths) - 1,
                downsample=level < len(widths) - 1,
            )
            for level, width in enumerate(widths)
        )
        self.mid = _middle(lowest)
        self.norm_out = _norm(lowest)
        self.conv_out = _conv(lowest, latent_channels)

    def forward(self, images: Tensor) -> Tensor:
        h = self.conv_in(images)
        for block in [*self.conv_blocks, *self.mid]:
            h = block(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class _Decoder(nn.Module):
    """Latents ``[B, latent_channels, h, w]`` -> image ``[B, 3, h * factor, w * factor]``."""

    def __init__(self, widths: Sequence[int], num_res_blocks: int, latent_channels: int) -> None:
        super().__init__()
        upward = list(reversed(widths))
        self.conv_in = _conv(latent_channels, upward[0])
        self.mid = _middle(upward[0])
        self.conv_blocks = nn.ModuleList(
            _Level(
                upward[max(level - 1, 0)],
                width,
                num_res_blocks + 1,
                attention=level == 0,
                upsample=level < len(upward) - 1,
            )
            for level, width in enumerate(upward)
        )
        self.norm_out = _norm(upward[-1])
        self.conv_out = _conv(upward[-1], 3)

    def forward(self, latents: Tensor) -> Tensor:
        h = self.conv_in(latents)
        for block in [*self.mid, *self.conv_blocks]:
            h = block(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class _Level(nn.Module):
    """The residual blocks of one resolution, each with attention if asked, then the change of resolution."""

    def __init__(
        self,
        inner: int,
        outer: int,
        num_blocks: int,
        attention: bool,
        downsample: bool = False,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        self.res = nn.ModuleList(_Residual(inner if i == 0 else outer, outer) for i in range(num_blocks))
        self.attn = nn.ModuleList(_Attention(outer) for _ in range(num_blocks if attention else 0))
        self.downsample = _Downsample(outer) if downsample else None
        self.upsample = _Upsample(outer) if upsample else None

    def forward(self, h: Tensor) -> Tensor:
        for i, block in enumerate(self.res):
            h = block(h)
            if len(self.attn):
                h = self.attn[i](h)
        for resample in (self.downsample, self.upsample):
            if resample is not None:
                h = resample(h)
        return h


class _Residual(nn.Module):
    """Two normalised 3x3 convolutions beside a shortcut, 1x1 where the width changes."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.norm1 = _norm(inner)
        self.conv1 = _conv(inner, outer)
        self.norm2 = _norm(outer)
        self.conv2 = _conv(outer, outer)
        self.nin_shortcut = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class _Attention(nn.Module):
    """Single-head attention between all places of an image, added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        queries, keys, values = (
            rearrange(project(normed), "b c h w -> b 1 (h w) c") for project in (self.q, self.k, self.v)
        )
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return x + self.proj_out(rearrange(attended, "b 1 (h w) c -> b c h w", h=x.shape[-2]))


class _Downsample(nn.Module):
    """Halve height and width; zeros are padded below and to the right alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Upsample(nn.Module):
    """Double height and width by repetition, then convolve."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def _middle(width: int) -> nn.ModuleList:
    return nn.ModuleList([_Residual(width, width), _Attention(width), _Residual(width, width)])


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(NORM_GROUPS, width, eps=1e-6)


def _conv(inner: int, outer: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, padding=1)

"""The causal 3D tokenizer: a convolutional encoder, a quantizer, and the mirrored decoder.

The architecture is that of MAGVIT-v2 (Yu et al., arXiv 2310.05737) as NBP re-implements it: residual blocks
at each resolution, strided convolutions down, depth-to-space up, each frame normalised by itself. A clip of
T = 1 + k * (time factor) frames gives 1 + k latent frames, and the first latent frame holds the first frame
alone; so an image is a clip of one frame.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from parvideo.pixels import TensorLike, as_tensor
from parvideo.tokenizer.base import VideoTokenizer
from parvideo.tokenizer.layers import (
    CausalConv3d,
    DepthToSpace,
    NormSwish,
    ResidualBlock,
    SpacePadding,
    SpaceToDepth,
    StreamCache,
    Upsample,
    run_layers,
)
from parvideo.tokenizer.levels import Levels
from parvideo.tokenizer.presets import PRESETS
from parvideo.tokenizer.quantizers import FSQBound, QuantizerKind, build_quantizer


class Reconstruction(NamedTuple):
    """One pass through a tokenizer.

    ``clips`` float ``[B, 3, T, H, W]``, not clamped, so that a loss has a gradient everywhere; ``ids`` int64
    ``[B, t, h, w]``; ``aux_loss`` the quantizer's scalar loss.
    """

    clips: Tensor
    ids: Tensor
    aux_loss: Tensor


class CausalVideoTokenizer(VideoTokenizer):
    """A discrete clip autoencoder that is causal in time.

    Args:
        channels: width at the highest resolution.
        channel_multipliers: the width of each resolution level, in units of ``channels``, highest first.
        num_res_blocks: residual blocks at each level, and again at the lowest, on each side.
        time_strides: between two levels, frames in per frame out.
        space_strides: between two levels, pixels in per pixel out, both ways.
        patch_size: pixels, both ways, folded into channels before the first convolution.
        patch_frames: frames folded into channels before the first convolution.
        norm_groups: groups of each group normalisation; must divide every width.
        space_padding: what lies outside a frame, "zeros" or "replicate".
        quantizer: "fsq", "lfq" or "vq_ema".
        levels: levels of each FSQ channel; the first of a code's digits is the fastest.
        fsq_bound: the form of FSQ's squashing, "nbp" or "vqp".
        lfq_bits: LFQ's bits.
        lfq_anneal_steps: steps over which the weight of LFQ's entropy loss falls to its value; 0 for none.
        vq_codes: entries of the VQ-EMA codebook.
        vq_dim: channels of one VQ-EMA entry.
        checkpoint_activations: in training, compute each layer's activations again in the backward pass
            instead of keeping them: less memory, about a third more time, the same gradients.
        decoder_levels: the decoder's own widths and resolutions; those of the encoder in reverse if not
            given. A lighter decoder for the same tokens.

    Raises:
        ValueError: if the arguments do not fit together.
    """

    def __init__(
        self,
        channels: int = 64,
        channel_multipliers: Sequence[int] = (1, 2, 2, 4),
        num_res_blocks: int = 2,
        time_strides: Sequence[int] = (1, 2, 2),
        space_strides: Sequence[int] = (2, 2, 2),
        patch_size: int = 1,
        patch_frames: int = 1,
        norm_groups: int = 32,
        space_padding: SpacePadding = "zeros",
        quantizer: QuantizerKind = "fsq",
        levels: Sequence[int] = (8, 8, 8, 5, 5, 5),
        fsq_bound: FSQBound = "nbp",
        lfq_bits: int = 16,
        lfq_anneal_steps: int = 0,
        vq_codes: int = 8192,
        vq_dim: int = 16,
        checkpoint_activations: bool = False,
        decoder_levels: Levels | None = None,
    ) -> None:
        super().__init__()
        levels_in = Levels(
            channels,
            channel_multipliers,
            num_res_blocks,
            time_strides,
            space_strides,
            patch_size,
            patch_frames,
        )
        levels_out = levels_in if decoder_levels is None else Levels.of(decoder_levels)
        for side in (levels_in, levels_out):
            side.check_norm(norm_groups)
        factors = [(side.time_factor, side.space_factor) for side in (levels_in, levels_out)]
        if factors[0] != factors[1]:
            raise ValueError(
                f"decoder_levels makes {factors[1][0]} frames and {factors[1][1]}x{factors[1][1]} pixels of a"
                f" token, and the encoder a token of {factors[0][0]} and {factors[0][1]}x{factors[0][1]}"
            )
        if space_padding not in ("zeros", "replicate"):
            raise ValueError(f"space_padding must be 'zeros' or 'replicate', got {space_padding!r}")
        self.config = {
            "channels": channels,
            "channel_multipliers": list(channel_multipliers),
            "num_res_blocks": num_res_blocks,
            "time_strides": list(time_strides),
            "space_strides": list(space_strides),
            "patch_size": patch_size,
            "patch_frames": patch_frames,
            "norm_groups": norm_groups,
            "space_padding": space_padding,
            "quantizer": quantizer,
            "levels": list(levels),
            "fsq_bound": fsq_bound,
            "lfq_bits": lfq_bits,
            "lfq_anneal_steps": lfq_anneal_steps,
            "vq_codes": vq_codes,
            "vq_dim": vq_dim,
            "checkpoint_activations": checkpoint_activations,
        }
        if decoder_levels is not None:
            self.config["decoder_levels"] = asdict(levels_out)
        self.time_factor, self.space_factor = factors[0]
        self.checkpoint_activations = checkpoint_activations
        self.quantizer = build_quantizer(
            quantizer, levels, fsq_bound, lfq_bits, lfq_anneal_steps, vq_codes, vq_dim
        )

        def conv(inner: int, outer: int, time: int = 1, space: int = 1) -> CausalConv3d:
            return CausalConv3d(
                inner, outer, time_stride=time, space_stride=space, space_padding=space_padding
            )

        def blocks(count: int, inner: int, outer: int) -> list[ResidualBlock]:
            ins = [inner] + [outer] * (count - 1)
            return [ResidualBlock(width, outer, norm_groups, space_padding) for width in ins]

        widths, count = levels_in.widths, levels_in.num_res_blocks
        down: list[nn.Module] = [SpaceToDepth(patch_frames, patch_size)]
        down += [conv(levels_in.pixel_channels, widths[0]), *blocks(count, widths[0], widths[0])]
        for (inner, outer), (time, space) in zip(pairwise(widths), levels_in.strides, strict=True):
            down += [conv(inner, inner, time, space), *blocks(count, inner, outer)]
        down += [*blocks(count, widths[-1], widths[-1]), NormSwish(widths[-1], norm_groups)]
        down += [CausalConv3d(widths[-1], self.quantizer.dim, kernel=1)]
        self.encoder = nn.ModuleList(down)

        widths, count = levels_out.widths[::-1], levels_out.num_res_blocks
        up: list[nn.Module] = [conv(self.quantizer.dim, widths[0])]
        up += [*blocks(count, widths[0], widths[0]), *blocks(count, widths[0], widths[0])]
        for (inner, outer), (time, space) in zip(pairwise(widths), levels_out.strides[::-1], strict=True):
            up += [Upsample(inner, time, space, space_padding), *blocks(count, inner, outer)]
        up += [NormSwish(widths[-1], norm_groups), conv(widths[-1], levels_out.pixel_channels)]
        up += [DepthToSpace(levels_out.patch_frames, levels_out.patch_size)]
        self.decoder = nn.ModuleList(up)

    @classmethod
    def from_preset(cls, preset: str) -> "CausalVideoTokenizer":
        """Build "tiny", "base", "light" or "nbp" (see `parvideo.tokenizer.presets`).

        Raises:
            ValueError: if there is no such preset.
        """
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
        return cls(**PRESETS[preset])

    @property
    def codebook_size(self) -> int:
        return self.quantizer.codebook_size

    def latent_grid(self, clip_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        frames, height, width = clip_shape
        if frames < 1 or (frames - 1) % self.time_factor:
            raise ValueError(
                f"a clip must have 1 + k * {self.time_factor} frames"
                f" (1, {1 + self.time_factor}, {1 + 2 * self.time_factor}, ...), got {frames}"
            )
        if min(height, width) < 1 or height % self.space_factor or width % self.space_factor:
            raise ValueError(
                f"a clip's height and width must be multiples of {self.space_factor}, got {height}x{width}"
            )
        return (
            1 + (frames - 1) // self.time_factor,
            height // self.space_factor,
            width // self.space_factor,
        )

    def encode_codes(self, clips: Tensor, cache: StreamCache | None = None) -> Tensor:
        """The codes before quantization: float ``[B, 3, T, H, W]`` -> float ``[B, C, t, h, w]``.

        With ``cache``, ``clips`` are the next chunk of its stream.
        """
        return run_layers(self.encoder, clips, cache, self.checkpoint_activations)

    def decode_codes(self, codes: Tensor, cache: StreamCache | None = None) -> Tensor:
        """Clips of quantized codes: float ``[B, C, t, h, w]`` -> float ``[B, 3, T, H, W]``, not clamped.

        With ``cache``, ``codes`` are the next chunk of its stream. The result has the decoder's dtype.
        """
        codes = codes.to(next(self.decoder.parameters()).dtype)
        return run_layers(self.decoder, codes, cache, self.checkpoint_activations)

    def decode_in_bf16(self) -> Self:
        """Turn the decoder's weights to bf16 in channels_last_3d, which is lossy: for decoding alone.

        Half the memory of weights, and quicker where a processor multiplies bf16 (docs/tokenizer.md). The
        encoder stays in float32, and tokens what they were.
        """
        self.decoder.to(torch.bfloat16).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return self

    def with_bf16_decoder(self) -> Self:
        """A tokenizer of this one's encoder and quantizer that decodes in bf16; this one stays as it was.

        See `decode_in_bf16`.
        """
        other = copy.copy(self)
        other._modules = {**self._modules, "decoder": copy.deepcopy(self.decoder)}
        return other.decode_in_bf16()

    def forward(self, clips: Tensor) -> Reconstruction:
        """Encode, quantize and decode float clips ``[B, 3, T, H, W]``; what training runs.

        Raises:
            ValueError: if the clips' shape is one `latent_grid` refuses.
        """
        self.latent_grid((clips.shape[2], clips.shape[3], clips.shape[4]))
        quantized = self.quantizer(self.encode_codes(clips))
        return Reconstruction(self.decode_codes(quantized.codes), quantized.ids, quantized.aux_loss)

    def encode(self, clips: TensorLike) -> Tensor:
        clips = as_tensor(clips)
        self.latent_grid((clips.shape[2], clips.shape[3], clips.shape[4]))
        return self.quantizer(self.encode_codes(clips)).ids

    def decode(self, tokens: TensorLike) -> Tensor:
        tokens = as_tensor(tokens, "tokens")
        self.check_tokens(tokens)
        return self.decode_codes(self.quantizer.ids_to_codes(tokens)).float().clamp(-1.0, 1.0)

    def check_tokens(self, tokens: Tensor) -> None:
        """Raise ValueError unless ``tokens`` are int64 ``[B, t, h, w]`` below the codebook size."""
        if tokens.dtype != torch.int64 or tokens.ndim != 4:
            raise ValueError(f"tokens must be int64 [B, t, h, w], got {tokens.dtype} {list(tokens.shape)}")
        low, high = (int(bound) for bound in tokens.aminmax())
        if low < 0 or high >= self.codebook_size:
            raise ValueError(f"tokens must lie in [0, {self.codebook_size}), got {low} to {high}")

"""Patch discriminators: networks that score how real each patch of a clip, or of a single frame, looks."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from parvideo.tokenizer.layers import FrameGroupNorm


class PatchDiscriminator(nn.Module):
    """A PatchGAN (Isola et al., arXiv 1611.07004) over clips, or, with ``time_kernel=1``, over frames.

    Group normalisation, not batch normalisation: batches are small, and real and fake ones must not share
    statistics.

    Args:
        channels: width after the first convolution; doubled at each further one, at most 8 times.
        num_layers: strided convolutions; a score sees patches of about 2**(num_layers + 2) pixels.
        time_kernel: frames a convolution sees, odd; 1 scores each frame by itself.
        norm_groups: groups of each group normalisation; must divide ``channels``.
    """

    def __init__(
        self, channels: int = 64, num_layers: int = 3, time_kernel: int = 3, norm_groups: int = 32
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        if time_kernel < 1 or time_kernel % 2 == 0:
            raise ValueError(f"time_kernel must be odd and at least 1, got {time_kernel}")
        if channels % norm_groups:
            raise ValueError(f"norm_groups must divide channels={channels}, got {norm_groups}")
        time_stride = 2 if time_kernel > 1 else 1

        def conv(inner: int, outer: int, stride: int) -> nn.Conv3d:
            return nn.Conv3d(
                inner,
                outer,
                (time_kernel, 4 if stride == 2 else 3, 4 if stride == 2 else 3),
                stride=(time_stride if stride == 2 else 1, stride, stride),
                padding=(time_kernel // 2, 1, 1),
            )

        widths = [channels * min(2**level, 8) for level in range(num_layers)]
        layers: list[nn.Module] = [conv(3, widths[0], stride=2), nn.LeakyReLU(0.2)]
        for inner, outer in pairwise(widths):
            layers += [conv(inner, outer, stride=2), FrameGroupNorm(norm_groups, outer), nn.LeakyReLU(0.2)]
        layers += [conv(widths[-1], 1, stride=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, clips: Tensor) -> Tensor:
        """Score float clips ``[B, 3, T, H, W]``: one number a patch, flattened to float32 ``[B, patches]``.

        The last layer computes in the weights' precision under autocast too: what is averaged and compared
        from here on are small differences. (And PyTorch 2.13's bfloat16 gradient of a convolution to one
        channel reads memory that nothing was written to, on CPUs.)
        """
        last = self.layers[-1]
        features = self.layers[:-1](clips)
        kind = clips.device.type
        with torch.autocast(kind if torch.amp.is_autocast_available(kind) else "cpu", enabled=False):
            return last(features.to(last.weight.dtype)).flatten(1).float()


class ClipDiscriminator(nn.Module):
    """Two discriminators: a 3D PatchGAN on the clip, and a 2D one on a few of its frames.

    Args:
        channels: width of both (see `PatchDiscriminator`).
        num_layers: strided convolutions of both.
        norm_groups: groups of each group normalisation.
        frames: how many random frames of a clip the 2D one sees; 0 for no 2D one.
    """

    def __init__(
        self, channels: int = 64, num_layers: int = 3, norm_groups: int = 32, frames: int = 2
    ) -> None:
        super().__init__()
        if frames < 0:
            raise ValueError(f"frames must be 0 or more, got {frames}")
        self.frames = frames
        self.video = PatchDiscriminator(channels, num_layers, time_kernel=3, norm_groups=norm_groups)
        self.image = (
            PatchDiscriminator(channels, num_layers, time_kernel=1, norm_groups=norm_groups)
            if frames
            else None
        )

    def choose_frames(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """Frames for the 2D one: int64 ``[frames]``, random ones of T, on the clips' device."""
        chosen = torch.randint(clips.shape[2], (self.frames,), generator=generator)
        return chosen.to(clips.device)

    def forward(self, clips: Tensor, frames: Tensor) -> list[Tensor]:
        """The scores of each, ``[B, patches]`` each: clips ``[B, 3, T, H, W]``, frames ``[k]``."""
        scores = [self.video(clips)]
        if self.image is not None:
            scores.append(self.image(clips.index_select(2, frames)))
        return scores

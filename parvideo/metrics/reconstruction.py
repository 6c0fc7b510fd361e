"""Reconstruction quality: how near reconstructed clips are to their originals, over a whole data set."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure

from parvideo.pixels import TensorLike, as_tensor

PIXEL_RANGE = 2.0  # clips are float in [-1, 1]
PHASES = 4  # frames of one latent frame, for a tokenizer that takes 4 frames to one


class ReconstructionQuality(Metric):
    """PSNR, SSIM and motion of reconstructed clips, beside what copying the first frame would score.

    PSNR is of the mean squared error over all pixels of the set, not a mean of PSNRs: a still clip that is
    copied exactly would make that infinite. Differences in time show what PSNR hides: a latent frame decoded
    to four near-identical ones.
    """

    full_state_update = False
    squared_error: Tensor
    frames: Tensor
    first_frame_error: Tensor
    clips: Tensor
    copy_error: Tensor
    ssim: Tensor
    motion_error: Tensor
    motion: Tensor
    real_motion: Tensor
    motion_in_place: Tensor
    real_motion_squared: Tensor
    pixels: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, size in (
            ("squared_error", PHASES),
            ("frames", PHASES),
            ("first_frame_error", 1),
            ("clips", 1),
            ("copy_error", 1),
            ("ssim", 1),
            ("motion_error", 1),
            ("motion", 1),
            ("real_motion", 1),
            ("motion_in_place", 1),
            ("real_motion_squared", 1),
            ("pixels", 1),
        ):
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, reconstructions: TensorLike, clips: TensorLike) -> None:
        """Add float clips ``[B, 3, T, H, W]`` in [-1, 1] and their reconstructions, which are clamped."""
        reconstructions = as_tensor(reconstructions, "reconstructions").float().clamp(-1.0, 1.0)
        clips = as_tensor(clips).float()
        by_frame = (reconstructions - clips).square().mean(dim=(1, 3, 4)).double()  # [B, T]
        phase = torch.arange(clips.shape[2], device=clips.device) % PHASES
        self.squared_error.index_add_(0, phase, by_frame.sum(dim=0))
        self.frames.index_add_(0, phase, torch.full_like(by_frame[0], clips.shape[0]))
        self.first_frame_error += by_frame[:, 0].sum()
        self.clips += clips.shape[0]
        self.copy_error += (clips[:, :, :1] - clips).square().mean(dim=(1, 3, 4)).double().sum()
        self.ssim += _ssim_by_frame(reconstructions, clips).double().sum()
        moved, really_moved = reconstructions.diff(dim=2), clips.diff(dim=2)
        self.motion_error += (moved - really_moved).abs().double().sum()
        self.motion += moved.abs().double().sum()
        self.real_motion += really_moved.abs().double().sum()
        self.motion_in_place += (moved * really_moved).double().sum()
        self.real_motion_squared += really_moved.square().double().sum()
        self.pixels += moved.numel()

    def compute(self) -> dict[str, Tensor]:
        """The figures so far.

        ``psnr`` and ``psnr_copy_first`` in dB; ``psnr_first`` of frame 0 alone; ``psnr_t0`` .. ``psnr_t3`` of
        the frames t with t mod 4 = 0 .. 3 (NaN where a clip has none); ``ssim`` averaged over frames;
        ``motion_l1``, the mean absolute error of differences between frames, in pixel units of [-1, 1];
        ``motion_ratio``, how much is moving relative to the original (1 is right, 0 is frozen);
        ``motion_kept``, how much of the original's motion happens in its place: the slope of the regression
        of differences between frames on the original's (1 is right; 0 is frozen, or moves elsewhere; NaN
        where the originals stand still).
        """
        figures = {
            "psnr": _psnr(self.squared_error.sum() / self.frames.sum()),
            "psnr_copy_first": _psnr(self.copy_error[0] / self.frames.sum()),
            "psnr_first": _psnr(self.first_frame_error[0] / self.clips[0]),
            "ssim": self.ssim[0] / self.frames.sum(),
            "motion_l1": self.motion_error[0] / self.pixels[0],
            "motion_ratio": self.motion[0] / self.real_motion[0],
            "motion_kept": self.motion_in_place[0] / self.real_motion_squared[0],
        }
        by_phase = _psnr(self.squared_error / self.frames)
        figures |= {f"psnr_t{phase}": by_phase[phase] for phase in range(PHASES)}
        return {name: value.float() for name, value in figures.items()}


class CodebookUsage(Metric):
    """How a codebook is used over a whole data set: the share of entries used, and the perplexity.

    Perplexity is exp of the entropy of the ids: the size of an evenly used codebook of equal entropy.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, codebook_size: int) -> None:
        super().__init__()
        if codebook_size < 1:
            raise ValueError(f"codebook_size must be at least 1, got {codebook_size}")
        self.add_state("counts", torch.zeros(codebook_size, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, ids: TensorLike) -> None:
        """Add ids: int64 of any shape, below the codebook size."""
        self.counts += torch.bincount(as_tensor(ids, "ids").flatten(), minlength=self.counts.numel())

    def compute(self) -> dict[str, Tensor]:
        """``usage`` in [0, 1], ``perplexity`` in [1, codebook size], ``counts`` of each id."""
        share = self.counts.double() / self.counts.sum()
        entropy = -torch.special.xlogy(share, share).sum()
        used = (self.counts > 0).float().mean()
        return {"usage": used, "perplexity": entropy.exp().float(), "counts": self.counts.clone()}


def _psnr(squared_error: Tensor) -> Tensor:
    return 10 * torch.log10(PIXEL_RANGE**2 / squared_error)


def _ssim_by_frame(reconstructions: Tensor, clips: Tensor) -> Tensor:
    """SSIM of every frame: ``[B, 3, T, H, W]`` twice -> ``[B * T]``."""
    value = structural_similarity_index_measure(
        reconstructions.transpose(1, 2).flatten(0, 1),
        clips.transpose(1, 2).flatten(0, 1),
        data_range=(-1.0, 1.0),
        reduction="none",
    )
    assert isinstance(value, Tensor)
    return value

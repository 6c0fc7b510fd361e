import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from parvideo.metrics.reconstruction import CodebookUsage, ReconstructionQuality


def clips(batch: int = 2, frames: int = 9) -> torch.Tensor:
    return torch.rand(batch, 3, frames, 16, 16) * 2 - 1


def test_figures_agree_with_torchmetrics() -> None:
    quality = ReconstructionQuality()
    psnr, ssim = (
        PeakSignalNoiseRatio(data_range=2.0),
        StructuralSimilarityIndexMeasure(data_range=(-1.0, 1.0)),
    )
    copied = PeakSignalNoiseRatio(data_range=2.0)
    for batch in (2, 3):
        real = clips(batch)
        made = (real + 0.2 * torch.randn_like(real)).clamp(-1, 1)
        quality.update(made, real)
        psnr.update(made, real)
        copied.update(real[:, :, :1].expand_as(real), real)
        ssim.update(made.transpose(1, 2).flatten(0, 1), real.transpose(1, 2).flatten(0, 1))
    figures = quality.compute()
    torch.testing.assert_close(figures["psnr"], psnr.compute())
    torch.testing.assert_close(figures["psnr_copy_first"], copied.compute())
    torch.testing.assert_close(figures["ssim"], ssim.compute())


def test_an_error_is_charged_to_its_frame() -> None:
    quality = ReconstructionQuality()
    real = clips().clamp(-0.5, 0.5)
    made = real.clone()
    made[:, :, 2] += 0.2
    made[:, :, 6] += 0.2
    quality.update(made, real)
    figures = quality.compute()
    assert float(figures["psnr_t2"]) == pytest.approx(20.0, abs=1e-3)
    assert all(torch.isinf(figures[name]) for name in ("psnr_t0", "psnr_t1", "psnr_t3", "psnr_first"))


def test_frozen_motion_shows() -> None:
    quality = ReconstructionQuality()
    real = clips()
    quality.update(real[:, :, :1].expand_as(real), real)
    figures = quality.compute()
    assert float(figures["motion_ratio"]) == 0
    torch.testing.assert_close(figures["motion_l1"], real.diff(dim=2).abs().mean())
    assert torch.isinf(figures["psnr_first"])
    torch.testing.assert_close(figures["psnr"], figures["psnr_copy_first"])


def test_motion_is_kept_where_it_happens_in_its_place() -> None:
    real = clips() * 0.5

    def kept(made: torch.Tensor, real: torch.Tensor = real) -> float:
        quality = ReconstructionQuality()
        quality.update(made, real)
        return float(quality.compute()["motion_kept"])

    assert kept(real) == pytest.approx(1)
    assert kept(0.4 * real) == pytest.approx(0.4)  # fainter
    assert kept(real[:, :, :1].expand_as(real)) == 0  # frozen
    assert kept(real + 0.3) == pytest.approx(1)  # another brightness is no motion
    assert abs(kept(clips() * 0.5)) < 0.1  # as much motion, but elsewhere
    still = real[:, :, :1].expand_as(real)
    assert kept(real, still) != kept(real, still)  # of clips that stand still there is none to keep


def test_reconstructions_are_clamped() -> None:
    quality = ReconstructionQuality()
    real = torch.ones(1, 3, 1, 16, 16)
    quality.update(real * 3, real)
    assert torch.isinf(quality.compute()["psnr"])


def test_usage_and_perplexity() -> None:
    usage = CodebookUsage(8)
    usage.update(torch.tensor([0, 1]))
    usage.update(torch.tensor([[2, 3]]))
    figures = usage.compute()
    assert float(figures["usage"]) == 0.5
    assert float(figures["perplexity"]) == pytest.approx(4)
    assert figures["counts"].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    usage.reset()
    usage.update(torch.zeros(5, dtype=torch.int64))
    assert float(usage.compute()["perplexity"]) == pytest.approx(1)
    with pytest.raises(ValueError, match="codebook_size must be at least 1, got 0"):
        CodebookUsage(0)

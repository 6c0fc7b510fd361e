import pytest
import torch

from parvideo.tokenizer.discriminator import ClipDiscriminator, PatchDiscriminator


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_discriminators_score_patches_of_clips_and_images(frames: int) -> None:
    discriminator = ClipDiscriminator(channels=8, num_layers=2, norm_groups=4, frames=2)
    clips = torch.randn(2, 3, frames, 16, 16)
    chosen = discriminator.choose_frames(clips, torch.Generator().manual_seed(0))
    assert chosen.shape == (2,)
    assert int(chosen.max()) < frames
    video, image = discriminator(clips, chosen)
    assert video.shape[0] == image.shape[0] == 2
    assert video.shape[1] > 1


def test_frame_discriminator_sees_the_chosen_frames_alone() -> None:
    discriminator = ClipDiscriminator(channels=8, num_layers=2, norm_groups=4, frames=1)
    clips = torch.randn(1, 3, 5, 16, 16, requires_grad=True)
    _, image = discriminator(clips, torch.tensor([3]))
    (gradient,) = torch.autograd.grad(image.sum(), clips)
    assert [bool(gradient[:, :, t].abs().sum() > 0) for t in range(5)] == [False, False, False, True, False]


def test_clip_discriminator_sees_motion() -> None:
    discriminator = PatchDiscriminator(8, 2, time_kernel=3, norm_groups=4)
    clips = torch.randn(1, 3, 5, 16, 16)
    assert not torch.allclose(discriminator(clips), discriminator(clips.flip(2)))


def test_scores_are_float32_under_autocast() -> None:
    discriminator = ClipDiscriminator(channels=8, num_layers=1, norm_groups=4, frames=1)
    with torch.autocast("cpu", torch.bfloat16):
        scores = discriminator(torch.randn(1, 3, 5, 16, 16), torch.tensor([3]))
    assert {score.dtype for score in scores} == {torch.float32}


def test_without_a_frame_discriminator() -> None:
    discriminator = ClipDiscriminator(channels=8, num_layers=1, norm_groups=4, frames=0)
    assert len(discriminator(torch.randn(1, 3, 1, 8, 8), torch.zeros(0, dtype=torch.int64))) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"time_kernel": 2}, "time_kernel must be odd and at least 1, got 2"),
        ({"norm_groups": 7}, "norm_groups must divide channels=64, got 7"),
    ],
)
def test_bad_settings(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PatchDiscriminator(**settings)
    with pytest.raises(ValueError, match="frames must be 0 or more, got -1"):
        ClipDiscriminator(frames=-1)

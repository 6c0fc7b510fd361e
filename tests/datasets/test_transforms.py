"""Transforms: no aliasing, no squashing, the centre kept."""

import pytest
import torch

from parvideo.datasets.transforms import flip_horizontally, resize_and_crop


def test_a_disc_stays_round() -> None:
    y, x = torch.meshgrid(torch.arange(240) - 119.5, torch.arange(320) - 159.5, indexing="ij")
    clip = ((x.hypot(y) < 80).to(torch.uint8) * 255)[None, :, :, None].expand(2, -1, -1, 3)
    inside = resize_and_crop(clip, 60)[0, :, :, 0] > 127
    assert inside.any(0).sum() == inside.any(1).sum() == 40  # a diameter of 160 pixels at a quarter
    assert torch.equal(inside, inside.flip(0))
    assert torch.equal(inside, inside.flip(1))


def test_fine_stripes_turn_grey_rather_than_alias() -> None:
    clip = torch.zeros(1, 256, 256, 3, dtype=torch.uint8)
    clip[:, :, ::2] = 255
    small = resize_and_crop(clip, 32)[:, :, 2:-2].int()
    assert (small - 127).abs().max() <= 2


def test_within_one_level_of_the_resize_in_floating_point() -> None:
    clip = torch.randint(0, 256, (2, 90, 120, 3), dtype=torch.uint8)
    exact = torch.nn.functional.interpolate(
        clip.permute(0, 3, 1, 2).double(), (32, 43), mode="bilinear", antialias=True
    )[:, :, :, 5:37].permute(0, 2, 3, 1)
    assert (resize_and_crop(clip, 32) - exact).abs().max() <= 1.01


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((48, 64), 32),
        ((64, 48), 32),
        ((30, 31), 64),
        ((240, 320), (128, 96)),
        ((7, 500), (64, 8)),
        ((32, 32), 32),
    ],
)
def test_every_size_comes_out(source: tuple[int, int], size: int | tuple[int, int]) -> None:
    clip = torch.full((3, *source, 3), 77, dtype=torch.uint8)
    out = resize_and_crop(clip, size)
    assert out.shape == (3, *((size, size) if isinstance(size, int) else size), 3)
    assert out.is_contiguous()
    assert (out == 77).all()


def test_the_same_size_leaves_the_pixels_alone() -> None:
    clip = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    assert torch.equal(resize_and_crop(clip, 32), clip[:, :, 8:40])


def test_flip_mirrors_left_and_right_and_back() -> None:
    clip = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    assert torch.equal(flip_horizontally(clip)[:, :, 0], clip[:, :, -1])
    assert torch.equal(flip_horizontally(flip_horizontally(clip)), clip)


def test_bad_clips_and_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="uint8"):
        resize_and_crop(torch.zeros(1, 4, 4, 3), 2)
    with pytest.raises(ValueError, match="size is 0x0"):
        resize_and_crop(torch.zeros(1, 4, 4, 3, dtype=torch.uint8), 0)

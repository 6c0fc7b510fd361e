"""Each way of resizing is the one it names."""

import pytest
import torch
import torch.nn.functional as F

from parvideo.metrics.extractors.resize import resize, resize_source
from parvideo.pixels import to_float


def test_tf1_takes_pixels_at_multiples_of_the_scale() -> None:
    """Positions k x (4 / 8) = 0, .5, 1, ...: every other pixel is the source's, the last is repeated."""
    row = torch.tensor([0.0, 10.0, 20.0, 40.0])
    clips = row.expand(1, 3, 2, 4, 4)
    out = resize(clips, 8, "tf1")
    assert out[0, 0, 0, 0].tolist() == [0, 5, 10, 15, 20, 30, 40, 40]
    assert torch.equal(out, resize(clips.transpose(3, 4), 8, "tf1").transpose(3, 4))


def test_bilinear_has_half_pixel_centres_and_antialiased_averages() -> None:
    clips = torch.randn(2, 3, 4, 12, 12)
    up = F.interpolate(clips.flatten(1, 2), (20, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize(clips, 20, "bilinear"), up.unflatten(1, (3, 4)))
    torch.testing.assert_close(resize(clips, 20, "antialiased"), resize(clips, 20, "bilinear"))
    stripes = torch.tensor([0.0, 1.0]).repeat(6).expand(1, 3, 1, 12, 12)
    spread = [resize(stripes, 3, how).std().item() for how in ("bilinear", "antialiased")]
    assert spread[1] < 0.1
    assert resize(stripes + 0, 4, "tf1").std() != pytest.approx(spread[1])


@pytest.mark.parametrize("quantization", ["round", "truncate"])
def test_source_of_the_right_size_is_left_alone(quantization: str) -> None:
    clips = torch.randint(0, 256, (1, 2, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(resize_source(clips, 16, "bilinear", "center", quantization), clips)


def test_quantization_rounds_or_truncates() -> None:
    """Between 10 and 11 on a doubled row lie 10.25 and 10.75."""
    clips = torch.tensor([10, 11], dtype=torch.uint8)[None, None, None, :, None].expand(1, 1, 2, 2, 3)
    rounded = resize_source(clips, 4, "bilinear", "center", "round")
    truncated = resize_source(clips, 4, "bilinear", "center", "truncate")
    assert rounded[0, 0, 0, :, 0].tolist() == [10, 10, 11, 11]
    assert truncated[0, 0, 0, :, 0].tolist() == [10, 10, 10, 11]


def test_center_crops_and_squash_squashes() -> None:
    clips = torch.zeros(1, 1, 8, 16, 3, dtype=torch.uint8)
    clips[:, :, :, :4] = 200  # the left quarter lies outside the centre square
    assert resize_source(clips, 8, "antialiased", "center", "round").max() == 0
    squashed = resize_source(clips, 8, "bilinear", "squash", "round")
    assert squashed.shape == (1, 1, 8, 8, 3)
    assert squashed[..., 0, :].min() == 200


def test_refuses_unknown_ways() -> None:
    clips = torch.zeros(1, 1, 8, 8, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="tf1, bilinear, antialiased"):
        resize(to_float(clips), 4, "bicubic")
    with pytest.raises(ValueError, match="center, squash"):
        resize_source(clips, 4, "tf1", "left", "round")
    with pytest.raises(ValueError, match="round, truncate"):
        resize_source(clips, 4, "tf1", "center", "floor")
    with pytest.raises(ValueError, match="size is 0"):
        resize(to_float(clips), 0, "tf1")

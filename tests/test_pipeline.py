"""From class names to clips."""

import pytest
import torch

from parvideo.clips import to_float, to_uint8
from parvideo.order import regions
from parvideo.pipeline import VideoPipeline
from parvideo.sampling import SamplingConfig
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.transformer import VideoTransformer

NAMES = ["Archery", "ApplyEyeMakeup", "Basketball", "BasketballDunk"]


def make(classes: int = 4, codebook: int = 9) -> VideoPipeline:
    tokenizer = CausalVideoTokenizer(
        channels=4,
        channel_multipliers=(1, 1),
        num_res_blocks=1,
        time_strides=(2,),
        space_strides=(2,),
        norm_groups=2,
        levels=(3, 3),
    )
    order = regions((2, 2, 2), (1, 2, 2))
    transformer = VideoTransformer(order, codebook, classes, dim=16, num_layers=1, num_heads=2)
    return VideoPipeline(tokenizer, transformer, NAMES)


@pytest.mark.parametrize(
    ("name", "label"), [("Archery", 0), ("archery", 0), ("2", 2), (3, 3), ("BASKETBALLDUNK", 3)]
)
def test_a_class_by_name_or_index(name: str | int, label: int) -> None:
    assert make().resolve_class(name) == label


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Archry", "did you mean Archery"),
        ("4", "0 to 3"),
        (-1, "0 to 3"),
        ("xyzzy", "Archery, ApplyEyeMakeup"),
    ],
)
def test_an_unknown_class_suggests_near_names(name: str | int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().resolve_class(name)


def test_clips_come_class_by_class_as_uint8() -> None:
    pipeline = make()
    clips = pipeline.generate(["Archery", 2], num_per_class=2, seed=1)
    assert clips.dtype == torch.uint8
    assert clips.shape == (4, 3, 4, 4, 3)
    assert torch.equal(clips, pipeline.generate([0, "Basketball"], num_per_class=2, seed=1))
    assert not torch.equal(clips, pipeline.generate([0, "Basketball"], num_per_class=2, seed=2))


def test_tokens_do_not_depend_on_the_batch_size() -> None:
    pipeline = make()
    labels = torch.tensor([0, 1, 2, 3, 0])
    whole = pipeline.generate_tokens(labels, seed=4, batch_size=5)
    assert torch.equal(whole, pipeline.generate_tokens(labels, seed=4, batch_size=2))
    part = pipeline.generate_tokens(labels[3:], seed=4, indices=[3, 4])
    assert torch.equal(whole[3:], part)


def test_progress_counts_every_step_of_every_batch() -> None:
    seen: list[tuple[int, int]] = []
    make().generate(
        [0], num_per_class=3, batch_size=2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 10) for done in range(1, 11)]  # 2 batches of 4 + 2 - 1 steps


def test_the_seed_takes_the_place_of_the_configs() -> None:
    pipeline = make()
    labels = torch.tensor([0, 1])
    first = pipeline.generate_tokens(labels, seed=3, config=SamplingConfig(seed=8))
    assert torch.equal(first, pipeline.generate_tokens(labels, seed=3))


def test_parts_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="codebook_size is 12, the tokenizer's 9"):
        make(codebook=12)
    with pytest.raises(ValueError, match="4 names, the transformer 3 classes"):
        make(classes=3)


@pytest.mark.parametrize(
    ("classes", "number", "message"), [("Archery", 1, "a list"), ([], 1, "a list"), ([0], 0, "num_per_class")]
)
def test_wrong_requests_are_named(classes: list[int], number: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().generate(classes, num_per_class=number)


def test_clips_go_on_from_their_first_frames() -> None:
    pipeline = make()
    tokenizer = pipeline.tokenizer
    clips = torch.randint(0, 256, (2, 1, 4, 4, 3), dtype=torch.uint8)
    longer = pipeline.continue_clips(clips, ["Archery", 3], seed=1)
    assert longer.shape == (2, 3, 4, 4, 3)
    # A causal decoder makes the first frame of the first latent frame alone.
    first = to_uint8(tokenizer.decode(tokenizer.encode(to_float(clips))))
    assert torch.equal(longer[:, :1], first)
    longest = pipeline.continue_clips(clips, ["Archery", 3], latent_frames=5, seed=1)
    assert longest.shape == (2, 9, 4, 4, 3)
    assert torch.equal(longest[:, :3], longer)


def test_what_cannot_go_on_is_refused() -> None:
    clips = torch.zeros(2, 3, 4, 4, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="2 clips and 1 classes"):
        make().continue_clips(clips, ["Archery"])
    with pytest.raises(ValueError, match="more than the 2 that the clips have, got 2"):
        make().continue_clips(clips, [0, 0])
    with pytest.raises(ValueError, match="uint8"):
        make().continue_clips(clips.float(), [0, 0])

"""What is asked of a pipeline is there, or is refused by name."""

import pytest
import torch

from parvideo.pipeline.choices import check_engine, clip_length, find_order
from tests.pipeline.cases import CUTS
from tests.pipeline.cases import regions as cut_regions


def test_clips_are_as_long_as_asked_or_as_trained() -> None:
    assert clip_length(5, None, 1) == 5
    assert clip_length(5, 3, 1, prefix=2) == 3
    assert clip_length(5, 9, 4) == 9


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((5, 2, 1, 2), "latent_frames must be more than the 2"),
        ((5, 9, 5), r"overlap must lie in 1..4 for a window of 5 latent frames, got 5"),
        ((5, 0, 1), "latent_frames is 0"),
        ((5, None, 0), "overlap is 0"),
    ],
)
def test_lengths_that_cannot_be_are_refused(asked: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip_length(*asked)


def test_orders_are_found_by_name_or_regions() -> None:
    orders = [cut_regions((2, 2, 2), cut) for cut in CUTS]
    assert find_order(orders) is orders[0]
    for order, cut in zip(orders, CUTS, strict=True):
        assert find_order(orders, order.name) is order
        assert find_order(orders, None, cut) is order
    with pytest.raises(ValueError, match="give one of the two"):
        find_order(orders, "1x2x2", (1, 2, 2))
    with pytest.raises(ValueError, match="this model was trained in 1x2x2, "):
        find_order(orders, "9x9x9")


def test_an_engine_is_for_its_device() -> None:
    check_engine("cuda_graphs", torch.device("cuda"))
    check_engine("auto", torch.device("cuda"))
    with pytest.raises(ValueError, match="engine='cpu' computes on a cpu device, .* lies on cuda"):
        check_engine("cpu", torch.device("cuda"))
    with pytest.raises(ValueError, match="engine must be one of"):
        check_engine("loop", torch.device("cpu"))

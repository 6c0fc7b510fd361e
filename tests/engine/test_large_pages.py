"""Large pages: asked for, they change no number."""

import pytest
import torch

from parvideo.engine.large_pages import aligned_empty, use_large_pages
from parvideo.engine.packed import DecodeLinear, packing_obstacle


def test_large_pages_change_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of several large pages, collected after it was filled."""
    weight, x = torch.randn(1100, 1024), torch.randn(3, 1024)
    if (obstacle := packing_obstacle(weight)) is not None:
        pytest.skip(obstacle)
    ordinary = DecodeLinear(weight, True, large_pages=False)
    assert not ordinary.large_pages
    assert torch.equal(DecodeLinear(weight, True)(x), ordinary(x))
    memory = torch.arange(3 << 18)  # 6 MiB
    use_large_pages(memory.data_ptr(), memory.nbytes, filled=True)
    assert torch.equal(memory, torch.arange(3 << 18))
    assert not use_large_pages(memory.data_ptr(), 4096, filled=True)  # less than one
    monkeypatch.setattr("sys.platform", "darwin")
    assert not use_large_pages(memory.data_ptr(), memory.nbytes, filled=True)


def test_large_tensors_begin_with_a_large_page() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        small, large = aligned_empty(3, 5, dtype=dtype), aligned_empty(3, 1 << 20, dtype=dtype)
        assert small.shape == (3, 5)
        assert large.shape == (3, 1 << 20)
        assert {small.dtype, large.dtype} == {dtype}
        assert large.is_contiguous()
        assert large.data_ptr() % (1 << 21) == 0
        large.fill_(1)
        assert large.float().sum() == 3 << 20

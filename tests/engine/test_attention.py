"""Every way to attend gives what the plain function gives, and leaves the same keys and values behind."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from parvideo.engine import attention
from parvideo.engine.attention import Attention, turn
from parvideo.engine.native import native_kernels

HEADS, KV_HEADS, WIDTH, SLOTS = 4, 2, 32, 50
CACHE = torch.randn(2, 3, KV_HEADS, SLOTS, WIDTH, generator=torch.Generator().manual_seed(0))


def wanted(heads: Tensor, rotary: Tensor, cache: Tensor, start: int, causal: bool) -> tuple[Tensor, Tensor]:
    """By the plain function: what is attended, and the cache afterwards."""
    count, cache = heads.shape[1], cache.clone()
    stop = start + count
    turned = turn(heads.clone(), rotary)
    cache[:, :, :, start:stop] = turned[:, :, HEADS:].unflatten(2, (2, KV_HEADS)).permute(2, 0, 3, 1, 4)
    keys, values = cache[:, :, :, :stop].repeat_interleave(HEADS // KV_HEADS, dim=2)
    seen = torch.ones(count, stop, dtype=torch.bool)
    if causal:
        seen = torch.arange(stop) <= torch.arange(start, stop)[:, None]
    attended = F.scaled_dot_product_attention(
        turned[:, :, :HEADS].transpose(1, 2), keys, values, seen, scale=1.0
    )
    return attended.transpose(1, 2).reshape(len(heads) * count, -1), cache


@pytest.mark.parametrize("way", attention.WAYS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_every_way_attends_alike(way: str, causal: bool, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels, reason = native_kernels(torch.float32)
    attend = Attention(HEADS, KV_HEADS, WIDTH, torch.float32, kernels)
    if way not in attend.ways():
        pytest.skip(reason)
    heads = torch.randn(3, count, HEADS + 2 * KV_HEADS, WIDTH)
    rotary = torch.polar(torch.ones(count, 8, WIDTH // 2), torch.rand(count, 8, WIDTH // 2))
    rotary[:, HEADS + KV_HEADS :] = 1  # values are not turned
    for start, scores in (
        (0, 1 << 18),
        (30, 1 << 18),
        (30, 1),
    ):  # in one part, and in as many as there are heads
        monkeypatch.setattr(attention, "SCORES", scores)
        expected, filled = wanted(heads, rotary, CACHE, start, causal)
        cache = CACHE.clone()
        made = attend(way, heads.clone(), rotary, cache, start, causal, attend.space(count, SLOTS))
        torch.testing.assert_close(made, expected)
        torch.testing.assert_close(cache, filled)


def test_heads_of_other_widths_have_no_native_way() -> None:
    kernels, _ = native_kernels(torch.float32)
    assert Attention(4, 4, 48, torch.float32, kernels).ways() == ["SDPA", "queries left", "keys left"]


def test_turning_multiplies_pairs_by_complex_numbers() -> None:
    heads, angle = torch.tensor([[[[1.0, 0.0, 0.0, 2.0]]]]), torch.tensor([[[torch.pi / 2, torch.pi]]])
    made = turn(heads, torch.polar(torch.ones(1, 1, 2), angle))
    torch.testing.assert_close(made, torch.tensor([[[[0.0, 1.0, 0.0, -2.0]]]]))

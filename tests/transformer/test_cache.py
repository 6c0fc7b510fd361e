"""The cache of keys and values: slots come back as they were put in, whoever puts in what and when."""

import pytest
import torch
from torch import Tensor

from parvideo.transformer.attention import AttentionMask, SelfAttention
from parvideo.transformer.cache import KVCache

LAYERS, ROWS, HEADS, SLOTS, WIDTH = 2, 3, 2, 7, 4


def make(dtype: torch.dtype = torch.float32) -> KVCache:
    return KVCache(LAYERS, ROWS, HEADS, SLOTS, WIDTH, dtype=dtype)


def draw(slots: int) -> tuple[Tensor, Tensor]:
    keys, values = torch.randn(2, ROWS, HEADS, slots, WIDTH)
    return keys, values


@pytest.mark.parametrize("cuts", [(7,), (1, 1, 1, 1, 1, 1, 1), (2, 4, 1)])
def test_what_was_stored_comes_back_however_it_was_cut(cuts: tuple[int, ...]) -> None:
    cache, (keys, values) = make(), draw(SLOTS)
    start = 0
    for length in cuts:
        slots = range(start, start + length)
        start += length
        got = cache.update(
            1, slots, keys[:, :, slots.start : slots.stop], values[:, :, slots.start : slots.stop]
        )
        assert torch.equal(got[0], keys[:, :, : slots.stop])
        assert torch.equal(got[1], values[:, :, : slots.stop])
    assert not cache.keys[0].any()  # another layer's


def test_rows_may_stand_at_different_slots() -> None:
    cache, (keys, values) = make(), draw(2)
    slots = torch.tensor([[0, 1], [3, 4], [6, 2]])
    got_keys, got_values = cache.update(0, slots, keys, values)
    assert got_keys.shape == (ROWS, HEADS, SLOTS, WIDTH)
    for row, places in enumerate(slots.tolist()):
        for place, slot in enumerate(places):
            assert torch.equal(got_keys[row, :, slot], keys[row, :, place])
            assert torch.equal(got_values[row, :, slot], values[row, :, place])
        others = [slot for slot in range(SLOTS) if slot not in places]
        assert not got_keys[row, :, others].any()
        assert not got_values[row, :, others].any()


def test_kept_rows_go_on_alone() -> None:
    cache, (keys, values) = make(), draw(SLOTS)
    cache.update(0, range(5), keys[:, :, :5], values[:, :, :5])
    before = cache.nbytes
    cache.keep(torch.tensor([2, 0]))
    assert cache.nbytes * ROWS == before * 2
    chosen = [2, 0]
    got = cache.update(0, range(5, 7), keys[chosen][:, :, 5:], values[chosen][:, :, 5:])
    assert torch.equal(got[0], keys[chosen])
    assert torch.equal(got[1], values[chosen])


def test_it_is_as_large_as_stated() -> None:
    assert make(torch.bfloat16).nbytes == 2 * LAYERS * ROWS * HEADS * SLOTS * WIDTH * 2


@torch.no_grad()
def test_a_layer_with_a_cache_gives_what_it_gives_without() -> None:
    """Whatever lies in slots that are still to come."""
    layer = SelfAttention(16, 4, HEADS, qk_norm=True, dropout=0.0, norm_eps=1e-5)
    x, mask = torch.randn(ROWS, SLOTS, 16), torch.ones(SLOTS, SLOTS, dtype=torch.bool).tril()
    angles = torch.rand(2, SLOTS, 2)
    rotary = torch.stack([angles.cos(), angles.sin()], -1)
    whole = layer(x, rotary, AttentionMask(mask))
    cache = make()
    cache.keys.fill_(torch.nan)
    cache.values.fill_(torch.nan)
    for slots in (range(3), range(3, 4), range(4, 7)):
        own = slice(slots.start, slots.stop)
        part = AttentionMask(mask[own, : slots.stop])
        made = layer(x[:, own], rotary[:, own], part, cache, 1, slots)
        torch.testing.assert_close(made, whole[:, own])

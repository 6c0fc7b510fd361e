"""Attention: the mask hides what it says, and every kernel computes the same."""

import pytest
import torch
from torch import Tensor

from parvideo.order import GenerationOrder, OrderSpec
from parvideo.transformer.attention import AttentionMask, SelfAttention, attend, attend_blocks
from tests.transformer.cases import ORDERS


@pytest.fixture(params=ORDERS)
def order(request: pytest.FixtureRequest) -> GenerationOrder:
    return ORDERS[request.param]


@torch.no_grad()
def test_flex_and_sdpa_attention_agree(order: GenerationOrder) -> None:
    mask = AttentionMask(order.mask)
    n = order.num_tokens
    queries, keys, values = torch.randn(2, 4, n, 16), torch.randn(2, 2, n, 16), torch.randn(2, 2, n, 16)
    plain = attend(queries, keys, values, mask)
    torch.testing.assert_close(
        attend_blocks(queries, keys, values, mask, compiled=False), plain, rtol=1e-5, atol=1e-5
    )


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="compiled FlexAttention runs on CUDA only")
def test_compiled_flex_attention_agrees_on_cuda(order: GenerationOrder) -> None:
    inputs = [torch.randn(2, 2, order.num_tokens, 16, device="cuda", requires_grad=True) for _ in range(3)]
    mask = AttentionMask(order.mask, "cuda")
    outputs = [
        attend_blocks(*inputs, mask, compiled=True),
        torch.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=mask.dense),
    ]
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-3)
    gradients = [torch.autograd.grad(out.square().sum(), inputs) for out in outputs]
    for flex, sdpa in zip(*gradients, strict=True):
        torch.testing.assert_close(flex, sdpa, rtol=1e-2, atol=1e-2)


def random_mask(queries: int, keys: int) -> Tensor:
    """A mask of no special kind; every query sees the first key and some others."""
    mask = torch.rand(queries, keys) < 0.4
    mask[:, 0] = True
    return mask


MASKS = {
    "full": torch.ones(6, 6, dtype=torch.bool),
    "causal": torch.ones(6, 6, dtype=torch.bool).tril(),
    "dense": OrderSpec(regions=(1, 1, 3)).build((1, 1, 6)).mask,
    "rectangular": torch.ones(2, 6, dtype=torch.bool).tril(3),
}


def by_hand(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attention written out: softmax of scaled products of what is visible; key heads repeated in groups."""
    groups = queries.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
    return scores.masked_fill(~mask, -torch.inf).softmax(-1) @ values


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_attention_is_a_softmax_over_what_is_visible(kind: str, kv_heads: int) -> None:
    """With grouped keys and values, each serves the query heads that follow each other."""
    mask = MASKS[kind]
    queries = torch.randn(2, 4, mask.shape[0], 8)
    keys, values = torch.randn(2, 2, kv_heads, mask.shape[1], 8)
    expected = by_hand(queries, keys, values, mask)
    torch.testing.assert_close(attend(queries, keys, values, AttentionMask(mask)), expected)
    blocks = attend_blocks(queries, keys, values, AttentionMask(mask), compiled=False)
    torch.testing.assert_close(blocks, expected)


def test_masks_are_told_apart_by_what_they_show() -> None:
    kinds = {kind: AttentionMask(mask).kind for kind, mask in MASKS.items()}
    # A triangle that is not square is no causal mask of a kernel's: it counts from the other corner.
    assert kinds == {"full": "full", "causal": "causal", "dense": "dense", "rectangular": "dense"}
    assert AttentionMask(torch.ones(3, 2, 5, dtype=torch.bool)).kind == "rows"


def test_each_row_may_have_a_mask_of_its_own() -> None:
    masks = torch.stack([random_mask(3, 7) for _ in range(4)])
    queries, keys, values = torch.randn(4, 2, 3, 8), torch.randn(4, 2, 7, 8), torch.randn(4, 2, 7, 8)
    together = attend(queries, keys, values, AttentionMask(masks))
    for row, mask in enumerate(masks):
        own = slice(row, row + 1)
        alone = attend(queries[own], keys[own], values[own], AttentionMask(mask))
        torch.testing.assert_close(together[own], alone)


@torch.no_grad()
def test_the_layer_sees_exactly_what_the_mask_shows() -> None:
    """By perturbation: a changed slot moves the slots that see it, and no other by a bit."""
    layer = SelfAttention(16, 4, 2, qk_norm=True, dropout=0.0, norm_eps=1e-5)
    mask, x = random_mask(6, 6), torch.randn(1, 6, 16)
    mask |= torch.eye(6, dtype=torch.bool)
    angles = torch.rand(2, 6, 2)
    rotary = torch.stack([angles.cos(), angles.sin()], -1)
    before = layer(x, rotary, AttentionMask(mask))
    for slot in range(6):
        changed = x.clone()
        changed[0, slot] += torch.randn(16)
        moved = (layer(changed, rotary, AttentionMask(mask)) - before).abs().amax(-1)[0]
        assert torch.equal(moved > 0, mask[:, slot])


@torch.no_grad()
def test_turning_all_positions_alike_changes_nothing() -> None:
    """Only how far apart two slots are matters."""
    layer = SelfAttention(16, 2, 2, qk_norm=False, dropout=0.0, norm_eps=1e-5)
    mask, x = AttentionMask(MASKS["dense"]), torch.randn(2, 6, 16)
    angles = torch.rand(6, 4) * 6
    outputs = [
        layer(x, torch.stack([turned.cos(), turned.sin()], -1).expand(2, -1, -1, -1), mask)
        for turned in (angles, angles + torch.rand(4), angles * 1.5)
    ]
    torch.testing.assert_close(outputs[0], outputs[1])
    assert (outputs[0] - outputs[2]).abs().max() > 1e-4


def test_dropout_acts_while_training_only() -> None:
    layer = SelfAttention(16, 2, 2, qk_norm=False, dropout=0.5, norm_eps=1e-5)
    x, mask = torch.randn(2, 6, 16), AttentionMask(MASKS["dense"])
    rotary = torch.tensor([1.0, 0.0]).expand(2, 6, 4, 2)
    assert not torch.equal(layer(x, rotary, mask), layer(x, rotary, mask))
    layer.eval()
    assert torch.equal(layer(x, rotary, mask), layer(x, rotary, mask))


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_stairs_change_neither_attention_nor_gradients(
    monkeypatch: pytest.MonkeyPatch, order: GenerationOrder, kv_heads: int
) -> None:
    """Stairs of 3 and 7 queries, whatever the group sizes; what they skip is invisible to all of a step's."""
    if AttentionMask(order.mask).kind != "dense":
        pytest.skip("SDPA knows a causal mask by itself")
    n = order.num_tokens
    inputs = [torch.randn(2, heads, n, 8, requires_grad=True) for heads in (4, kv_heads, kv_heads)]
    weights = torch.randn(2, 4, n, 8)
    expected = by_hand(*inputs, order.mask)
    gradients = torch.autograd.grad((expected * weights).sum(), inputs)
    for stair in (3, 7, n):
        monkeypatch.setattr("parvideo.transformer.attention.STAIR", stair)
        mask = AttentionMask(order.mask)
        for start, seen in zip(range(0, n, stair), mask.stairs, strict=True):
            assert not order.mask[start : start + stair, seen.shape[1] :].any()
            assert seen.any(dim=0)[-1]  # and no more is looked at than must be
        out = attend(*inputs, mask)
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
        for one, other in zip(torch.autograd.grad((out * weights).sum(), inputs), gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)

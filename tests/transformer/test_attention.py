"""Attention: the mask hides what it says, and every kernel computes the same."""

import pytest
import torch

from parvideo.order import GenerationOrder
from parvideo.transformer.attention import AttentionMask, attend, attend_blocks
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

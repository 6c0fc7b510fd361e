"""The block: pre-norm attention and SwiGLU, each added to the stream."""

import torch
import torch.nn.functional as F

from parvideo.transformer.attention import AttentionMask
from parvideo.transformer.blocks import SwiGLU, TransformerBlock

ROTARY = torch.tensor([1.0, 0.0]).expand(2, 5, 4, 2)  # turned by nothing


def test_swiglu_is_its_formula() -> None:
    layer, x = SwiGLU(6, 10), torch.randn(2, 3, 6)
    gate = x @ layer.gate.weight.T
    expected = (gate * torch.sigmoid(gate) * (x @ layer.up.weight.T)) @ layer.down.weight.T
    torch.testing.assert_close(layer(x), expected)


def test_a_block_adds_to_the_stream_what_its_layers_make_of_its_norm() -> None:
    block = TransformerBlock(16, 2, 2, 24, False, 0.0, 0.0, 1e-5).eval()
    for norm in (block.attention_norm, block.ffn_norm):
        torch.nn.init.normal_(norm.weight)
    x, mask = torch.randn(2, 5, 16), AttentionMask(torch.ones(5, 5, dtype=torch.bool).tril())

    def normed(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return value * (value.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight

    middle = x + block.attention(normed(x, block.attention_norm.weight), ROTARY, mask)
    expected = middle + block.ffn(normed(middle, block.ffn_norm.weight))
    torch.testing.assert_close(block(x, ROTARY, mask), expected)
    # Nothing is normalised on the way through: with no output, the stream passes as it is.
    torch.nn.init.zeros_(block.attention.out.weight)
    torch.nn.init.zeros_(block.ffn.down.weight)
    assert torch.equal(block(x, ROTARY, mask), x)


def test_dropout_acts_on_what_is_added_and_not_on_the_stream() -> None:
    block = TransformerBlock(16, 2, 2, 24, False, 0.5, 0.0, 1e-5).train()
    x, mask = torch.randn(64, 5, 16), AttentionMask(torch.ones(5, 5, dtype=torch.bool))
    torch.nn.init.zeros_(block.ffn.down.weight)
    added = block(x, ROTARY, mask) - x
    dropped = (added == 0).float().mean()
    assert 0.45 < dropped < 0.55
    whole = F.dropout(block.attention(block.attention_norm(x), ROTARY, mask), 0.5, training=False)
    kept = added != 0
    torch.testing.assert_close(added[kept], 2 * whole[kept], rtol=1e-3, atol=1e-4)

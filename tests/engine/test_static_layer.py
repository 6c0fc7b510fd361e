"""A layer in two pieces is the transformer's block, and a compiler takes each piece whole."""

from typing import Any, cast

import pytest
import torch

from parvideo.engine.cuda_graphs import CudaGraphEngine
from parvideo.engine.graph_recipe import GraphRecipe
from parvideo.engine.packed import LayerWeights, normalize
from parvideo.engine.static_layer import (
    LayerShape,
    after_attention,
    before_attention,
    normalized,
    turned,
)
from parvideo.order import OrderSpec
from parvideo.sampling import generate
from parvideo.transformer.blocks import TransformerBlock
from parvideo.transformer.rotary import rotate
from tests.engine.cases import GRAPH_CONFIGS, GRID, LABELS, ORDER, make

INTERVAL = GRAPH_CONFIGS["interval"]
KINDS: list[dict[str, Any]] = [{}, {"num_kv_heads": 2, "qk_norm": True}, {"codebook_factors": (16, 4)}]


@torch.no_grad()
@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_the_pieces_are_the_block(changes: dict[str, Any]) -> None:
    """In the first layer of a whole sequence, where the block's own input is the embeddings."""
    model = make(**changes)
    layout, block = model.layout(ORDER), cast(TransformerBlock, model.blocks[0])
    for parameter in block.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)  # gains that are not one
    engine = CudaGraphEngine(model)
    slots = torch.arange(ORDER.num_tokens)
    x = torch.randn(2, len(slots), 32)
    expected = block(x, layout.rotary, layout.mask(range(len(slots))))
    layer = LayerWeights(block, torch.float32)
    shape = LayerShape(4, changes.get("num_kv_heads", 4), 8, 1e-5)
    cache = torch.zeros(2, 2, shape.kv_heads, len(slots), 8)
    turns = torch.view_as_real(engine.slots(ORDER).rotary)
    flat = x.flatten(0, 1)
    queries = before_attention(
        flat, engine._length, layer.qkv.weight, layer.qk_norm, turns, slots, cache, shape
    )
    attended = torch.nn.functional.scaled_dot_product_attention(
        queries.transpose(1, 2), cache[0], cache[1], ORDER.mask, scale=1.0, enable_gqa=True
    )
    attended = attended.transpose(1, 2).reshape(len(flat), -1)
    weights = layer.out.weight, layer.gated.both.weight, layer.down.weight
    made = after_attention(flat, attended, engine._length, *weights)
    torch.testing.assert_close(made.view_as(x), expected)


def test_norms_and_turns_are_those_of_the_other_engines() -> None:
    x, length = torch.randn(5, 32), torch.tensor(0.3)
    torch.testing.assert_close(normalized(x, length), normalize(x, length))
    heads, angles = torch.randn(2, 6, 3, 8), torch.rand(6, 4)
    turns = torch.stack([angles.cos(), angles.sin()], -1)
    expected = rotate(heads.transpose(1, 2), turns).transpose(1, 2)
    torch.testing.assert_close(turned(heads, turns[:, None].expand(-1, 3, -1, -1)), expected)


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_traced_pieces_change_no_token(changes: dict[str, Any]) -> None:
    """By torch.compile without its code generator: each piece is one graph, in every shape it meets."""
    for order in (ORDER, OrderSpec(regions=(1, 2, 2), attention="causal").build(GRID)):
        model = make(order, **changes)
        engine, config = CudaGraphEngine(model, recipe=GraphRecipe("aot_eager", "split", 20)), INTERVAL
        assert torch.equal(engine.generate(order, LABELS, config), generate(model, order, LABELS, config))
    assert engine.describe()["layers"] == "by aot_eager"


@pytest.mark.slow
@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_inductor_changes_no_token(changes: dict[str, Any]) -> None:
    """On a CPU it writes C++, on a GPU kernels of Triton; fused sums are rounded otherwise than ours."""
    model = make(**changes)
    engine = CudaGraphEngine(model, recipe=GraphRecipe("inductor", "sdpa", 20))
    for config in GRAPH_CONFIGS.values():
        assert torch.equal(engine.generate(ORDER, LABELS, config), generate(model, ORDER, LABELS, config))

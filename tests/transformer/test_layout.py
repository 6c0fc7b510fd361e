"""Slot layouts: an order on a device, made once and never changed."""

import torch

from parvideo.order import GenerationOrder
from parvideo.transformer import next_token_loss
from tests.transformer.cases import ORDERS, batch, make, several_orders


def test_a_layout_is_made_once_for_each_order_and_device() -> None:
    orders = several_orders()
    model = make(orders[-1])
    layouts = [model.layout(order) for order in orders]
    assert all(model.layout(order) is layout for order, layout in zip(orders, layouts, strict=True))
    assert [layout.order for layout in layouts] == orders
    equal = GenerationOrder(orders[1].grid, orders[1].groups)
    assert equal == orders[1]
    assert model.layout(equal) is not layouts[1]  # by identity: no groups are compared at each step
    assert torch.equal(model.layout(equal).rotary, layouts[1].rotary)
    model.to("meta")
    moved = model.layout(orders[0])
    assert moved is not layouts[0]
    assert {moved.device.type, moved.source.device.type, moved.target.device.type} == {"meta"}
    assert moved.rotary.device.type == "meta"
    assert moved.mask(range(4)).dense.device.type == "meta"
    assert layouts[0].device.type == "cpu"  # who holds it may go on


def test_layouts_are_no_part_of_a_model() -> None:
    order = ORDERS["regions"]
    model = make(order)
    before = set(model.state_dict())
    layout = model.layout(order)
    assert set(model.state_dict()) == before
    assert not list(model.buffers())
    model.bfloat16()
    assert model.layout(order) is layout
    assert layout.rotary.dtype == torch.float32  # positions stay exact, whatever the weights become


def test_a_layout_that_sampling_made_first_serves_training() -> None:
    order = GenerationOrder(ORDERS["regions"].grid, ORDERS["regions"].groups)  # no tensor of it exists yet
    model = make(order, target_position_embedding=True, query_positions="target")
    tokens, labels = batch(order)
    with torch.inference_mode():
        expected = model(tokens, labels, model.layout(order))
    logits = model(tokens, labels, model.layout(order))
    assert torch.equal(logits, expected)
    next_token_loss(logits, tokens).mean().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0

"""What the decode engines are tried on: small models, every kind of order, and ways to draw."""

from typing import Any

import torch

from parvideo.order import GenerationOrder, OrderSpec
from parvideo.sampling import SamplingConfig
from parvideo.transformer import VideoTransformer

VOCABULARY, CLASSES, GRID = 64, 4, (3, 4, 4)
LABELS = torch.tensor([0, 3, 1])
ORDER = OrderSpec(regions=(1, 2, 2)).build(GRID)
ORDERS = [
    spec.build(GRID)
    for spec in (
        OrderSpec(),
        OrderSpec(regions=(1, 2, 2)),
        OrderSpec(regions=(3, 2, 2)),
        OrderSpec(regions=(1, 4, 4)),
        OrderSpec(regions=(1, 2, 2), grouping="adjacent"),
        OrderSpec(regions=(1, 2, 2), initial="parallel"),
        OrderSpec(regions=(1, 2, 2), attention="causal"),
        OrderSpec(regions=(1, 2, 2), transition="repeat"),
        OrderSpec(regions=(1, 2, 2), one_by_one=True),
        OrderSpec(grouping="dyadic", most=8),
    )
]
CONFIGS = {
    "greedy": SamplingConfig(temperature=0, guidance_scale=3.0),
    "plain": SamplingConfig(),
    "top-k": SamplingConfig(guidance_scale=2.0, top_k=10, temperature=0.9),
    "top-p": SamplingConfig(top_p=0.8),
    "interval": SamplingConfig(
        guidance_scale=4.0, guidance_schedule="cosine", guidance_interval=(0.2, 0.6), seed=3
    ),
}
# Top-p with guidance on a schedule, too: filters and the change of scales in one graph.
GRAPH_CONFIGS = CONFIGS | {
    "top-p": SamplingConfig(top_p=0.8, guidance_scale=1.5, guidance_schedule="linear"),
}


def order_name(order: GenerationOrder) -> str:
    """An order's name, for the ids of tests."""
    return order.name


def make(order: GenerationOrder = ORDER, **changes: Any) -> VideoTransformer:
    """A model for an order, in eval mode, with weights large enough that its tokens differ."""
    shape = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_hidden": 48}
    shape |= {"codebook_size": VOCABULARY, "num_classes": CLASSES, "num_transitions": order.num_transitions}
    model = VideoTransformer(order.grid, **(shape | changes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()

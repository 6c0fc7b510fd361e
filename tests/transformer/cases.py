"""Orders of every kind, and models for them whose attention is far from uniform."""

import torch
from torch import Tensor

from parvideo.order import GenerationOrder, OrderSpec
from parvideo.transformer import VideoTransformer

ORDERS = {
    "raster": OrderSpec().build((2, 4, 4)),
    "regions": OrderSpec(regions=(1, 2, 2)).build((3, 4, 4)),
    "space-time": OrderSpec(regions=(2, 2, 2)).build((2, 4, 4)),
    "image": OrderSpec(regions=(1, 2, 2)).build((1, 8, 4)),
    "adjacent": OrderSpec(regions=(1, 2, 2), grouping="adjacent").build((2, 4, 4)),
    "initial-parallel": OrderSpec(regions=(1, 2, 2), initial="parallel").build((2, 4, 4)),
    "causal-groups": OrderSpec(regions=(1, 2, 2), attention="causal").build((2, 4, 4)),
    "no-transition": OrderSpec(regions=(1, 2, 2), transition="repeat").build((2, 4, 4)),
    "dyadic": OrderSpec(grouping="dyadic", most=8).build((2, 4, 4)),
    "uneven": GenerationOrder((1, 2, 5), ((3,), (0, 1), (2, 4), (5, 6, 7, 8, 9))),
}
VOCABULARY, CLASSES = 50, 5


def make(order: GenerationOrder, **changes: object) -> VideoTransformer:
    settings: dict[str, object] = {"dim": 32, "num_layers": 2, "num_heads": 2, "ffn_hidden": 48}
    settings |= {"num_transitions": order.num_transitions, **changes}
    model = VideoTransformer(order.grid, VOCABULARY, CLASSES, **settings).eval()  # type: ignore[arg-type]
    for parameter in model.parameters():
        # Large weights, so that attention is far from uniform and no dependence hides in rounding.
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def batch(order: GenerationOrder, rows: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randint(0, VOCABULARY, (rows, order.num_tokens)), torch.randint(0, CLASSES, (rows,))


def several_orders() -> list[GenerationOrder]:
    return [OrderSpec(regions=counts).build((2, 4, 4)) for counts in ((1, 1, 1), (1, 2, 2), (2, 2, 2))]

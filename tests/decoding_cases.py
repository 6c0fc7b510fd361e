"""What the decode engines are tried on: small models, every kind of order, and ways to draw."""

from typing import Any

import torch

from parvideo.order import OrderSpec
from parvideo.sampling import SamplingConfig
from parvideo.transformer import VideoTransformer

VOCABULARY, CLASSES, GRID = 64, 4, (3, 4, 4)
LABELS = torch.tensor([0, 3, 1])
SPECS = [
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


def make(spec: OrderSpec | None = None, **changes: Any) -> VideoTransformer:
    """A model in eval mode, with weights large enough that its tokens differ."""
    order = (OrderSpec(regions=(1, 2, 2)) if spec is None else spec).build(changes.pop("grid", GRID))
    shape = {"dim": 32, "num_layers": 2, "num_heads": 4, "ffn_hidden": 48, **changes}
    model = VideoTransformer(order, shape.pop("codebook_size", VOCABULARY), CLASSES, **shape)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()

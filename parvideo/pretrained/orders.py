"""The orders of a generator as a model folder or checkpoint states them, in every format that there was."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from parvideo.order import GenerationOrder, Grid, OrderSpec


def order_data(order: GenerationOrder) -> dict[str, Any]:
    """An order as JSON-able data: its spec, or its groups if it was not built from one."""
    return order.to_dict() if order.spec is None else asdict(order.spec)


def read_transformer_config(
    config: Mapping[str, Any], orders: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], list[GenerationOrder]]:
    """A transformer's configuration and its orders from what a model folder or checkpoint of any format says.

    Raises:
        TypeError, KeyError, ValueError: if they are none.
    """
    config = dict(config)
    own = config.pop("order", None)  # format 1
    if own is None:
        t, h, w = config["grid"]
        return config, [_read_order(data, (t, h, w)) for data in orders]
    order = GenerationOrder.from_dict(own)
    config = {"num_transitions": order.num_transitions, **config, "grid": list(order.grid)}
    return config, [_read_order(data, order.grid) for data in orders] or [order]


def _read_order(data: Mapping[str, Any], grid: Grid) -> GenerationOrder:
    return GenerationOrder.from_dict(data) if "groups" in data else OrderSpec(**data).build(grid)

"""The orders that a model folder says its transformer was trained in."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from parvideo.order import GenerationOrder, Grouping, Initial, OrderSpec
from parvideo.pretrained import load_extra


def read_orders(folder: Path) -> list[OrderSpec]:
    """The orders in a generator's folder, the main one first; none in a folder that does not name any.

    Raises:
        ValueError: if what the folder names are no orders.
    """
    specs = []
    for fields in load_extra(folder).get("orders", []):
        try:
            rt, rh, rw = fields["regions"]
            specs.append(OrderSpec(**{**fields, "regions": (rt, rh, rw)}))
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{folder} names {fields} as an order, which is none: {error!r}") from error
    return specs


def name_order(order: GenerationOrder) -> Iterator[OrderSpec]:
    """All ways to say an order by its regions; none for an order that has no regions."""
    size = len(order.groups[-1])
    t, h, w = ([count for count in range(1, cells + 1) if cells % count == 0] for cells in order.grid)
    for regions in itertools.product(t, h, w):
        if math.prod(regions) == size:
            groupings = [grouping for grouping in get_args(Grouping) if grouping != "dyadic"]
            for grouping, initial in itertools.product(groupings, get_args(Initial)):
                spec = OrderSpec(regions, grouping, initial, order.attention, order.transition)
                if spec.build(order.grid) == order:
                    yield spec

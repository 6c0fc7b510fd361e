"""Training one transformer in several orders: which order a batch is in, and the fast ones' teacher."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from parvideo.order import GenerationOrder, OrderSpec
from parvideo.transformer import VideoTransformer


def check_weights(specs: Sequence[OrderSpec], weights: Mapping[str, float] | None) -> list[float] | None:
    """A weight for each order, in the orders' sequence; None where none are given.

    Args:
        specs: the orders.
        weights: by the orders' names.

    Raises:
        ValueError: unless every order has one weight, and it is positive.
    """
    if weights is None:
        return None
    names = [spec.name for spec in specs]
    if set(weights) != set(names):
        raise ValueError(
            f"order_weights names {', '.join(weights) or 'no order'}; the orders are {', '.join(names)}, "
            "and each needs a weight"
        )
    for name, weight in weights.items():
        if not 0 < weight < float("inf"):
            raise ValueError(f"order_weights gives {name} {weight}; a weight must be a positive number")
    return [weights[name] for name in names]


def draw_order(
    orders: Sequence[GenerationOrder], weights: Sequence[float] | None, number: int
) -> GenerationOrder:
    """The order of a batch: drawn from its number, so the same on all devices and after a resume.

    Args:
        orders: to draw from.
        weights: how often each comes up, in proportion; all as often if None.
        number: of the batch.
    """
    chance = random.Random(number)
    return chance.choice(orders) if weights is None else chance.choices(orders, weights)[0]


def check_teacher(specs: Sequence[OrderSpec], distillation: float) -> int | None:
    """The place of the order that teaches the others, which is 1x; None without distillation.

    Raises:
        ValueError: if the weight of distillation is negative, or there is no 1x, or nothing else.
    """
    if not 0 <= distillation < float("inf"):
        raise ValueError(f"distillation must be a weight of 0 or more, got {distillation}")
    if distillation == 0:
        return None
    if OrderSpec() not in specs or len(specs) < 2:
        raise ValueError(
            f"distillation is {distillation}: faster orders then learn from 1x, regions [1, 1, 1], so 1x and "
            f"at least one other must be among order and more_orders; they are "
            f"{', '.join(spec.name for spec in specs)}"
        )
    return list(specs).index(OrderSpec())


@contextmanager
def as_teacher(transformer: VideoTransformer) -> Iterator[None]:
    """The transformer without dropout and without gradients, and then as it was."""
    training = transformer.training
    transformer.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        transformer.train(training)

"""Seeds and other whole numbers: which are allowed, and what keys a generator that takes one number."""

import operator
from typing import Any

MOST = 2**64 - 1
"""The largest seed: what Philox's key and PyTorch's generators hold. Larger ones would be another seed."""


def check_seed(seed: Any, name: str = "seed") -> int:
    """The seed as an int, once it is known to be one of 64 bits.

    Raises:
        ValueError: if it is none; the message has its name.
    """
    return whole_number(seed, name, most=MOST)


def whole_number(value: Any, name: str, least: int = 0, most: int | None = None) -> int:
    """A whole number of any type as an int.

    Args:
        value: given by a user.
        name: of the field or option, for the message.
        least: the smallest allowed.
        most: the largest allowed, if there is one.

    Raises:
        ValueError: if it is no whole number, or lies outside.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}; it must be a whole number") from None
    if number < least:
        raise ValueError(f"{name} is {number}; it must be {least} or more")
    if most is not None and number > most:
        raise ValueError(f"{name} is {number}; it must be {most} or less")
    return number


def place_seed(seed: int, place: int) -> int:
    """The seed of a PyTorch generator for one place (an epoch, a step) of a sequence with a seed.

    One place has another number for every seed; within a sequence the first 1,000,003 places do.
    """
    return (seed * 1_000_003 + place) & MOST

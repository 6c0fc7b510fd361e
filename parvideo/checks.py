"""Checks of what users give: seeds and other numbers, ranges, and regions or intervals in one word."""

import math
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

    >>> whole_number("12", "frames", least=1)
    Traceback (most recent call last):
        ...
    ValueError: frames is '12'; it must be a whole number
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


def at_least(least: int, **values: float | None) -> None:
    """See that options (those that are given, so not None) are not below what they can be.

    Raises:
        ValueError: naming the option, its value, and what would be right.
    """
    for name, value in values.items():
        if value is not None and not value >= least:  # NaN is not
            raise ValueError(f"{name} is {value}; it must be {least} or more")


def positive(**values: float | None) -> None:
    """See that options (those that are given) are finite numbers above zero.

    Raises:
        ValueError: naming the option, its value, and what would be right.
    """
    for name, value in values.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} is {value}; it must be a positive number")


def parse_triple(name: str, text: str) -> tuple[int, int, int]:
    """Three whole numbers t,h,w.

    Raises:
        ValueError: on another form; the message names the option.

    >>> parse_triple("regions", "1,2,2")
    (1, 2, 2)
    """
    try:
        t, h, w = (int(part) for part in text.strip("()[]").split(","))
    except ValueError:
        raise ValueError(f"{name} is {text!r}; give three whole numbers t,h,w such as 1,4,4") from None
    return t, h, w


def parse_interval(name: str, text: str) -> tuple[float, float]:
    """Two numbers from,to.

    Raises:
        ValueError: on another form; the message names the option.
    """
    try:
        start, stop = (float(part) for part in text.strip("()[]").split(","))
    except ValueError:
        raise ValueError(f"{name} is {text!r}; give two numbers from,to such as 0,0.5") from None
    return start, stop

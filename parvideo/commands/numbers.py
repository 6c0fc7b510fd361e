"""Numbers of the command line: their ranges, and those of one word: regions 1,4,4 and intervals 0,0.5."""

import math


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

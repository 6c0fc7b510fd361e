"""Numbers of the command line that are written as one word: regions 1,4,4 and intervals 0,0.5."""


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

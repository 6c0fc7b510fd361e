"""Classes as they are asked for: a str is a name, an int is an index."""

import difflib
import operator
import re
import unicodedata
from collections.abc import Sequence


def find_class(names: Sequence[str], asked: str | int | None) -> int:
    """The label of a class.

    Args:
        names: of all classes, in label order.
        asked: a str is a name, also one of digits (case matters only where two names differ by nothing else,
            and so do the two ways to write an accented letter: macOS names folders with the accent apart);
            an int is an index; None is the label of no class, which follows the last.

    Raises:
        ValueError: if there is no such class, or several are called so; the message suggests what is near.
    """
    if asked is None:
        return len(names)
    if not isinstance(asked, str):
        return _by_index(names, asked)
    folded = _folded(asked)
    matches = [label for label, name in enumerate(names) if name == asked] or [
        label for label, name in enumerate(names) if _folded(name) == folded
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        several = " and ".join(f"{names[label]} (index {label})" for label in matches)
        raise ValueError(f"{asked!r} may be any of {several}; ask for one by its index")
    raise ValueError(f"there is no class {asked!r}; {_hint(names, asked)}")


def is_index(word: str) -> bool:
    """Whether a word is written as indices are: 0, 1, 2, ... (and not 01, ² or -1)."""
    return re.fullmatch("0|[1-9][0-9]{0,17}", word) is not None


def _by_index(names: Sequence[str], asked: object) -> int:
    try:
        if isinstance(asked, bool):
            raise TypeError
        index = operator.index(asked)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"class is {asked!r}; give a name (str) or an index (int)") from None
    if not 0 <= index < len(names):
        raise ValueError(f"class index {index} is out of range; there are classes 0 to {len(names) - 1}")
    return index


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _hint(names: Sequence[str], asked: str) -> str:
    folded = [_folded(name) for name in names]
    near = difflib.get_close_matches(_folded(asked), folded, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(names[folded.index(word)] for word in near) + "?"
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    by_index = "; an index is given as an int (--class-index)" if is_index(asked.lstrip("-")) else ""
    return f"there are {len(names)}: {shown}{by_index}"

"""Words of the command line as the values that parameters ask for.

A word is what it says and no YAML: a folder may be called null, ~ or 10, a class [x], #tag, 1e3 or true, and
010 is ten.
"""

import re
import types
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

WHOLE = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")


class WordType:
    """What argparse calls to turn a word into a value of a parameter's type.

    Args:
        kind: str, Path, int, float or a Literal of strings; a list of such, whose words come one by one; or
            any of them or None.

    Raises:
        TypeError: for another kind, which no command has.
    """

    def __init__(self, kind: Any) -> None:
        self.kind = _single(kind)
        if self.kind not in (str, Path, int, float) and get_origin(self.kind) is not Literal:
            raise TypeError(f"a command line has no words for {kind}")

    def __call__(self, word: Any) -> Any:
        """The value.

        Raises:
            ArgumentTypeError: if the word says none of this type.
        """
        if self.kind is str or not isinstance(word, str):  # jsonargparse asks again of what it was given
            return word
        if self.kind is Path:
            return self._path(word)
        if self.kind is int:
            if not WHOLE.fullmatch(word):
                raise ArgumentTypeError(f"{word!r} is no whole number")
            return int(word)
        if self.kind is float:
            try:
                return float(word)
            except ValueError:
                raise ArgumentTypeError(f"{word!r} is no number") from None
        if word not in get_args(self.kind):
            raise ArgumentTypeError(f"{word!r} is none of {', '.join(get_args(self.kind))}")
        return word

    def __repr__(self) -> str:
        """For the help text."""
        if get_origin(self.kind) is Literal:
            return "|".join(get_args(self.kind))
        return {str: "text", Path: "path", int: "whole number", float: "number"}[self.kind]

    @staticmethod
    def _path(word: str) -> Path:
        if not word:  # an unset variable of the shell; to Path it is the folder where one happens to be
            raise ArgumentTypeError("'' is no path")
        try:
            return Path(word).expanduser()  # a shell leaves ~ alone after =
        except RuntimeError:  # nobody's home: as a shell, take it as it stands
            return Path(word)


def takes_list(kind: Any) -> bool:
    """Whether a type is ``list[...]`` or an optional one."""
    return get_origin(_without_none(kind)) is list


def _single(kind: Any) -> Any:
    kind = _without_none(kind)
    return get_args(kind)[0] if get_origin(kind) is list else kind


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    members = [member for member in get_args(kind) if member is not types.NoneType]
    return members[0] if len(members) == 1 else kind

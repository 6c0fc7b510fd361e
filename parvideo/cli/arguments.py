"""A command's function as its command line: its signature gives the options, its docstring their help.

A word is what it says and no YAML: a folder may be called null, ~ or 10, a class [x], #tag, 1e3 or true, and
010 is ten.
"""

import dataclasses
import inspect
import re
import types
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from docstring_parser import Docstring
from docstring_parser import parse as parse_docstring
from jsonargparse import ActionYesNo, ArgumentParser

RENAMED: dict[str, dict[str, str]] = {
    "bench": {
        "--layers": "--num-layers",
        "--heads": "--num-heads",
        "--vocabulary": "--codebook-size",
        "--classes": "--num-classes",
        "--batch": "--batch-size",
        "--guidance": "--guidance-scale",
    },
}
"""Command -> options that it once had, and what they are called now, as in the other commands."""

WHOLE = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")


def parse_arguments(
    name: str, function: Callable[..., Any], arguments: Sequence[str]
) -> tuple[list[Any], dict[str, Any]]:
    """Parse a command line by a function's signature and docstring.

    A positional-only parameter is a positional argument (a list takes one or more), any other an option
    spelled with dashes; a trailing underscore (``class_``) is dropped; a bool is ``--flip/--no-flip``; an
    option whose type is a list may be repeated; the fields of a dataclass are options like the others, and so
    are those of a dataclass in it. Words are taken literally (`WordType`).

    Returns:
        Positional values and keyword values to call the function with.

    Raises:
        ValueError: for an option that has another name now.
    """
    documentation = parse_docstring(function.__doc__ or "")
    description = "\n\n".join(
        text for text in (documentation.short_description, documentation.long_description) if text
    )
    parser = ArgumentParser(
        prog=f"parvideo {name}", description=description, default_env=False, allow_abbrev=False
    )
    parameters = _parameters(function)
    _add_options(parser, parameters, documentation)
    words = spell(arguments)
    for word in words:
        option = word.partition("=")[0]
        if option in RENAMED.get(name, {}):
            raise ValueError(f"{name} has no option {option}; it is called {RENAMED[name][option]}")
    values = parser.parse_args(words).as_dict()
    positional = [values[item.name] for item in parameters if item.kind is item.POSITIONAL_ONLY]
    return positional, _collect(
        [item for item in parameters if item.kind is not item.POSITIONAL_ONLY], values
    )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, or the fields of a dataclass."""
    return list(inspect.signature(function, eval_str=True).parameters.values())


def _add_options(
    parser: ArgumentParser, parameters: list[inspect.Parameter], documentation: Docstring
) -> None:
    """Add an option for each parameter; in place of a dataclass, those of its fields, in dataclasses too."""
    helps = _described(documentation)
    for parameter in parameters:
        kind = parameter.annotation
        if dataclasses.is_dataclass(kind):
            _add_options(parser, _parameters(kind), parse_docstring(kind.__doc__ or ""))  # type: ignore[arg-type]
        else:
            _add_option(parser, parameter, helps.get(parameter.name, ""))


def _collect(parameters: list[inspect.Parameter], values: dict[str, Any]) -> dict[str, Any]:
    """The values of parameters by their names; dataclasses are built of their fields' values."""
    collected = {}
    for parameter in parameters:
        kind = parameter.annotation
        if dataclasses.is_dataclass(kind):
            collected[parameter.name] = kind(**_collect(_parameters(kind), values))  # type: ignore[operator,arg-type]
        else:
            collected[parameter.name] = values[parameter.name.rstrip("_")]
    return collected


def _described(documentation: Docstring) -> dict[str, str]:
    """What a docstring says of each parameter or attribute."""
    return {item.arg_name: (item.description or "").replace("\n", " ") for item in documentation.params}


def _add_option(parser: ArgumentParser, parameter: inspect.Parameter, help_text: str) -> None:
    kind, option = parameter.annotation, parameter.name.rstrip("_").replace("_", "-")
    more: dict[str, Any] = {"help": help_text}
    if parameter.kind is parameter.POSITIONAL_ONLY:
        if takes_list(kind):
            more["nargs"] = "+"
        parser.add_argument(option, type=WordType(kind), **more)
        return
    if parameter.default is parameter.empty:
        more["required"] = True
    else:
        more["default"] = parameter.default
    if kind is bool:
        parser.add_argument(f"--{option}", action=ActionYesNo(no_prefix="no-"), **more)
        return
    if takes_list(kind):
        more["action"] = "append"
    parser.add_argument(f"--{option}", type=WordType(kind), **more)


def spell(arguments: Sequence[str]) -> list[str]:
    """The words with dashes for underscores in the names of options."""
    spelled = []
    for word in arguments:
        name, equals, value = word.partition("=")
        spelled.append(name.replace("_", "-") + equals + value if name.startswith("--") else word)
    return spelled


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

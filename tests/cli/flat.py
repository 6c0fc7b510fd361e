"""Commands called with their options side by side, as on the command line, not in their groups."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any


def call(function: Callable[..., Any], *positional: Any, **options: Any) -> Any:
    """Call a command's function; options that are fields of a dataclass parameter are put into it."""
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if dataclasses.is_dataclass(kind := parameter.annotation) and name not in options:
            fields = {field.name for field in dataclasses.fields(kind)} & options.keys()
            options[name] = kind(**{field: options.pop(field) for field in fields})  # type: ignore[operator]
    return function(*positional, **options)

"""Commands and jobs called with their options side by side, as on the command line, not in their groups."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any


def call(function: Callable[..., Any], *values: Any, **options: Any) -> Any:
    """Call a command or job, whose last parameter is a dataclass of options.

    Args:
        function: the command or job.
        values: of its other parameters, then of the first fields of the dataclass.
        options: other fields, of the dataclass or of those in it.
    """
    *positional, group = inspect.signature(function, eval_str=True).parameters.values()
    count, names = len(positional), inspect.signature(group.annotation).parameters
    options |= dict(zip(names, values[count:], strict=False))
    return function(*values[:count], _build(group.annotation, options))


def _build(kind: Any, options: dict[str, Any]) -> Any:
    fields = inspect.signature(kind, eval_str=True).parameters
    given = {name: options.pop(name) for name in fields if name in options}
    for name, field in fields.items():
        if name not in given and dataclasses.is_dataclass(field.annotation):
            inside = option_names(field.annotation) & options.keys()
            given[name] = _build(field.annotation, {inner: options.pop(inner) for inner in inside})
    assert not options, f"{kind.__name__} has no {', '.join(options)}"
    return kind(**given)


def option_names(kind: Any) -> set[str]:
    """The names of a function's parameters or a dataclass's fields, and of those inside their dataclasses."""
    fields = inspect.signature(kind, eval_str=True).parameters
    groups = [field.annotation for field in fields.values() if dataclasses.is_dataclass(field.annotation)]
    return set(fields).union(*map(option_names, groups))

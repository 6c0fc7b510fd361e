"""The `parvideo` command: one table of commands, each a typed function that is its own command line.

Nothing heavy is imported here: a command's module is imported when that command is called.
"""

import dataclasses
import difflib
import errno
import importlib
import inspect
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from docstring_parser import Docstring
from docstring_parser import parse as parse_docstring
from jsonargparse import ActionYesNo, ArgumentParser

from parvideo.cli import fit_options
from parvideo.cli.values import WordType, takes_list
from parvideo.files import error_line
from parvideo.version import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "parvideo.cli.demo",
        "everything, small, in minutes: train, sample, score, a page to look at",
    ),
    "fit": ("parvideo.cli.fit", "train a tokenizer or a generator from YAML configs; resumes by itself"),
    "export": ("parvideo.cli.export", "the model in a run's checkpoint as a model folder"),
    "tokenize": ("parvideo.cli.tokenize", "turn videos into tokens on disk with a trained tokenizer"),
    "sample": ("parvideo.cli.sample", "generate clips for class names with a trained generator"),
    "reconstruct": ("parvideo.cli.reconstruct", "encode and decode videos, side by side, with figures"),
    "evaluate": (
        "parvideo.cli.evaluate",
        "score clips against real videos: FVD with its error, and a report",
    ),
    "compare-reports": (
        "parvideo.cli.compare_reports",
        "reports side by side; refused if not comparable",
    ),
    "fvd-stats": ("parvideo.cli.fvd_stats", "features of the real videos of a protocol, to use again"),
    "weights": ("parvideo.cli.weights", "fetch, check and keep the I3D network that FVD needs"),
    "data": ("parvideo.cli.data", "check a data set on disk, unpack it, write its manifest"),
    "toy-data": ("parvideo.cli.toy_data", "write a toy set of video files in UCF-101's layout"),
    "order": ("parvideo.cli.order", "what an order of generation does, in figures and as a picture"),
    "bench": ("parvideo.cli.bench", "how fast this machine generates, against its own limits"),
}
"""Command name -> (module, one line of help). The module's function has the command's name."""

USER_ERRORS = (ValueError, OSError)
"""What a wrong argument, file or disk raises: shown as one line. All else is ours, with a traceback."""

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; the process's own if None.

    Returns:
        The exit status: 0; 2 when the user can put it right; 130 when interrupted; 1 for a defect of ours.
    """
    # Read by OpenMP when torch is imported. Its threads spin while they wait by default, which on a machine
    # that other processes share slows small steps tenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"parvideo {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold bytes that are no text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        run_command(name, rest)
        sys.stdout.flush()
    except BrokenPipeError as error:
        if error.filename is not None:
            raise
        # Whoever read the output wants no more: `parvideo order | head`. Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except USER_ERRORS as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in _OURS:
            raise
        if debug:
            traceback.print_exc()
        print(f"parvideo: error: {error_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nparvideo: interrupted. What is finished is kept: run the same command again to go on.",
            file=sys.stderr,
        )
        return 130
    return 0


def run_command(name: str, arguments: Sequence[str]) -> None:
    """Import the command's module and call its function with the parsed arguments.

    Raises:
        ValueError: if there is no such command; the message suggests near names.
    """
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "see `parvideo --help`"
        raise ValueError(f"there is no command {name!r}; {hint}")
    if name == "fit" and not {"-h", "--help"}.isdisjoint(arguments):  # at once: Lightning takes seconds
        print(fit_options.help_text())
        raise SystemExit(0)
    module = importlib.import_module(COMMANDS[name][0])
    function: Callable[..., Any] = getattr(module, name.replace("-", "_"))
    if name == "fit":  # its options are those of the classes the configs name, so Lightning parses them
        function(["--help" if word in ("--help_all", "--help-all") else word for word in arguments])
        return
    positional, options = parse_arguments(name, function, arguments)
    function(*positional, **options)


def parse_arguments(
    name: str, function: Callable[..., Any], arguments: Sequence[str]
) -> tuple[list[Any], dict[str, Any]]:
    """Parse a command line by a function's signature and docstring.

    A positional-only parameter is a positional argument (a list takes one or more), any other an option
    spelled with dashes; a trailing underscore (``class_``) is dropped; a bool is ``--flip/--no-flip``; an
    option whose type is a list may be repeated; the fields of a dataclass are options like the others. Words
    are taken literally (`parvideo.cli.values`).

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
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    helps = _described(documentation)
    groups: dict[str, list[inspect.Parameter]] = {}  # of options that are the fields of one parameter
    for parameter in parameters:
        if dataclasses.is_dataclass(parameter.annotation):
            kind: Any = parameter.annotation
            groups[parameter.name] = list(inspect.signature(kind, eval_str=True).parameters.values())
            inner = _described(parse_docstring(kind.__doc__ or ""))
            for field in groups[parameter.name]:
                _add_option(parser, field, inner.get(field.name, ""))
        else:
            _add_option(parser, parameter, helps.get(parameter.name, ""))
    words = _spell(arguments)
    for word in words:
        option = word.partition("=")[0]
        if option in RENAMED.get(name, {}):
            raise ValueError(f"{name} has no option {option}; it is called {RENAMED[name][option]}")
    values = parser.parse_args(words).as_dict()
    positional, options = [], {}
    for parameter in parameters:
        if parameter.name in groups:
            fields = {field.name: values[field.name.rstrip("_")] for field in groups[parameter.name]}
            options[parameter.name] = parameter.annotation(**fields)
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(values[parameter.name])
        else:
            options[parameter.name] = values[parameter.name.rstrip("_")]
    return positional, options


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


def _spell(arguments: Sequence[str]) -> list[str]:
    """The words with dashes for underscores in the names of options."""
    spelled = []
    for word in arguments:
        name, equals, value = word.partition("=")
        spelled.append(name.replace("_", "-") + equals + value if name.startswith("--") else word)
    return spelled


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [
        f"parvideo {__version__}: parallelized autoregressive video generation (arXiv 2412.15119)",
        "",
        "usage: parvideo COMMAND [options]      parvideo COMMAND --help says what it takes",
        "",
        *(f"  {name:<{width}}{line}" for name, (_, line) in COMMANDS.items()),
        "",
        "  --version shows the version; --debug shows the traceback of an error",
    ]
    return "\n".join(lines)


_OURS = {errno.EBADF, errno.EINVAL, errno.EFAULT, errno.ECHILD}
"""What the system reports of wrong calls rather than of wrong files, unless it names one."""


if __name__ == "__main__":
    sys.exit(main())

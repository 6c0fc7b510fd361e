"""The `parvideo` command: one table of commands, each a typed function that is its own command line.

No module of a command imports anything heavy: that happens inside its function, so that help comes at once.
"""

import difflib
import errno
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from parvideo.cli.arguments import parse_arguments
from parvideo.files import error_line
from parvideo.version import __version__

COMMANDS = {
    name: f"parvideo.cli.{name.replace('-', '_')}"
    for name in (
        "demo",
        "fit",
        "export",
        "tokenize",
        "sample",
        "reconstruct",
        "evaluate",
        "compare-reports",
        "fvd-stats",
        "app",
        "push",
        "weights",
        "data",
        "toy-data",
        "order",
        "bench",
    )
}
"""Command name -> module, whose function has the command's name and whose docstring begins with its help."""

USER_ERRORS = (ValueError, OSError)
"""What a wrong argument, file or disk raises: shown as one line. All else is ours, with a traceback."""


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
    module = importlib.import_module(COMMANDS[name])
    function: Callable[..., Any] = getattr(module, name.replace("-", "_"))
    if name == "fit":  # its options are those of the classes the configs name, so Lightning parses them
        function(list(arguments))
        return
    positional, options = parse_arguments(name, function, arguments)
    function(*positional, **options)


def summary(name: str) -> str:
    """What a command does, in the line that its module's docstring begins with."""
    line = (importlib.import_module(COMMANDS[name]).__doc__ or "").partition("\n")[0]
    return line.removeprefix(f"`parvideo {name}`: ").removesuffix(".")


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [
        f"parvideo {__version__}: parallelized autoregressive video generation (arXiv 2412.15119)",
        "",
        "usage: parvideo COMMAND [options]      parvideo COMMAND --help says what it takes",
        "",
        *(f"  {name:<{width}}{summary(name)}" for name in COMMANDS),
        "",
        "  --version shows the version; --debug shows the traceback of an error",
    ]
    return "\n".join(lines)


_OURS = {errno.EBADF, errno.EINVAL, errno.EFAULT, errno.ECHILD}
"""What the system reports of wrong calls rather than of wrong files, unless it names one."""


if __name__ == "__main__":
    sys.exit(main())

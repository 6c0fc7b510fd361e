"""Progress: how far long work is, its rate and the time left: a bar, or a line a minute in a log."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

LINE_SECONDS = 60.0
"""From one line to the next where there is no terminal; shorter work says nothing there."""
_LINE = (
    "{desc}: {n_fmt} of {total_fmt} {unit}s ({percentage:.0f} %), {elapsed} passed, {remaining} left, "
    "{rate_fmt}{postfix}"
)
_ENDLESS = "{desc}: {n_fmt} {unit}s, {elapsed} passed, {rate_fmt}{postfix}"


class Progress(tqdm):
    """A tqdm bar in this package's one style, on stderr.

    On a terminal it is a bar. Where stderr is none (a file, a pipe, a batch system's log) it is a line every
    `LINE_SECONDS`, each ended by a newline, with the same figures.

    Args:
        items: what is gone through, if the bar is to count it by itself.
        title: what is being done.
        unit: what is counted, in the singular.
        total: how many there are; that of ``items``, if they have a length.
        initial: how many were done before.
        hidden: show nothing, as all processes but the first do.
        delay: seconds before a bar is shown, for work that is mostly done at once.
    """

    def __init__(
        self,
        items: Iterable[Any] | None = None,
        *,
        title: str,
        unit: str,
        total: float | None = None,
        initial: float = 0,
        hidden: bool = False,
        delay: float = 0,
    ) -> None:
        settings: dict[str, Any] = {"file": sys.stderr, "dynamic_ncols": True, "delay": delay}
        if not sys.stderr.isatty():
            known = total is not None or hasattr(items, "__len__")
            seconds = LINE_SECONDS
            settings = {"file": _Lines(sys.stderr), "bar_format": _LINE if known else _ENDLESS}
            settings |= {"mininterval": seconds, "maxinterval": seconds, "delay": seconds}
        super().__init__(
            items, desc=title, unit=unit, total=total, initial=initial, disable=hidden, **settings
        )

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the bar shows; parts of an item to a tenth."""
        shown: dict[str, Any] = super().format_dict
        done = round(float(self.n), 1)
        return shown | {"n": int(done) if done.is_integer() else done}

    @property
    def due(self) -> bool:
        """Whether it is time to be shown again, so that what stands behind the rate is worth finding out."""
        return not self.disable and self._time() - self.last_print_t >= self.mininterval

    def tick(self) -> None:
        """Show where it stands if it is time to, though nothing more is done."""
        if self.due:
            self.last_print_t = self._time()
            self.refresh()

    def close(self) -> None:
        """Show the end, unless a log's last line did."""
        if not self.disable and self.n == self.last_print_n and self.bar_format in (_LINE, _ENDLESS):
            self.leave = False
        super().close()

    def move_to(self, done: float) -> None:
        """Set how many are done in all."""
        self.update(done - self.n)

    def show(self, figures: dict[str, Any]) -> None:
        """Set the figures that stand behind the rate; shown when the bar is drawn next."""
        self.set_postfix(figures, refresh=False)

    def say(self, line: str) -> None:
        """Print a line to stderr without disturbing the bar."""
        self.write(line, file=sys.stderr)


class _Lines:
    """A stream for tqdm that makes a line of each picture of a bar: nothing is overwritten or left blank."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        words = text.replace("\x1b[A", "").split()
        if words:
            self.stream.write(" ".join(words) + "\n")

    def flush(self) -> None:
        self.stream.flush()

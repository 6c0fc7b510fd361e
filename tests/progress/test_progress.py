"""Progress: a bar on a terminal, whole lines in a log, and nothing of either where it is hidden."""

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tqdm.std

from parvideo import progress
from parvideo.progress import Progress


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(tqdm.std, "time", fake)
    monkeypatch.setattr(tqdm.std.tqdm, "monitor_interval", 0)  # a thread that shows bars by the real time
    return fake


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], Stream]:
    """Make stderr a terminal or a log; in the test itself, since pytest puts its own there before it."""

    def listen(terminal: bool) -> Stream:
        shown = Stream(terminal)
        monkeypatch.setattr(sys, "stderr", shown)
        return shown

    return listen


def work(clock: Clock, seconds: float, **settings: Any) -> Iterator[None]:
    """A hundred clips of so many seconds each."""
    for _ in Progress(range(100), title="sampling x", unit="clip", **settings):
        clock.now += seconds
        yield


def test_a_log_gets_a_line_a_minute(clock: Clock, log: Callable[[bool], Stream]) -> None:
    stream = log(False)
    for _ in work(clock, 3):
        pass
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5  # of 300 seconds
    assert lines[0] == "sampling x: 20 of 100 clips (20 %), 01:00 passed, 04:00 left, 3.00s/clip"
    assert lines[-1].startswith("sampling x: 100 of 100 clips (100 %), 05:00 passed")
    assert "\r" not in stream.getvalue()


def test_a_log_says_nothing_of_short_work(clock: Clock, log: Callable[[bool], Stream]) -> None:
    stream = log(False)
    for _ in work(clock, 0.5):
        pass
    assert stream.getvalue() == ""


def test_slow_items_get_a_line_each(clock: Clock, log: Callable[[bool], Stream]) -> None:
    stream = log(False)
    for _ in work(clock, 90):
        pass
    assert len(stream.getvalue().splitlines()) == 100


def test_a_terminal_gets_a_bar_with_rate_and_time_left(clock: Clock, log: Callable[[bool], Stream]) -> None:
    stream = log(True)
    for _ in work(clock, 3):
        pass
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    pictures = text.split("\r")
    assert len(pictures) >= 100
    half = next(picture for picture in pictures if "50/100" in picture)
    assert half.strip().startswith("sampling x:  50%|")
    assert re.search(r"\[02:30<02:(29|30),  3.00s/clip\]", half)


@pytest.mark.parametrize("terminal", [True, False])
def test_hidden_it_shows_nothing_and_counts_all_the_same(
    clock: Clock, log: Callable[[bool], Stream], terminal: bool
) -> None:
    stream = log(terminal)
    assert len(list(work(clock, 90, hidden=True))) == 100
    assert stream.getvalue() == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_parts_of_items_figures_and_lines_between(
    clock: Clock, log: Callable[[bool], Stream], terminal: bool
) -> None:
    stream = log(terminal)
    with Progress(title="x", unit="clip", total=8, initial=2) as bar:
        assert not bar.due
        clock.now += 61
        assert bar.due
        bar.show({"loss": 1.25})
        bar.move_to(10 / 3)
        bar.say("out of memory")
        bar.move_to(2)  # computed anew
        bar.move_to(8)
    text = stream.getvalue()
    assert "3.3/8" in text or "3.3 of 8 clips" in text
    assert "loss=1.25" in text
    assert "out of memory\n" in text
    assert "8/8" in text or "8 of 8 clips" in text


def test_work_that_waits_is_still_shown(clock: Clock, log: Callable[[bool], Stream]) -> None:
    stream = log(False)
    with Progress(title="x", unit="step", total=8) as bar:
        for _ in range(7):
            clock.now += 20
            bar.tick()
    assert stream.getvalue().splitlines() == [
        f"x: 0 of 8 steps (0 %), 0{minute}:00 passed, ? left, ?step/s" for minute in (1, 2)
    ]


def test_without_a_total_there_is_a_rate(clock: Clock, log: Callable[[bool], Stream]) -> None:
    stream = log(False)
    with Progress(title="training x", unit="step") as bar:
        for _ in range(3):
            clock.now += 60
            bar.update(30)
    assert stream.getvalue().splitlines()[0] == "training x: 30 steps, 01:00 passed, 2.00s/step"


def test_only_this_package_s_bars_are_used() -> None:
    """One owner: tqdm is imported here alone."""
    from tools.draw_architecture import ROOT

    owner = Path(progress.__file__)
    for folder in ("parvideo", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path == owner or "import tqdm" not in path.read_text(encoding="utf-8"), path

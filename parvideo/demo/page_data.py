"""What a page shows, as plain data; `parvideo.demo.page` draws it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parvideo.demo.chart import Chart


@dataclass(frozen=True)
class ClipColumn:
    """One kind of clip, shown for every class: real, reconstructed, generated.

    Attributes:
        name: heading, unique on the page.
        description: what a reader must know to read the column, in a phrase.
    """

    name: str
    description: str


@dataclass(frozen=True)
class ClassClips:
    """The clips of one class.

    Attributes:
        name: the class's name, any text.
        clips: column name -> uint8 [n, T, H, W, 3]; a column that is absent shows as empty.
    """

    name: str
    clips: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class ClipTable:
    """Clips of several kinds, a column each, a row for every class; they play in lockstep.

    Attributes:
        columns: the kinds of clips, in the order shown.
        classes: the classes with their clips.
        fps: frames per second at which the clips play at speed 1.
    """

    columns: Sequence[ClipColumn]
    classes: Sequence[ClassClips]
    fps: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps is {self.fps}; it must be a positive number of frames per second")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"columns are {names}; their names must differ")
        for entry in self.classes:
            for column, clips in entry.clips.items():
                where = f"clips of class {entry.name!r}, column {column!r}"
                if column not in names:
                    raise ValueError(f"{where}: no such column; there are {names}")
                if clips.dtype != np.uint8 or clips.ndim != 5 or clips.shape[-1] != 3 or 0 in clips.shape:
                    raise ValueError(f"{where} are {clips.dtype} {clips.shape}; need uint8 [n, T, H, W, 3]")


@dataclass(frozen=True)
class Showcase:
    """Clips of a model that was trained before, beside its published figures; or why there are none.

    Attributes:
        about: what the clips are, or why there are none, in a few sentences.
        clips: the clips; None for none.
        results: the published figures.
    """

    about: str
    clips: ClipTable | None
    results: Sequence["Result"]


@dataclass(frozen=True)
class Generator:
    """One way of generating: its order and what was measured. Rows of the 1x against 4x table.

    Attributes:
        name: such as ``1x`` or ``4x``.
        group: int [t, h, w], the step in which each token is generated, counted from 0.
        clips: size of the batch that ``seconds`` were measured on.
        seconds: wall-clock seconds for that batch.
        fvd: Fréchet video distance of generated against real clips.
        fvd_error: its error (one standard deviation), or None where it was not estimated.
        class_accuracy: share of generated clips that the classifier gives the class asked for, in [0, 1].
    """

    name: str
    group: NDArray[np.integer]
    clips: int
    seconds: float
    fvd: float
    fvd_error: float | None
    class_accuracy: float

    def __post_init__(self) -> None:
        if self.group.ndim != 3:
            raise ValueError(f"group of generator {self.name!r} is {self.group.shape}; it must be [t, h, w]")
        if not np.array_equal(np.unique(self.group), np.arange(self.group.max() + 1)):
            raise ValueError(f"group of generator {self.name!r} must use every step from 0 to its largest")

    @property
    def steps(self) -> int:
        """Forward calls of the transformer for one batch."""
        return int(self.group.max()) + 1


@dataclass(frozen=True)
class Result:
    """One measured quantity beside what it should be compared with; all four are shown as they stand."""

    measure: str
    value: str
    baseline: str
    meaning: str


@dataclass(frozen=True)
class Command:
    """A shell command to go on with: what it is for, and the line itself."""

    purpose: str
    line: str


@dataclass(frozen=True)
class StageState:
    """A stage of the work: its title, and what became of it.

    Attributes:
        title: what it does.
        state: "done", "running" or "to come".
        seconds: how long it took; None unless it is done.
    """

    title: str
    state: Literal["done", "running", "to come"]
    seconds: float | None = None


@dataclass(frozen=True)
class PageData:
    """Everything the page shows; every text is plain text and is escaped. What is empty is left out.

    Attributes:
        title: the page's heading.
        summary: what was run, in a few sentences.
        clips: the clips of this run.
        stages: the work, in order; while one is not done, the page says so and loads itself anew.
        highlights: (figure, what it is) pairs for the page's head, such as ("51", "steps instead of 192").
        conditions: (name, value) pairs: data, seed, machine, minutes, versions.
        generators: the ways of generating compared; their orders are animated together, one step a tick.
        comparison_note: how accuracy and error in the comparison were measured, chance level included.
        fvd_notice: which feature network the FVD used, and what it may be compared with.
        charts: loss curves.
        results: further measurements.
        commands: what to type next.
        showcase: clips of models that come with the clone.
    """

    title: str
    summary: str
    clips: ClipTable
    stages: Sequence[StageState] = ()
    highlights: Sequence[tuple[str, str]] = ()
    conditions: Sequence[tuple[str, str]] = ()
    generators: Sequence[Generator] = ()
    comparison_note: str = ""
    fvd_notice: str = ""
    charts: Sequence[Chart] = ()
    results: Sequence[Result] = ()
    commands: Sequence[Command] = ()
    showcase: Showcase | None = None

    @property
    def running(self) -> bool:
        """Whether there is work that is not done."""
        return any(stage.state != "done" for stage in self.stages)

"""What a study found: differences of two rows, paired over seeds and pooled over budgets, and its goals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tools.order_study.config import Goal, Measured


@dataclass(frozen=True)
class Figure:
    """A figure of the tables.

    Attributes:
        name: its heading.
        value: of what was measured.
        digits: shown after the point.
        relative: whether differences are stated in percent of the row that is subtracted.
        of_clips: whether it is of generated clips, and so another at every guidance scale.
    """

    name: str
    value: Callable[[Measured], float]
    digits: int = 1
    relative: bool = False
    of_clips: bool = True


LOSS = Figure("held-out loss, nats a token", lambda one: one.val_loss, 3, of_clips=False)
FVD = Figure("FVD", lambda one: one.fvd, 2, relative=True)
FIGURES = (
    LOSS,
    FVD,
    Figure("class read, %", lambda one: 100 * one.class_accuracy),
    Figure("an object broken, %", lambda one: 100 * one.broken),
    Figure("any violation, %", lambda one: 100 * one.violations),
    Figure("violations a clip", lambda one: one.violations_per_clip, 2),
    Figure("motion error", lambda one: one.motion_error, 2),
)


@dataclass(frozen=True)
class Difference:
    """A difference of two rows over all pairs of equal budget and seed.

    Attributes:
        a: name of the row.
        b: name of the row that is subtracted.
        guidance: scale of both.
        figure: name of the figure.
        digits: to show.
        unit: ``%`` where it is in percent of b, else empty.
        budgets: of the pairs, in training steps.
        pairs: how many there are.
        agree: in how many of them the difference has the sign of the mean.
        mean: of a - b over the pairs; in percent it is the geometric mean of the ratios a / b, less 100%.
        low, high: its 95% interval by Student's t. The spread is that of the seeds within each budget, so
            what changes with the budget does not widen it; infinite with one seed.
    """

    a: str
    b: str
    guidance: float
    figure: str
    digits: int
    unit: str
    budgets: list[int | None]
    pairs: int
    agree: int
    mean: float
    low: float
    high: float

    @property
    def distinct(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def interval(self) -> str:
        """Low and high as text; empty where there is none."""
        if not math.isfinite(self.low):
            return ""
        return f"{self.low:+.{self.digits}f} .. {self.high:+.{self.digits}f}"

    @property
    def found(self) -> str:
        """What it says, in words."""
        side = "higher" if self.mean > 0 else "lower"
        share = f"{side} in {self.agree} of {self.pairs} pairs"
        if round(self.mean, self.digits) == 0:
            share = "no difference in the mean"
        if not math.isfinite(self.low):
            return f"{share}; one seed has no error"
        if self.distinct:
            return share
        most = max(abs(self.low), abs(self.high))
        return f"undecided, at most {most:.{self.digits}f}{self.unit} either way; {share}"


def difference(a: Sequence[Measured], b: Sequence[Measured], figure: Figure) -> Difference:
    """How far row ``a`` lies above row ``b``, over the pairs of equal budget and seed.

    Args:
        a: a row's measurements with one guidance scale.
        b: another's.
        figure: which.

    Raises:
        ValueError: if no budget and seed were measured of both.
    """
    of_b = {(one.budget, one.seed): figure.value(one) for one in b}
    found: dict[int | None, list[float]] = {}
    for one in a:
        if (one.budget, one.seed) in of_b:
            x, y = figure.value(one), of_b[one.budget, one.seed]
            found.setdefault(one.budget, []).append(math.log(x / y) if figure.relative else x - y)
    if not found:
        raise ValueError(f"{a[:1]} and {b[:1]} are of other budgets and seeds; pairs need the same")
    groups = [np.array(each) for each in found.values()]
    every = np.concatenate(groups)
    mean, freedom, half = float(every.mean()), len(every) - len(groups), math.inf
    if freedom > 0:
        squares = sum(float(((each - each.mean()) ** 2).sum()) for each in groups)
        half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(squares / freedom / len(every))
    low, high = mean - half, mean + half
    if figure.relative:
        mean, low, high = (100 * math.expm1(min(value, 700.0)) for value in (mean, low, high))
        low, high = (low, high) if freedom > 0 else (-math.inf, math.inf)
    digits, unit = (1, "%") if figure.relative else (figure.digits, "")
    agree = int((np.sign(every) == np.sign(mean)).sum())
    budgets = sorted(found, key=lambda budget: budget or 0)
    names = (a[0].row, b[0].row, a[0].guidance, figure.name, digits, unit, budgets)
    return Difference(*names, len(every), agree, mean, low, high)


def of_row(measured: Sequence[Measured], row: str, scale: float) -> list[Measured]:
    """A row's measurements with one guidance scale, by budget and seed."""
    chosen = [one for one in measured if one.row == row and one.guidance == scale]
    return sorted(chosen, key=lambda one: (one.budget or 0, one.seed))


def claimed(
    pairs: Sequence[tuple[str, str]], scales: Sequence[float], measured: Sequence[Measured]
) -> list[Difference]:
    """Each pair's differences in all figures and scales: pooled over budgets, and budget by budget.

    What has not been measured of both rows yet is left out. A loss has no scale: it is stated once.
    """
    found = []
    for a, b in pairs:
        for figure in FIGURES:
            for scale in scales if figure.of_clips else scales[:1]:
                row_a, row_b = of_row(measured, a, scale), of_row(measured, b, scale)
                budgets = _common_budgets(row_a, row_b)
                if budgets:
                    found.append(difference(row_a, row_b, figure))
                for budget in budgets if len(budgets) > 1 else []:
                    found.append(difference(_at(row_a, budget), _at(row_b, budget), figure))
    return found


def _at(row: Sequence[Measured], budget: int | None) -> list[Measured]:
    return [one for one in row if one.budget == budget]


def _common_budgets(a: Sequence[Measured], b: Sequence[Measured]) -> list[int | None]:
    """The budgets of which both have a seed in common, the longest last."""
    common = {(one.budget, one.seed) for one in a} & {(one.budget, one.seed) for one in b}
    return sorted({budget for budget, _ in common}, key=lambda budget: budget or 0)


@dataclass(frozen=True)
class Verdict:
    """What became of a goal: the difference at the longest budget, and ``met``, ``missed`` or ``open``.

    It is met where the whole interval lies within the limit, and missed where none of it does.
    """

    goal: Goal
    difference: Difference
    verdict: str


def verdicts(goals: Sequence[Goal], scales: Sequence[float], measured: Sequence[Measured]) -> list[Verdict]:
    """A verdict for every goal of which both rows have been measured, at each guidance scale."""
    found = []
    for goal in goals:
        figure = LOSS if goal.figure == "loss" else FVD
        for scale in scales if figure.of_clips else scales[:1]:
            row_a, row_b = of_row(measured, goal.a, scale), of_row(measured, goal.b, scale)
            budgets = _common_budgets(row_a, row_b)
            if budgets:
                longest = difference(_at(row_a, budgets[-1]), _at(row_b, budgets[-1]), figure)
                found.append(_verdict(goal, longest))
    return found


def _verdict(goal: Goal, found: Difference) -> Verdict:
    if found.high <= goal.at_most:
        return Verdict(goal, found, "met")
    return Verdict(goal, found, "missed" if found.low > goal.at_most else "open")

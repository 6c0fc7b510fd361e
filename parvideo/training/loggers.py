"""Logs: what a run writes down while training, as curves in files, and reading them back."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from parvideo.files import atomic_path

Points = list[tuple[int, float]]


class RunLog(Logger):
    """Writes metrics to ``logs/version_N/metrics.csv``, one row a call; N is new for every start of the run.

    A row is in the file when the call returns, and a file is never without the rows it had, whenever the
    run is killed. A row given twice is written once: a checkpoint's step is logged before it is saved, and
    then by Lightning, which logs after saving.
    """

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.run = run
        self._path: Path | None = None
        self._columns: list[str] = []
        self._rows: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Of the folder of all versions."""
        return "logs"

    @property
    def version(self) -> int | None:
        """The number of this start; None before the first row."""
        return None if self._path is None else _version(self._path.parent)

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.run)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder holds the whole config."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write a row."""
        row = {**metrics, "step": step}
        if self._rows and str(row) == str(self._rows[-1]):
            return
        self._rows.append(row)
        if self._path is None:
            taken = [_version(folder) for folder in (self.run / self.name).glob("version_*")]
            self._path = self.run / self.name / f"version_{max(taken, default=-1) + 1}" / "metrics.csv"
        if row.keys() <= set(self._columns):
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
            return
        self._columns = sorted({*self._columns, *row})
        with atomic_path(self._path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)


class RunBoard(TensorBoardLogger):
    """TensorBoard's files in ``tensorboard/``; a row given twice is written once, as by `RunLog`.

    There is no file before :meth:`begin`, or the first row: Lightning opens loggers before it looks at data
    and model, and a run that is refused for them claims no folder.
    """

    def __init__(self, run: Path) -> None:
        super().__init__(run, name="tensorboard", version="")
        self._last = ""
        self._begun = False

    def begin(self) -> None:
        """Open the file when it is asked for next."""
        self._begun = True

    @property
    def experiment(self) -> Any:
        """TensorBoard's writer; None before the run has begun."""
        return super().experiment if self._begun else None

    @rank_zero_only
    def save(self) -> None:
        """Flush what there is."""
        if self._begun:
            super().save()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write a row."""
        self.begin()
        if str((step, metrics)) != self._last:
            self._last = str((step, metrics))
            super().log_metrics(metrics, step)


def read_metrics(run: Path) -> dict[str, Points]:
    """The metrics of a run's CSV logs: name -> (step, value), steps rising.

    A resumed run logs anew from its checkpoint on; where two logs hold the same step, the later one counts.
    Steps are counted from 1, as steps done.
    """
    values: dict[str, dict[int, float]] = {}
    for folder in sorted((run / "logs").glob("version_*"), key=_version):
        if not (folder / "metrics.csv").is_file():
            continue
        with (folder / "metrics.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                for name, text in row.items():
                    if text and name not in ("step", "epoch"):
                        values.setdefault(name, {})[int(row["step"]) + 1] = float(text)
    return {name: sorted(points.items()) for name, points in values.items()}


def _version(folder: Path) -> int:
    return int(folder.name.split("_")[1])

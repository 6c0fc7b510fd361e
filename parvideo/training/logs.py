"""Logs: what a run wrote down while training, read back as curves."""

import csv
from pathlib import Path

Points = list[tuple[int, float]]


def read_metrics(run: Path) -> dict[str, Points]:
    """The metrics of a run's CSV logs: name -> (step, value), steps rising.

    A resumed run logs anew from its checkpoint on; where two logs hold the same step, the later one counts.
    Steps are counted from 1, as steps done.
    """
    folders = sorted((run / "logs").glob("version_*"), key=lambda path: int(path.name.split("_")[1]))
    values: dict[str, dict[int, float]] = {}
    for folder in folders:
        if not (folder / "metrics.csv").is_file():
            continue
        with (folder / "metrics.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                for name, text in row.items():
                    if text and name not in ("step", "epoch"):
                        values.setdefault(name, {})[int(row["step"]) + 1] = float(text)
    return {name: sorted(points.items()) for name, points in values.items()}

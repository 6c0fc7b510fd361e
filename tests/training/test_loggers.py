"""Metrics of a run that was resumed are one curve, of which no point is lost or doubled."""

import csv
from pathlib import Path

import pytest

from parvideo.training.loggers import RunLog, read_metrics


def log(run: Path, version: int, lines: list[str]) -> None:
    folder = run / "logs" / f"version_{version}"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("\n".join(["epoch,step,train/loss,val/loss", *lines]) + "\n")


def test_a_later_log_counts_where_two_overlap(tmp_path: Path) -> None:
    log(tmp_path, 2, ["0,9,3.0,", "0,19,2.0,", "0,29,1.5,"])
    log(tmp_path, 10, ["0,19,2.5,", "0,19,,4.0"])
    assert read_metrics(tmp_path) == {
        "train/loss": [(10, 3.0), (20, 2.5), (30, 1.5)],
        "val/loss": [(20, 4.0)],
    }


def test_no_log_no_curves(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == {}


def rows(run: Path, version: int = 0) -> list[dict[str, str]]:
    with (run / "logs" / f"version_{version}" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_is_in_the_file_at_once_and_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step, metrics in enumerate([{"a": 1.0}, {"a": 2.0}, {"a": 3.0, "b": float("nan")}, {"a": 4.0}]):
        log.log_metrics(metrics, step)
        log.log_metrics(metrics, step)
        assert [row["step"] for row in rows(tmp_path)] == [str(place) for place in range(step + 1)]
    assert [row["a"] for row in rows(tmp_path)] == ["1.0", "2.0", "3.0", "4.0"]
    assert [row["b"] for row in rows(tmp_path)] == ["", "", "nan", ""]
    log.log_metrics({"b": 5.0}, 3)  # another row of the same step
    assert read_metrics(tmp_path)["b"][-1] == (4, 5.0)


def test_killed_while_a_column_is_added_no_row_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RunLog(tmp_path)
    log.log_metrics({"a": 1.0}, 0)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(csv.DictWriter, "writerows", killed)
        with pytest.raises(KeyboardInterrupt):
            log.log_metrics({"b": 1.0}, 1)
    assert rows(tmp_path) == [{"a": "1.0", "step": "0"}]


def test_every_start_has_a_log_of_its_own(tmp_path: Path) -> None:
    for start in range(11):
        log = RunLog(tmp_path)
        assert log.version is None
        log.log_metrics({"a": float(start)}, 0)
        assert log.version == start
    assert read_metrics(tmp_path) == {"a": [(1, 10.0)]}

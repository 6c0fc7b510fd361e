"""Metrics of a run that was resumed are one curve."""

from pathlib import Path

from parvideo.training.logs import read_metrics


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

"""`parvideo compare-reports`: reports side by side; refused if not comparable."""

from pathlib import Path


def compare_reports(reports: list[Path], /) -> None:
    """Compare reports of `parvideo evaluate`; refused if protocol, feature network or real clips differ.

    Args:
        reports: two or more report.json files.
    """
    from parvideo.evaluation.report import compare, read_report

    print(compare([str(path) for path in reports], [read_report(path) for path in reports]), end="")

"""`parvideo evaluate`: score clips against real videos: FVD with its error, and a report."""

from typing import Any

from parvideo.jobs.options import EvaluateOptions


def evaluate(options: EvaluateOptions) -> dict[str, Any] | None:
    """Score generated clips (or a tokenizer's reconstructions) against real videos by FVD.

    Writes OUT (report.json), the same as a table beside it (.txt), and features into OUT's folder, from which
    an interrupted run goes on. Give exactly one of --model, --clips and --tokenizer. Features come from the
    I3D that `parvideo weights i3d` keeps, or from --i3d or --features. Any option that changes a field of the
    protocol makes it a custom one.

    Args:
        options: what to score, against what, and where to.

    Returns:
        The report; None in every process but the first.
    """
    from parvideo.evaluation.report import render
    from parvideo.jobs import evaluate as job
    from parvideo.jobs.self_test import self_test

    if options.self_test:
        return self_test(options.measure.i3d, options.extraction.accelerator, print)
    report = job.evaluate(options)
    if report is not None:
        print(render(report))
    return report

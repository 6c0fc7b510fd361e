"""`parvideo fvd-stats`: features of the real videos of a protocol, to use again."""

from parvideo.jobs.options import FvdStatsOptions


def fvd_stats(options: FvdStatsOptions) -> None:
    """Compute the features of the real clips once, for `parvideo evaluate --reference`.

    The file carries the hashes of protocol, feature network and data set; `evaluate` refuses it where one of
    them differs, so give the same protocol options to both. A protocol of several repeats chooses
    other clips for each, and the file holds them all. Goes on where it was interrupted.

    Args:
        options: whose features, and where to.
    """
    from parvideo.jobs import fvd_stats as job

    line = job.fvd_stats(options)
    if line is not None:
        print(line)

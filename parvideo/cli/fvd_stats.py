"""`parvideo fvd-stats`: features of the real videos of a protocol, to use again."""

from pathlib import Path

from parvideo.jobs.protocol_options import UNCHANGED, ProtocolOptions


def fvd_stats(
    real: Path,
    out: Path,
    i3d: Path | None = None,
    features: Path | None = None,
    protocol_options: ProtocolOptions = UNCHANGED,
    split_index: int = 1,
    annotations: Path | None = None,
    batch_size: int = 16,
    workers: int = 2,
    devices: int = 1,
    accelerator: str = "auto",
) -> None:
    """Compute the features of the real clips once, for `parvideo evaluate --reference`.

    The file carries the hashes of protocol, feature network and data set; `evaluate` refuses it where one of
    them differs, so give the same protocol options to both. A protocol of several repeats chooses
    other clips for each, and the file holds them all. Goes on where it was interrupted.

    Args:
        real: folder of real videos (UCF-101 or class folders).
        out: the file to write, ending in .npz.
        i3d: Kinetics-400 I3D weights of your own, instead of those that `parvideo weights i3d` keeps.
        features: folder of a small feature network instead.
        protocol_options: those of the evaluations to come.
        split_index: which of UCF-101's three splits.
        annotations: folder of UCF-101's lists, if it is neither in nor beside the real videos.
        batch_size: clips at a time.
        workers: processes that read videos.
        devices: how many devices.
        accelerator: auto, cpu, gpu, ...
    """
    from parvideo.jobs import fvd_stats as job

    line = job.fvd_stats(
        real,
        out,
        i3d,
        features,
        protocol_options,
        split_index,
        annotations,
        batch_size,
        workers,
        devices,
        accelerator,
    )
    if line is not None:
        print(line)

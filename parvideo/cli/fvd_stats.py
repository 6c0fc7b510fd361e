"""`parvideo fvd-stats`: features of the real videos of a protocol, to use again."""

from pathlib import Path
from typing import Literal

from parvideo.checks import at_least


def fvd_stats(
    real: Path,
    out: Path,
    i3d: Path | None = None,
    features: Path | None = None,
    protocol: str = "larp-10k",
    split: Literal["train", "test", "all"] | None = None,
    split_index: int = 1,
    annotations: Path | None = None,
    clip_policy: Literal["non-overlapping", "random", "center"] | None = None,
    frames: int | None = None,
    stride: int | None = None,
    fps: float | None = None,
    size: int | None = None,
    real_count: int | None = None,
    fake_count: int | None = None,
    label_policy: Literal["copy-real", "uniform"] | None = None,
    repeats: int | None = None,
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
        protocol: larp-10k, magvit-10k, stylegan-v-2048, tats-2048, videogpt-256, nbp-10k or ucf101-six-64.
        split: which real videos.
        split_index: which of UCF-101's three splits.
        annotations: folder of UCF-101's lists, if it is neither in nor beside the real videos.
        clip_policy: which clips of a real video.
        frames: frames of a clip.
        stride: source frames from one frame of a clip to the next.
        fps: frames a second of the clips, instead of a stride.
        size: height and width of the clips.
        real_count: real clips; 0 for all there are.
        fake_count: generated clips of the evaluations to come.
        label_policy: of the evaluations to come.
        repeats: of the evaluations to come.
        batch_size: clips at a time.
        workers: processes that read videos.
        devices: how many devices.
        accelerator: auto, cpu, gpu, ...
    """
    from parvideo.cli.evaluate import choose_extractor, choose_protocol
    from parvideo.datasets import load_videos
    from parvideo.evaluation.feature_store import FeatureStore, save_reference
    from parvideo.evaluation.sources import RealClips
    from parvideo.files import check_target
    from parvideo.jobs.devices import launch
    from parvideo.jobs.extract_features import extract_features, place
    from parvideo.training.data import say_listing

    at_least(1, batch_size=batch_size)
    at_least(0, workers=workers)
    if out.suffix != ".npz":
        raise ValueError(f"out is {out}; it must end in .npz")
    chosen = choose_protocol(
        protocol,
        split=split,
        clip_policy=clip_policy,
        frames=frames,
        stride=stride,
        fps=fps,
        size=size,
        real_count=real_count,
        fake_count=fake_count,
        label_policy=label_policy,
        repeats=repeats,
    )
    check_target(out)
    extractor = choose_extractor(i3d, features, chosen)
    fabric = launch(accelerator, devices)
    place(extractor, fabric)
    listed, fingerprint = load_videos(real, chosen.split, split_index, annotations), extractor.fingerprint
    stores = []
    for repeat in range(chosen.repeats):
        source = RealClips(listed, chosen, repeat, workers)
        if repeat == 0:
            say_listing(real, listed, source.dataset)
        header = {"protocol": chosen.hash, "extractor": fingerprint, "dataset": source.manifest}
        store = FeatureStore(out.with_suffix("") / (f"shards-{repeat}" if repeat else "shards"), header)
        form = (chosen.frames, chosen.size, batch_size, "real", chosen.window)
        extract_features(source, store, extractor, fabric, *form)
        stores.append((store, header))
    if fabric.global_rank == 0:
        save_reference(out, [(store.load(), header) for store, header in stores])
        times = f", chosen {chosen.repeats} times," if chosen.repeats > 1 else ""
        print(f"{len(source.ids)} real clips{times} of protocol {chosen.name} ({chosen.hash[:12]}) in {out}")

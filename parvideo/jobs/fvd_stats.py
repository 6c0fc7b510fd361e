"""Reference statistics: the features of a protocol's real clips, kept for later evaluations."""

from pathlib import Path

from parvideo.checks import at_least
from parvideo.datasets import load_videos
from parvideo.evaluation.feature_store import FeatureStore, save_reference
from parvideo.evaluation.sources import RealClips
from parvideo.files import check_target
from parvideo.jobs.devices import launch
from parvideo.jobs.extract_features import choose_extractor, extract_features, to_device
from parvideo.jobs.protocol_options import UNCHANGED, ProtocolOptions
from parvideo.training.data import say_listing


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
) -> str | None:
    """Write the features of the real clips; the arguments are those of `parvideo fvd-stats`.

    Returns:
        What was written, in a line; None in every process but the first.

    Raises:
        ValueError: if ``out`` does not end in .npz, or its folder of shards holds other features.
    """
    at_least(1, batch_size=batch_size)
    at_least(0, workers=workers)
    if out.suffix != ".npz":
        raise ValueError(f"out is {out}; it must end in .npz")
    chosen = protocol_options.build()
    check_target(out)
    extractor = choose_extractor(i3d, features, chosen)
    fabric = launch(accelerator, devices)
    to_device(extractor, fabric)
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
    if not fabric.is_global_zero:
        return None
    save_reference(out, [(store.load(), header) for store, header in stores])
    times = f", chosen {chosen.repeats} times," if chosen.repeats > 1 else ""
    return f"{len(source.ids)} real clips{times} of protocol {chosen.name} ({chosen.hash[:12]}) in {out}"

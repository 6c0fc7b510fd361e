"""Reference statistics: the features of a protocol's real clips, kept for later evaluations."""

from parvideo.evaluation.feature_store import FeatureStore, save_reference
from parvideo.evaluation.sources import RealClips
from parvideo.files import check_target
from parvideo.jobs.devices import launch
from parvideo.jobs.extract_features import choose_extractor, extract_features, to_device
from parvideo.jobs.options import FvdStatsOptions
from parvideo.training.data import say_listing


def fvd_stats(options: FvdStatsOptions) -> str | None:
    """Write the features of the real clips.

    Args:
        options: whose features, and where to.

    Returns:
        What was written, in a line; None in every process but the first.

    Raises:
        ValueError: if ``out``'s folder of shards holds other features.
    """
    out, measure, extraction = options.out, options.measure, options.extraction
    chosen = measure.protocol_options.build()
    check_target(out)
    extractor = choose_extractor(measure.i3d, measure.features, chosen)
    fabric = launch(extraction.accelerator, extraction.devices)
    to_device(extractor, fabric)
    listed, fingerprint = measure.list_videos(options.real, chosen.split), extractor.fingerprint
    stores = []
    for repeat in range(chosen.repeats):
        source = RealClips(listed, chosen, repeat, extraction.workers)
        if repeat == 0:
            say_listing(options.real, listed, source.dataset)
        header = {"protocol": chosen.hash, "extractor": fingerprint, "dataset": source.manifest}
        store = FeatureStore(out.with_suffix("") / (f"shards-{repeat}" if repeat else "shards"), header)
        form = (chosen.frames, chosen.size, extraction.batch_size, "real", chosen.window)
        extract_features(source, store, extractor, fabric, *form)
        stores.append((store, header))
    if not fabric.is_global_zero:
        return None
    save_reference(out, [(store.load(), header) for store, header in stores])
    times = f", chosen {chosen.repeats} times," if chosen.repeats > 1 else ""
    return f"{len(source.ids)} real clips{times} of protocol {chosen.name} ({chosen.hash[:12]}) in {out}"

"""Evaluating: from generated clips and real videos to a report that can be traced; goes on where it was."""

import time
from pathlib import Path
from typing import Any

from parvideo.checks import check_seed
from parvideo.evaluation.feature_store import FeatureSet, FeatureStore, load_reference
from parvideo.evaluation.protocols import WITH_HELD_OUT
from parvideo.evaluation.report import Subject, make_report, write_report
from parvideo.evaluation.sources import ClipSource, RealClips
from parvideo.evaluation.splits import HeldOut
from parvideo.files import check_target
from parvideo.jobs.devices import launch
from parvideo.jobs.extract_features import choose_extractor, describe_extractor, extract_features, to_device
from parvideo.jobs.options import EvaluateOptions
from parvideo.jobs.scoring_request import ScoringRequest
from parvideo.training.data import say_listing


def evaluate(options: EvaluateOptions) -> dict[str, Any] | None:
    """Score clips against real videos and write the report.

    Args:
        options: what to score, against what, and where to.

    Returns:
        The report; None in every process but the first.

    Raises:
        ValueError: if what is to be scored does not fit the protocol, or the folder of features beside
            ``out`` holds those of something else.
    """
    started = time.monotonic()
    real, out, measure, extraction = options.real, options.out, options.measure, options.extraction
    if real is None or out is None:
        raise ValueError("a self-test scores no clips; it is parvideo.jobs.self_test")
    chosen = measure.protocol_options.build()
    if options.model is not None:
        check_seed(options.generation.seed + chosen.repeats - 1, "the seed of the last repetition")
    held_out = options.held_out
    wants_held_out = held_out == "yes" or options.held_out_reference is not None
    wants_held_out |= (
        held_out == "auto" and measure.protocol_options.protocol in WITH_HELD_OUT and chosen.split == "train"
    )
    if wants_held_out and chosen.split != "train":
        raise ValueError(f"split is {chosen.split}: --held-out sets the test split beside the train split")
    extractor = choose_extractor(measure.i3d, measure.features, chosen)
    fabric = launch(extraction.accelerator, extraction.devices)
    to_device(extractor, fabric)
    listed = measure.list_videos(real, chosen.split)
    request = ScoringRequest(listed, options, fabric.device)
    first = request.real_clips(chosen, 0)
    say_listing(real, listed, first.dataset)
    notes = request.check_format(chosen, first)
    for target in (out, out.with_suffix(".txt")):
        check_target(target)
    folder = out.parent / f"{out.stem}-features"

    def featurize(source: ClipSource, name: str, header: dict[str, str]) -> FeatureSet:
        store = FeatureStore(folder / name, header | {"extractor": extractor.fingerprint})
        title = name.rstrip("-0123456789")
        form = (chosen.frames, chosen.size, extraction.batch_size, title, chosen.window)
        notes.extend(extract_features(source, store, extractor, fabric, *form))
        return store.load()

    def real_features(
        source: RealClips, name: str, protocol_hash: str, reference: Path | None, repeat: int = 0
    ) -> FeatureSet:
        header = {"protocol": protocol_hash, "dataset": source.manifest}
        if reference is not None:
            return load_reference(reference, header | {"extractor": extractor.fingerprint}, repeat)[0]
        return featurize(source, name, header)

    sets = []
    count = chosen.repeats if options.model is not None else 1
    for repeat in range(count):
        source = first if repeat == 0 else request.real_clips(chosen, repeat)
        real_set = real_features(source, f"real-{repeat}", chosen.hash, options.reference, repeat)
        fake = request.fake_clips(chosen, repeat, source, real_set)
        header = {"protocol": chosen.hash, "clips": fake.manifest}
        sets.append((real_set, featurize(fake, f"generated-{repeat}", header)))
        if repeat == 0:
            fake_info = fake.description
        notes += [note for note in (*source.notes, *fake.notes) if note not in notes]
    other = None
    if wants_held_out:
        their = chosen.customized(split="test")
        source = request.held_out_clips(measure.list_videos(real, "test"), their)
        held_real = real_features(source, "held-out", their.hash, options.held_out_reference)
        held_fake = sets[0][1]
        if options.tokenizer is not None:
            decoded = request.fake_clips(their, 0, source, held_real)
            header = {"protocol": their.hash, "clips": decoded.manifest}
            held_fake = featurize(decoded, "held-out-generated", header)
        other = HeldOut(held_real, held_fake, their.hash, source.description)
        notes += [f"held-out: {note}" for note in source.notes]
    report = make_report(
        sets,
        chosen,
        Subject(
            generated=fake_info,
            real={"folder": str(real), **first.description},
            extractor=describe_extractor(extractor, measure.features),
            comparability=extractor.comparability,
            lossy=fake.lossy,
            logits=getattr(extractor, "gives_logits", False),
            paired=options.tokenizer is not None,
            class_names=first.class_names,
            notes=notes,
            wall_seconds=time.monotonic() - started,
            held_out=other,
        ),
    )
    if not fabric.is_global_zero:
        return None
    write_report(out, report)
    return report

"""Evaluating: from generated clips and real videos to a report that can be traced; goes on where it was."""

import time
from pathlib import Path
from typing import Any, Literal

from parvideo.checks import at_least, check_seed
from parvideo.datasets import load_videos
from parvideo.evaluation.feature_store import FeatureSet, FeatureStore, load_reference
from parvideo.evaluation.protocols import WITH_HELD_OUT
from parvideo.evaluation.report import Subject, make_report, write_report
from parvideo.evaluation.sources import ClipSource, RealClips
from parvideo.evaluation.splits import HeldOut
from parvideo.files import check_target
from parvideo.jobs.devices import launch
from parvideo.jobs.extract_features import choose_extractor, describe_extractor, extract_features, to_device
from parvideo.jobs.generation_options import PLAIN, GenerationOptions
from parvideo.jobs.protocol_options import UNCHANGED, ProtocolOptions
from parvideo.jobs.scoring_request import ScoringRequest
from parvideo.training.data import say_listing


def evaluate(
    real: Path,
    out: Path,
    model: Path | None = None,
    clips: Path | None = None,
    tokenizer: Path | None = None,
    i3d: Path | None = None,
    features: Path | None = None,
    protocol_options: ProtocolOptions = UNCHANGED,
    split_index: int = 1,
    annotations: Path | None = None,
    reference: Path | None = None,
    held_out: Literal["auto", "yes", "no"] = "auto",
    held_out_reference: Path | None = None,
    generation: GenerationOptions = PLAIN,
    batch_size: int = 16,
    workers: int = 2,
    devices: int = 1,
    accelerator: str = "auto",
    allow_lossy: bool = False,
) -> dict[str, Any] | None:
    """Score clips against real videos and write the report; the arguments are those of `parvideo evaluate`.

    Returns:
        The report; None in every process but the first.

    Raises:
        ValueError: unless exactly one of model, clips and tokenizer is given, or if what is to be scored does
            not fit the protocol, or the folder of features beside ``out`` holds those of something else.
    """
    started = time.monotonic()
    asked = {"model": model, "clips": clips, "tokenizer": tokenizer}
    given = [name for name, value in asked.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of --model, --clips and --tokenizer, got {given or 'none'}")
    if model is None and generation != PLAIN:
        changed = [name for name, value in vars(generation).items() if value != getattr(PLAIN, name)]
        raise ValueError(
            f"{', '.join(changed)} are about generating with --model; {given[0]} is scored as it is"
        )
    if out.suffix != ".json":
        raise ValueError(f"out is {out}; it must end in .json")
    at_least(1, batch_size=batch_size)
    at_least(0, workers=workers)
    generation.config()  # refused before anything is read
    chosen = protocol_options.build()
    if model is not None:
        check_seed(generation.seed + chosen.repeats - 1, "the seed of the last repetition")
    wants_held_out = held_out == "yes" or held_out_reference is not None
    wants_held_out |= (
        held_out == "auto" and protocol_options.protocol in WITH_HELD_OUT and chosen.split == "train"
    )
    if wants_held_out and chosen.split != "train":
        raise ValueError(f"split is {chosen.split}: --held-out sets the test split beside the train split")
    if wants_held_out and held_out == "no":
        raise ValueError("held-out is no, and --held-out-reference is given; leave out one of them")
    extractor = choose_extractor(i3d, features, chosen)
    fabric = launch(accelerator, devices)
    to_device(extractor, fabric)
    listed = load_videos(real, chosen.split, split_index, annotations)
    request = ScoringRequest(listed, model, clips, tokenizer, allow_lossy, workers, generation, fabric.device)
    first = request.real_clips(chosen, 0)
    say_listing(real, listed, first.dataset)
    notes = request.check_form(chosen, first)
    for target in (out, out.with_suffix(".txt")):
        check_target(target)
    folder = out.parent / f"{out.stem}-features"

    def featurize(source: ClipSource, name: str, header: dict[str, str]) -> FeatureSet:
        store = FeatureStore(folder / name, header | {"extractor": extractor.fingerprint})
        title = name.rstrip("-0123456789")
        form = (chosen.frames, chosen.size, batch_size, title, chosen.window)
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
    count = chosen.repeats if model is not None else 1
    for repeat in range(count):
        source = first if repeat == 0 else request.real_clips(chosen, repeat)
        real_set = real_features(source, f"real-{repeat}", chosen.hash, reference, repeat)
        fake = request.fake_clips(chosen, repeat, source, real_set)
        header = {"protocol": chosen.hash, "clips": fake.manifest}
        sets.append((real_set, featurize(fake, f"generated-{repeat}", header)))
        if repeat == 0:
            fake_info = fake.description
        notes += [note for note in (*source.notes, *fake.notes) if note not in notes]
    other = None
    if wants_held_out:
        their = chosen.customized(split="test")
        source = request.held_out_clips(load_videos(real, "test", split_index, annotations), their)
        held_real = real_features(source, "held-out", their.hash, held_out_reference)
        held_fake = sets[0][1]
        if tokenizer is not None:
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
            extractor=describe_extractor(extractor, features),
            comparability=extractor.comparability,
            lossy=fake.lossy,
            logits=getattr(extractor, "gives_logits", False),
            paired=tokenizer is not None,
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

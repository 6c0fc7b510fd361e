"""`parvideo evaluate`: score clips against real videos: FVD with its error, and a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from parvideo.checks import at_least
from parvideo.jobs.generation_options import PLAIN, GenerationOptions

if TYPE_CHECKING:
    from parvideo.evaluation.feature_store import FeatureSet
    from parvideo.evaluation.protocols import Protocol
    from parvideo.evaluation.sources import ClipSource, RealClips
    from parvideo.metrics.extractors.i3d import FeatureExtractor


def evaluate(
    real: Path | None = None,
    out: Path | None = None,
    model: Path | None = None,
    clips: Path | None = None,
    tokenizer: Path | None = None,
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
    reference: Path | None = None,
    held_out: Literal["auto", "yes", "no"] = "auto",
    held_out_reference: Path | None = None,
    generation: GenerationOptions = PLAIN,
    batch_size: int = 16,
    workers: int = 2,
    devices: int = 1,
    accelerator: str = "auto",
    allow_lossy: bool = False,
    self_test: bool = False,
) -> dict[str, Any]:
    """Score generated clips (or a tokenizer's reconstructions) against real videos by FVD.

    Writes OUT (report.json), the same as a table beside it (.txt), and features into OUT's folder, from which
    an interrupted run goes on. Give exactly one of --model, --clips and --tokenizer. Features come from the
    I3D that `parvideo weights i3d` keeps, or from --i3d or --features. Any option that changes a field of the
    protocol makes it a custom one.

    Args:
        real: folder of real videos (UCF-101 or class folders).
        out: the report, a file ending in .json.
        model: a generator's folder; clips are generated as they are scored.
        clips: folder of generated clips, .npz or .npy as `parvideo sample` writes them.
        tokenizer: a tokenizer's folder; its reconstructions are scored against their originals (rFVD).
        i3d: Kinetics-400 I3D weights of your own: state dict, safetensors or TorchScript.
        features: folder of a small feature network; the number compares with nothing published.
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
        fake_count: generated clips.
        label_policy: which classes are generated.
        repeats: independent repetitions.
        reference: features of the real clips, written by `parvideo fvd-stats`.
        held_out: whether the report also holds the test split: its FVD, and class accuracy by a linear probe;
            auto: under ucf101-six-64 only.
        held_out_reference: features of the test split, written by `parvideo fvd-stats --split test`.
        generation: how a model generates; each repetition takes the next seed.
        batch_size: clips at a time.
        workers: processes that read videos.
        devices: how many devices.
        accelerator: auto, cpu, gpu, ...
        allow_lossy: score compressed video; the report says so.
        self_test: score nothing; make the known clips, and show whether the I3D gives their known logits,
            FVD and KVD on this machine.

    Returns:
        The report.
    """
    import time

    from parvideo.checks import check_seed
    from parvideo.datasets import load_videos
    from parvideo.evaluation.feature_store import FeatureStore, load_reference
    from parvideo.evaluation.protocols import WITH_HELD_OUT
    from parvideo.evaluation.report import Subject, make_report, render, write_report
    from parvideo.evaluation.splits import HeldOut
    from parvideo.jobs.devices import launch
    from parvideo.jobs.extract_features import extract_features, place
    from parvideo.jobs.scoring_request import ScoringRequest
    from parvideo.training.data import say_listing

    if self_test:
        return _self_test(i3d, accelerator)
    if real is None or out is None:
        raise ValueError("give --real, a folder of real videos, and --out, the report's file")
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
    if model is not None:
        check_seed(generation.seed + chosen.repeats - 1, "the seed of the last repetition")
    wants_held_out = held_out == "yes" or held_out_reference is not None
    wants_held_out |= held_out == "auto" and protocol in WITH_HELD_OUT and chosen.split == "train"
    if wants_held_out and chosen.split != "train":
        raise ValueError(f"split is {chosen.split}: --held-out sets the test split beside the train split")
    if wants_held_out and held_out == "no":
        raise ValueError("held-out is no, and --held-out-reference is given; leave out one of them")
    extractor = choose_extractor(i3d, features, chosen)
    fabric = launch(accelerator, devices)
    place(extractor, fabric)
    listed = load_videos(real, chosen.split, split_index, annotations)
    request = ScoringRequest(listed, model, clips, tokenizer, allow_lossy, workers, generation, fabric.device)
    first = request.real_clips(chosen, 0)
    say_listing(real, listed, first.dataset)
    notes = request.check_form(chosen, first)
    folder = out.parent / f"{out.stem}-features"

    def featurize(source: "ClipSource", name: str, header: dict[str, str]) -> "FeatureSet":
        store = FeatureStore(folder / name, header | {"extractor": extractor.fingerprint})
        title = name.rstrip("-0123456789")
        form = (chosen.frames, chosen.size, batch_size, title, chosen.window)
        notes.extend(extract_features(source, store, extractor, fabric, *form))
        return store.load()

    def real_features(
        source: "RealClips", name: str, protocol_hash: str, reference: Path | None, repeat: int = 0
    ) -> "FeatureSet":
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
    if fabric.global_rank == 0:
        write_report(out, report)
        print(render(report))
    return report


def _self_test(i3d: Path | None, accelerator: str) -> dict[str, Any]:
    """Ask the I3D about the known clips, print what it says, and raise ValueError if it is wrong."""
    from parvideo.jobs.devices import launch
    from parvideo.jobs.extract_features import place
    from parvideo.metrics import known_clips
    from parvideo.metrics.extractors import i3d_weights
    from parvideo.metrics.extractors.i3d import I3DExtractor

    extractor = I3DExtractor(i3d_weights.find(i3d), bn_eps=i3d_weights.BN_EPS)
    device = launch(accelerator, 1)
    place(extractor, device)
    found = known_clips.measure(extractor)
    comparison = known_clips.compare(found, known_clips.expected())
    print(comparison.table())
    if not comparison.passed:
        raise ValueError(
            f"{extractor.path} on {device.device} does not give the known answers, which hold for the "
            f"weights of `{i3d_weights.COMMAND}` in float32: numbers made here do not compare"
        )
    print(f"the known answers are met on {device.device}")
    return {"logits_difference": comparison.rows[0][3], "fvd": found.fvd, "kvd": found.kvd}


def choose_protocol(name: str, **changes: Any) -> "Protocol":
    """The named protocol with the fields that are not None changed.

    Raises:
        ValueError: if there is none of that name, or a value is not allowed.
    """
    from parvideo.evaluation.protocols import get_protocol

    return get_protocol(name).customized(**changes)


def choose_extractor(i3d: Path | None, features: Path | None, protocol: "Protocol") -> "FeatureExtractor":
    """The feature network asked for, or else the I3D in the user's cache folder, as the protocol sets it up.

    Raises:
        FileNotFoundError: if neither is given and `parvideo weights i3d` has not been run.
        ValueError: if both are given, or a file does not fit.
    """
    from parvideo.files import read_json
    from parvideo.metrics.extractors import i3d_weights
    from parvideo.metrics.extractors import torchscript as scripted
    from parvideo.metrics.extractors.i3d import I3DExtractor
    from parvideo.metrics.extractors.small_i3d import SmallI3DExtractor

    if i3d is not None and features is not None:
        raise ValueError(
            f"i3d is {i3d} and features is {features}; give one of them: I3D weights, or a small network of "
            "your own (not comparable with published FVD)"
        )
    if features is not None:
        config = read_json(features / "config.json")
        if isinstance(config, dict) and config.get("kind") == scripted.KIND:
            return scripted.ScriptedExtractor(features)
        return SmallI3DExtractor.load(features)
    return I3DExtractor(i3d_weights.find(i3d), protocol.tap, protocol.network_resize, protocol.bn_eps)


def describe_extractor(extractor: "FeatureExtractor", features: Path | None) -> dict[str, Any]:
    """What the report says of the feature network."""
    return {
        "name": type(extractor).__name__,
        "fingerprint": extractor.fingerprint,
        "dim": extractor.dim,
        "path": str(getattr(extractor, "path", features)),
        "weights_sha256": getattr(extractor, "weights_sha256", None),
    }

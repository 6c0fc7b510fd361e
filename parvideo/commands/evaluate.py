"""`parvideo evaluate`: score generated clips against real ones and write a report that can be traced."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from parvideo.commands.generation import PLAIN, GenerationOptions
from parvideo.commands.numbers import at_least

if TYPE_CHECKING:
    import torch

    from parvideo.datasets import VideoInfo, VideoList
    from parvideo.metrics.extractors import FeatureExtractor
    from parvideo.metrics.features import FeatureSet
    from parvideo.metrics.protocols import Protocol
    from parvideo.pipeline import VideoPipeline
    from parvideo.training.clip_sources import ClipSource, RealClips


def evaluate(
    real: Path,
    out: Path,
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
    generation: GenerationOptions = PLAIN,
    batch_size: int = 16,
    workers: int = 2,
    devices: int = 1,
    accelerator: str = "auto",
    allow_lossy: bool = False,
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
        protocol: larp-10k, magvit-10k, stylegan-v-2048, tats-2048 or videogpt-256.
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
        generation: how a model generates; each repetition takes the next seed.
        batch_size: clips at a time.
        workers: processes that read videos.
        devices: how many devices.
        accelerator: auto, cpu, gpu, ...
        allow_lossy: score compressed video; the report says so.

    Returns:
        The report.
    """
    import time

    from parvideo.datasets import load_videos
    from parvideo.metrics.features import FeatureStore, load_reference
    from parvideo.metrics.report import Subject, make_report, render, write_report
    from parvideo.seeds import check_seed
    from parvideo.training.data import say_listing
    from parvideo.training.devices import launch
    from parvideo.training.scoring import extract_features, place

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
    extractor = choose_extractor(i3d, features, chosen)
    fabric = launch(accelerator, devices)
    place(extractor, fabric)
    listed = load_videos(real, chosen.split, split_index, annotations)
    request = _Request(listed, model, clips, tokenizer, allow_lossy, workers, generation, fabric.device)
    fingerprint = extractor.fingerprint
    folder = out.parent / f"{out.stem}-features"
    sets, notes = [], []
    count = chosen.repeats if model is not None else 1
    for repeat in range(count):
        source = request.real_clips(chosen, repeat)
        if repeat == 0:
            say_listing(real, listed, source.dataset)
        header = {"protocol": chosen.hash, "extractor": fingerprint, "dataset": source.manifest}
        if reference is not None:
            real_set, _ = load_reference(reference, header, repeat)
        else:
            store = FeatureStore(folder / f"real-{repeat}", header)
            extract_features(source, store, extractor, fabric, chosen.frames, chosen.size, batch_size, "real")
            real_set = store.load()
        fake = request.fake_clips(chosen, repeat, source, real_set)
        header = {"protocol": chosen.hash, "extractor": fingerprint, "clips": fake.manifest}
        store = FeatureStore(folder / f"generated-{repeat}", header)
        notes += extract_features(
            fake, store, extractor, fabric, chosen.frames, chosen.size, batch_size, "generated"
        )
        sets.append((real_set, store.load()))
        if repeat == 0:
            real_info, fake_info = source.description, fake.description
        notes += [note for note in (*source.notes, *fake.notes) if note not in notes]
    report = make_report(
        sets,
        chosen,
        Subject(
            generated=fake_info,
            real={"folder": str(real), **real_info},
            extractor=describe_extractor(extractor, features),
            comparability=extractor.comparability,
            lossy=fake.lossy,
            logits=getattr(extractor, "gives_logits", False),
            paired=tokenizer is not None,
            class_count=source.class_count,
            notes=notes,
            wall_seconds=time.monotonic() - started,
        ),
    )
    if fabric.global_rank == 0:
        write_report(out, report)
        print(render(report))
    return report


def choose_protocol(name: str, **changes: Any) -> "Protocol":
    """The named protocol with the fields that are not None changed.

    Raises:
        ValueError: if there is none of that name, or a value is not allowed.
    """
    from parvideo.metrics.protocols import get_protocol

    return get_protocol(name).customized(**changes)


def choose_extractor(i3d: Path | None, features: Path | None, protocol: "Protocol") -> "FeatureExtractor":
    """The feature network asked for, or else the I3D in the user's cache folder, as the protocol sets it up.

    Raises:
        FileNotFoundError: if neither is given and `parvideo weights i3d` has not been run.
        ValueError: if both are given, or a file does not fit.
    """
    from parvideo.files import read_json
    from parvideo.metrics import i3d_weights, scripted
    from parvideo.metrics.classifier import SmallI3DExtractor
    from parvideo.metrics.extractors import I3DExtractor

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


@dataclass
class _Request:
    """What is to be scored, as asked for on the command line; what that takes is loaded once.

    Attributes:
        videos: the real ones.
        model, clips, tokenizer: one of them is not None.
        allow_lossy: whether clips may be compressed video.
        workers: processes that read videos.
        generation: how the model generates.
        device: where.
    """

    videos: "VideoList"
    model: Path | None
    clips: Path | None
    tokenizer: Path | None
    allow_lossy: bool
    workers: int
    generation: GenerationOptions
    device: "torch.device"
    _infos: "dict[str, VideoInfo] | None" = None

    def real_clips(self, protocol: "Protocol", repeat: int) -> "RealClips":
        """The real clips of a repetition."""
        from parvideo.training.clip_sources import RealClips

        source = RealClips(self.videos, protocol, repeat, self.workers, self._infos)
        self._infos = source.infos
        return source

    def fake_clips(
        self, protocol: "Protocol", repeat: int, source: "RealClips", real: "FeatureSet"
    ) -> "ClipSource":
        """The clips that are scored against them."""
        from dataclasses import replace

        from parvideo.pretrained import load_tokenizer
        from parvideo.training import clip_sources

        if self.clips is not None:
            return clip_sources.SavedClips(self.clips, self.allow_lossy, source.class_count)
        if self.tokenizer is not None:
            network = load_tokenizer(self.tokenizer, self.device)
            return clip_sources.ReconstructedClips(source, network, self.tokenizer)
        assert self.model is not None
        pipeline, options = self._pipeline, self.generation
        classes = len(pipeline.class_names)
        if options.unconditional:
            labels = [classes] * protocol.fake_count
        elif classes != source.class_count:
            raise ValueError(f"the model has {classes} classes, the real videos {source.class_count}")
        elif protocol.label_policy == "copy-real":
            labels = clip_sources.copied_labels(real, protocol.fake_count, protocol.clip_seed)
        else:
            labels = clip_sources.uniform_labels(protocol.fake_count, classes)
        return clip_sources.GeneratedClips(
            pipeline,
            labels,
            replace(options.config(), seed=options.seed + repeat),
            self.model,
            options.latent_frames,
            options.overlap,
            self._models,
        )

    @cached_property
    def _pipeline(self) -> "VideoPipeline":
        from parvideo.pipeline import VideoPipeline

        assert self.model is not None
        pipeline = VideoPipeline.from_pretrained(self.model, self.device)
        self.generation.prepare(pipeline)
        return pipeline

    @cached_property
    def _models(self) -> dict[str, str]:
        from parvideo.training.clip_sources import identify

        assert self.model is not None
        return identify(self.model)

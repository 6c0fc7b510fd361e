"""What each job is asked for: every option of a command is written here once, with its default and check."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from parvideo.checks import at_least, check_seed, positive
from parvideo.jobs.clip_format_options import AS_TRAINED, ClipFormatOptions
from parvideo.jobs.generation_options import PLAIN, GenerationOptions
from parvideo.jobs.protocol_options import UNCHANGED, ProtocolOptions

if TYPE_CHECKING:
    from parvideo.datasets import VideoList


@dataclass(frozen=True)
class SampleOptions:
    """What `parvideo sample` generates, and where to.

    Attributes:
        model: a generator's run folder or model folder; or, where there is no such folder, owner/name or
            owner/name@revision on the Hub.
        out: folder for the clips.
        class_: class name; may be repeated; every class if neither this nor an index is given.
        class_index: class by its index, counted from 0; may be repeated; indices follow names.
        num: clips of each class, or of each of the first frames.
        generation: how to generate.
        first_frames: a video or image, or a folder of them, that clips go on from; with one class for all of
            them, or one for each in the order of their names.
        given_frames: how many first frames are given of each, as many as the tokenizer encodes: 1, or 1 + k
            times its frames a latent frame.
        batch_size: clips generated together; if not given as many as half of the free memory holds (a power
            of two, up to 16 on a CPU and 256 on CUDA, where it is halved should memory run out).
        clips_per_file: clips in one .npz; a stopped run goes on with the first file that is not finished.
        previews: how many clips get an .mp4, spread evenly over the classes.
        fps: frames a second of the .mp4; as the model was trained, if not given.
        devices: how many devices generate; the clips do not depend on it.
        accelerator: auto, cpu, gpu, ...

    Raises:
        ValueError: if a number lies outside its range, or two options contradict each other.
    """

    model: Path
    out: Path
    class_: list[str] | None = None
    class_index: list[int] | None = None
    num: int = 1
    generation: GenerationOptions = PLAIN
    first_frames: Path | None = None
    given_frames: int = 1
    batch_size: int | None = None
    clips_per_file: int = 16
    previews: int = 64
    fps: float | None = None
    devices: int = 1
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        at_least(1, num=self.num, clips_per_file=self.clips_per_file, given_frames=self.given_frames)
        at_least(1, batch_size=self.batch_size)
        at_least(0, previews=self.previews)
        positive(fps=self.fps)
        if self.first_frames is None and self.given_frames > 1:
            raise ValueError(
                f"given_frames is {self.given_frames}, but there are no first_frames to take them from"
            )
        if self.generation.unconditional and (self.class_ or self.class_index):
            raise ValueError("unconditional clips have no class; leave out either --unconditional or --class")
        self.generation.config()


@dataclass(frozen=True)
class TokenizeOptions:
    """What `parvideo tokenize` encodes, and where to.

    Attributes:
        tokenizer: model folder of the tokenizer, or its run folder; or, where there is no such folder,
            owner/name or owner/name@revision on the Hub.
        data: folder of videos, in UCF-101's layout or class folders.
        out: folder for the tokens.
        clip_format: of the clips; as the tokenizer was trained, where nothing is given.
        views: clips taken of each training video, at random places; with 1 the centre. Test: the centre.
        all_clips: take every clip of each training video instead, one after the other without overlap.
        flip: take every training clip mirrored too.
        splits: train or test; may be repeated; both if not given.
        split_index: which of UCF-101's three splits.
        annotations: folder of UCF-101's lists, if it is neither in nor beside the folder of videos.
        held_out_time: hold out this last part of each video's time instead of the test split.
        shard_size: clips in one file.
        batch_size: clips encoded together.
        num_workers: processes that decode.
        devices: how many devices encode; the tokens do not depend on it.
        accelerator: auto, cpu, gpu, ...
        seed: of the views' places.

    Raises:
        ValueError: if a number lies outside its range, or both ``views`` and ``all_clips`` are given.
    """

    tokenizer: Path
    data: Path
    out: Path
    clip_format: ClipFormatOptions = AS_TRAINED
    views: int = 1
    all_clips: bool = False
    flip: bool = False
    splits: list[Literal["train", "test"]] | None = None
    split_index: int = 1
    annotations: Path | None = None
    held_out_time: float | None = None
    shard_size: int = 256
    batch_size: int = 8
    num_workers: int = 0
    devices: int = 1
    accelerator: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, views=self.views, split_index=self.split_index, shard_size=self.shard_size)
        at_least(1, batch_size=self.batch_size)
        at_least(0, num_workers=self.num_workers)
        check_seed(self.seed)
        if self.all_clips and self.views > 1:
            raise ValueError(
                f"views is {self.views}, at random places, and all_clips takes every place; choose one"
            )


@dataclass(frozen=True)
class ReconstructOptions:
    """By which tokenizer `parvideo reconstruct` goes, and where to.

    Attributes:
        tokenizer: model folder of a tokenizer or generator, or a run folder; or, where there is no such
            folder, owner/name or owner/name@revision on the Hub.
        out: folder for the videos.
        clip_format: of the clips; as the tokenizer was trained, where nothing is given.
        device: where to compute, such as cuda.
        bf16: also decode in bfloat16, print what that costs in dB, and state it in the tokenizer's folder:
            below 0.01 dB its clips are decoded so from then on, where the processor multiplies bfloat16.
    """

    tokenizer: Path
    out: Path
    clip_format: ClipFormatOptions = AS_TRAINED
    device: str = "cpu"
    bf16: bool = False


@dataclass(frozen=True)
class MeasureOptions:
    """What clips are measured with and against, in every command that computes features of real videos.

    Attributes:
        i3d: Kinetics-400 I3D weights of your own: state dict, safetensors or TorchScript; instead of those
            that `parvideo weights i3d` keeps.
        features: folder of a small feature network; the number compares with nothing published.
        protocol_options: what makes the number comparable.
        split_index: which of UCF-101's three splits.
        annotations: folder of UCF-101's lists, if it is neither in nor beside the real videos.
    """

    i3d: Path | None = None
    features: Path | None = None
    protocol_options: ProtocolOptions = UNCHANGED
    split_index: int = 1
    annotations: Path | None = None

    def list_videos(self, real: Path, split: Literal["train", "test", "all"]) -> "VideoList":
        """The real videos of a split.

        Raises:
            FileNotFoundError: if there are none.
            ValueError: if there is no such split.
        """
        from parvideo.datasets import load_videos

        return load_videos(real, split, self.split_index, self.annotations)


@dataclass(frozen=True)
class ExtractionOptions:
    """How clips go through a feature network.

    Attributes:
        batch_size: clips at a time.
        workers: processes that read videos.
        devices: how many devices.
        accelerator: auto, cpu, gpu, ...

    Raises:
        ValueError: if a number lies outside its range.
    """

    batch_size: int = 16
    workers: int = 2
    devices: int = 1
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        at_least(1, batch_size=self.batch_size)
        at_least(0, workers=self.workers)


KINETICS = MeasureOptions()
"""The network and the protocol that are used unless others are asked for."""
ONE_DEVICE = ExtractionOptions()
"""How features are computed unless it is asked for otherwise."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What `parvideo evaluate` scores, against what, and where to.

    Attributes:
        real: folder of real videos (UCF-101 or class folders).
        out: the report, a file ending in .json.
        model: a generator's folder, or owner/name[@revision] on the Hub; clips are generated as they are
            scored.
        clips: folder of generated clips, .npz or .npy as `parvideo sample` writes them.
        tokenizer: a tokenizer's folder, or owner/name[@revision] on the Hub; its reconstructions are scored
            against their originals (rFVD).
        measure: the feature network, the protocol and the real videos.
        reference: features of the real clips, written by `parvideo fvd-stats`.
        held_out: whether the report also holds the test split: its FVD, and class accuracy by a linear probe;
            auto: under ucf101-six-64 only.
        held_out_reference: features of the test split, written by `parvideo fvd-stats --split test`.
        generation: how a model generates; each repetition takes the next seed.
        extraction: how features are computed.
        allow_lossy: score compressed video; the report says so.
        self_test: score nothing; make the known clips, and show whether the I3D gives their known logits,
            FVD and KVD on this machine.

    Raises:
        ValueError: if ``real`` or ``out`` is missing, unless exactly one of model, clips and tokenizer is
            given, or if two options contradict each other. The self-test needs none of them.
    """

    real: Path | None = None
    out: Path | None = None
    model: Path | None = None
    clips: Path | None = None
    tokenizer: Path | None = None
    measure: MeasureOptions = KINETICS
    reference: Path | None = None
    held_out: Literal["auto", "yes", "no"] = "auto"
    held_out_reference: Path | None = None
    generation: GenerationOptions = PLAIN
    extraction: ExtractionOptions = ONE_DEVICE
    allow_lossy: bool = False
    self_test: bool = False

    def __post_init__(self) -> None:
        if self.self_test:
            return
        if self.real is None or self.out is None:
            raise ValueError("give --real, a folder of real videos, and --out, the report's file")
        asked = {"model": self.model, "clips": self.clips, "tokenizer": self.tokenizer}
        given = [name for name, value in asked.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of --model, --clips and --tokenizer, got {given or 'none'}")
        if self.model is None and self.generation != PLAIN:
            changed = [n for n, value in vars(self.generation).items() if value != getattr(PLAIN, n)]
            raise ValueError(
                f"{', '.join(changed)} are about generating with --model; {given[0]} is scored as it is"
            )
        if self.out.suffix != ".json":
            raise ValueError(f"out is {self.out}; it must end in .json")
        if self.held_out == "no" and self.held_out_reference is not None:
            raise ValueError("held-out is no, and --held-out-reference is given; leave out one of them")
        self.generation.config()


@dataclass(frozen=True)
class FvdStatsOptions:
    """Whose features `parvideo fvd-stats` keeps, and where.

    Attributes:
        real: folder of real videos (UCF-101 or class folders).
        out: the file to write, ending in .npz.
        measure: those of the evaluations to come.
        extraction: how features are computed.

    Raises:
        ValueError: if ``out`` does not end in .npz.
    """

    real: Path
    out: Path
    measure: MeasureOptions = KINETICS
    extraction: ExtractionOptions = ONE_DEVICE

    def __post_init__(self) -> None:
        if self.out.suffix != ".npz":
            raise ValueError(f"out is {self.out}; it must end in .npz")

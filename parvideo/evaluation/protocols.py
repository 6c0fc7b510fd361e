"""Protocols: everything that must be equal for two FVD numbers to be comparable, as frozen, hashed data.

Sources: the public code of the named projects (docs/fvd.md says what each does and where ours departs).
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from parvideo.datasets.clip_format import NAMES, ClipFormat
from parvideo.files import sha256_json
from parvideo.metrics.extractors.i3d import Tap
from parvideo.metrics.extractors.resize import Crop, Quantization, Resize
from parvideo.metrics.frechet import FrechetFormula

Split = Literal["train", "test", "all"]
ClipPolicy = Literal["non-overlapping", "random", "center"]
LabelPolicy = Literal["copy-real", "uniform"]


@dataclass(frozen=True)
class Protocol:
    """How an FVD is measured.

    Attributes:
        name: of the protocol; not part of its hash.
        split: which real videos.
        clip_policy: which clips of a real video: ``non-overlapping``: one after the other; ``random``: one,
            starting anywhere; ``center``: the middle one.
        clip_seed: of the choice of clips and of which ``real_count`` of them are used.
        clip_format: of the clips that are scored, real and generated, all of it known.
        source_resize: how source frames are brought to the clips' size.
        source_crop: ``center``: short side to that size, then the centre; ``squash``: both sides to it.
        quantization: how pixels become uint8 after resizing and after generation.
        network_resize: how clips are brought to the network's 224 pixels.
        bn_eps: of batch normalisation in I3D.
        tap: the features used.
        label_policy: labels of generated clips: ``copy-real``: those of the real clips chosen; ``uniform``:
            every class equally often.
        real_count: real clips; 0 for all there are.
        fake_count: generated clips.
        formula: of the Fréchet distance.
        repeats: independent repetitions over which mean and standard deviation are reported.
        window: frames of the clips that are chosen, whose first ``frames`` are scored; None for all of them.

    Raises:
        ValueError: naming the field, its value, and what would be right.
    """

    name: str
    split: Split
    clip_policy: ClipPolicy
    clip_seed: int
    clip_format: ClipFormat
    source_resize: Resize
    source_crop: Crop
    quantization: Quantization
    network_resize: Resize
    bn_eps: float
    tap: Tap
    label_policy: LabelPolicy
    real_count: int
    fake_count: int
    formula: FrechetFormula = field(default_factory=FrechetFormula)
    repeats: int = 1
    window: int | None = None

    def __post_init__(self) -> None:
        choices = {
            "split": Split,
            "clip_policy": ClipPolicy,
            "source_resize": Resize,
            "source_crop": Crop,
            "quantization": Quantization,
            "network_resize": Resize,
            "tap": Tap,
            "label_policy": LabelPolicy,
        }
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(get_args(kind))}"
                )
        if not self.clip_format.is_complete:
            raise ValueError(f"clip_format is {self.clip_format}; give frames, size, and fps or stride")
        least = {"clip_seed": 0, "frames": 9, "size": 1, "real_count": 0, "fake_count": 2}
        for name, low in (least | {"repeats": 1}).items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {low}")
        if self.real_count == 1:
            raise ValueError("real_count is 1; it must be at least 2, or 0 for all clips")
        if self.window is not None and self.window <= self.frames:
            raise ValueError(
                f"window is {self.window}; it must be above frames ({self.frames}), or None if all frames of "
                "a clip are scored"
            )
        if self.bn_eps <= 0:
            raise ValueError(f"bn_eps is {self.bn_eps}; it must be positive (1e-3 or 1e-5)")

    def to_dict(self) -> dict[str, Any]:
        """Every field as JSON, those of ``clip_format`` among them; ``window`` only where there is one.

        So it was before either of them, and hashes stay as they were.
        """
        fields: dict[str, Any] = {}
        for name, value in asdict(self).items():
            fields |= value if name == "clip_format" else {name: value}
        if self.window is None:
            del fields["window"]
        return fields

    @property
    def frames(self) -> int:
        """Frames of a clip that is scored."""
        return self.clip_format.shape[0]

    @property
    def size(self) -> int:
        """Height and width of real and generated clips, pixels."""
        return self.clip_format.shape[1]

    @property
    def fps(self) -> float | None:
        """Frames a second of the clips, unless ``stride`` says how far apart they are."""
        return self.clip_format.fps

    @property
    def stride(self) -> int | None:
        """Source frames from one frame of a clip to the next, unless ``fps`` says it."""
        return self.clip_format.stride

    @property
    def clip_frames(self) -> int:
        """Frames of a real clip as it is chosen, before it is cut to ``frames``."""
        return self.window or self.frames

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Protocol":
        """Rebuild what `to_dict` gave.

        Raises:
            ValueError: if a field is missing or unknown.
        """
        try:
            clip_format = ClipFormat(**{name: value[name] for name in NAMES})
            others = {name: item for name, item in value.items() if name not in NAMES}
            return cls(**others | {"clip_format": clip_format, "formula": FrechetFormula(**value["formula"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a protocol: {error}") from error

    @property
    def hash(self) -> str:
        """Hex SHA-256 of every field but the name."""
        fields = self.to_dict()
        del fields["name"]
        return sha256_json(fields)

    def customized(self, **changes: Any) -> "Protocol":
        """A copy with the fields that are not None changed, named ``custom`` if it is another protocol then.

        Those of ``clip_format`` are changed by their own names.

        Raises:
            ValueError: if a value is not allowed.
            TypeError: if there is no such field.
        """
        given = {k: v for k, v in changes.items() if v is not None}
        if "frames" in given:
            given.setdefault("window", None)
        clips = {name: given.pop(name) for name in NAMES if name in given}
        if "fps" in clips:
            clips.setdefault("stride", None)
        elif "stride" in clips:
            clips["fps"] = None
        if clips:
            given["clip_format"] = replace(self.clip_format, **clips)
        changed = replace(self, **given)
        return changed if changed.hash == self.hash else replace(changed, name="custom")


LARP_10K = Protocol(
    name="larp-10k",
    split="train",
    clip_policy="non-overlapping",
    clip_seed=42,
    clip_format=ClipFormat(frames=16, size=128, stride=1),
    source_resize="antialiased",
    source_crop="center",
    quantization="round",
    network_resize="bilinear",
    bn_eps=1e-3,
    tap="logits",
    label_policy="copy-real",
    real_count=10_000,
    fake_count=10_000,
    formula=FrechetFormula("svd", ddof=0),
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        LARP_10K,
        replace(
            LARP_10K,
            name="magvit-10k",
            clip_policy="random",
            clip_seed=0,
            source_resize="tf1",
            network_resize="tf1",
            label_policy="uniform",
            formula=FrechetFormula("svd", ddof=1),
            repeats=4,
        ),
        replace(
            LARP_10K,
            name="stylegan-v-2048",
            split="all",
            clip_policy="random",
            clip_seed=0,
            label_policy="uniform",
            real_count=2048,
            fake_count=2048,
            formula=FrechetFormula("sqrtm", ddof=0),
        ),
        replace(
            LARP_10K,
            name="tats-2048",
            clip_policy="random",
            clip_seed=0,
            source_resize="bilinear",
            quantization="truncate",
            bn_eps=1e-5,
            label_policy="uniform",
            real_count=2048,
            fake_count=2048,
            formula=FrechetFormula("svd", ddof=1, precision="float32"),
        ),
        replace(
            LARP_10K,
            name="videogpt-256",
            split="test",
            clip_policy="random",
            clip_seed=0,
            source_resize="bilinear",
            bn_eps=1e-5,
            label_policy="uniform",
            real_count=256,
            fake_count=256,
            formula=FrechetFormula("svd", ddof=1, precision="float32"),
            repeats=4,
        ),
        replace(
            LARP_10K,
            name="nbp-10k",
            clip_policy="center",
            window=17,
            clip_format=ClipFormat(frames=16, size=128, fps=8.0),
            clip_seed=0,
            real_count=0,
            formula=FrechetFormula("sqrtm", ddof=1),
        ),
        replace(
            LARP_10K,
            name="ucf101-six-64",
            clip_policy="center",
            clip_format=ClipFormat(frames=17, size=64, fps=12.5),
            clip_seed=0,
            real_count=0,
            fake_count=512,
            formula=FrechetFormula("svd", ddof=1),
        ),
    )
}

UNPUBLISHED = ("ucf101-six-64",)
"""Protocols of this project, under which nobody else has published a number."""
WITH_HELD_OUT = ("ucf101-six-64",)
"""Protocols whose reports set the held-out split beside the training split unless told not to."""


def get_protocol(name: str) -> Protocol:
    """The named protocol.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol is {name!r}; it must be one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

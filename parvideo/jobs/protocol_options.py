"""Which protocol an evaluation follows: the options that every command which scores has, written once."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from parvideo.evaluation.protocols import Protocol


@dataclass(frozen=True)
class ProtocolOptions:
    """A protocol by name, and what is changed of it; any change makes it a custom one.

    Attributes:
        protocol: larp-10k, magvit-10k, stylegan-v-2048, tats-2048, videogpt-256, nbp-10k or ucf101-six-64.
        split: which real videos.
        clip_policy: which clips of a real video.
        frames: frames of a clip.
        stride: source frames from one frame of a clip to the next.
        fps: frames a second of the clips, instead of a stride.
        size: height and width of the clips.
        real_count: real clips; 0 for all there are.
        fake_count: generated clips.
        label_policy: which classes are generated.
        repeats: independent repetitions.
    """

    protocol: str = "larp-10k"
    split: Literal["train", "test", "all"] | None = None
    clip_policy: Literal["non-overlapping", "random", "center"] | None = None
    frames: int | None = None
    stride: int | None = None
    fps: float | None = None
    size: int | None = None
    real_count: int | None = None
    fake_count: int | None = None
    label_policy: Literal["copy-real", "uniform"] | None = None
    repeats: int | None = None

    def build(self) -> "Protocol":
        """The protocol.

        Raises:
            ValueError: if there is none of that name, or a value is not allowed.
        """
        from parvideo.evaluation.protocols import get_protocol

        changes = asdict(self)
        return get_protocol(changes.pop("protocol")).customized(**changes)


UNCHANGED = ProtocolOptions()
"""The protocol that is followed unless another is asked for."""

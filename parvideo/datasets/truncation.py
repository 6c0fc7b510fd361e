"""Whether a video file is as long as its header says, or was cut short on the way."""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from parvideo.datasets.video_info import UnreadableVideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


def promised(container: "InputContainer", stream: "VideoStream") -> int:
    """How many frames the header promises to be stored, hidden ones included; 0 if it does not say."""
    name = container.format.name.split(",")[0]
    if name == "mov":
        return len(stream.index_entries)  # the header's count goes on beyond what an edit list leaves
    return stream.frames if name == "avi" else 0


def check_whole(path: Path, container: "InputContainer", promised: int, there: int) -> None:
    """Refuse a file of which more than 2 % (and more than 2) of the promised frames lie beyond its end.

    Raises:
        UnreadableVideoError: if so.
    """
    # AVI's header counts empty chunks too, and may be wrong: only a file that ends early is cut short.
    if promised - there > max(2, 0.02 * promised) and (
        container.format.name != "avi" or _riff_ends_early(path)
    ):
        raise UnreadableVideoError(
            path, f"is cut short: its header promises {promised} frames, {there} are there"
        )


def check_length(path: Path, container: "InputContainer", seconds: float) -> None:
    """A Matroska or WebM file has no count of frames, but says how long it is, in bytes and in time.

    Raises:
        UnreadableVideoError: if both are more than there is.
    """
    promised = (container.duration or 0) / 1_000_000
    if container.format.name.startswith("matroska") and promised - seconds > max(0.1, 0.02 * promised):
        missing = _matroska_end(path) - path.stat().st_size
        if missing > 0:
            raise UnreadableVideoError(
                path,
                f"is cut short: its header promises {promised:.2f} s and {missing} bytes more, "
                f"{seconds:.2f} s are there",
            )


def _matroska_end(path: Path) -> int:
    """Where the file should end according to its segment's size; 0 if that is not said, as in a live one."""
    with path.open("rb") as file:
        head = file.read(4096)
    at = 4  # after the identifier of the EBML header: its size, of as many bytes as it has zeros in front
    size, length = _ebml_size(head, at)
    at += length + (size or 0)
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return 0
    size, length = _ebml_size(head, at + 4)
    return 0 if size is None else at + 4 + length + size


def _ebml_size(head: bytes, at: int) -> tuple[int | None, int]:
    """A number of variable length (RFC 8794, 4), None for unknown, and how many bytes it takes."""
    length = 9 - head[at].bit_length() if head[at] else 1
    value = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), length


def _riff_ends_early(path: Path) -> bool:
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + 12 <= size:
            file.seek(at)
            name, length = struct.unpack("<4sI", file.read(8))
            if name != b"RIFF":
                return False
            at += 8 + length + length % 2
    return at > size + 1

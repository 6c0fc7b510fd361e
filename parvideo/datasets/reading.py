"""A video file, read by frame number: decord where it is exact, PyAV for everything else.

The frame rate of a file is taken as constant: frame k stands at k / fps seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from parvideo.datasets.images import is_image, probe_image, read_image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

Backend = Literal["auto", "decord", "pyav"]

# Only here was decord seen to return PyAV's frames bit for bit (test_reading.py). It cannot open AV1, rounds
# 10-bit video differently and returned another frame on a seek in H.265.
_EXACT_IN_DECORD = {("mov", "h264", "yuv420p"), ("mov", "mpeg4", "yuv420p")}


class UnreadableVideoError(ValueError):
    """A video file that cannot be opened, decoded, or does not hold what its header promises."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it survives the pickling out of a worker process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class VideoInfo:
    """What is in a video file.

    Attributes:
        frames: counted, not taken from the header.
        fps: frames a second.
        height: pixels.
        width: pixels.
        container: FFmpeg's name, as ``codec`` and ``pixel_format`` are.
        codec: of the pictures.
        pixel_format: of the coded pictures.
        seekable: decoding may begin at any key frame: presentation times are there, and no frame stored after
            a key frame is shown before it (no open groups of pictures); or there is one key frame alone. In
            other files, UCF-101's AVI among them, decord returns wrong frames after a seek and says nothing.
    """

    frames: int
    fps: float
    height: int
    width: int
    container: str
    codec: str
    pixel_format: str
    seekable: bool

    @property
    def backend(self) -> Literal["decord", "pyav"]:
        """The decoder that ``backend="auto"`` takes for this file."""
        exact = self.seekable and (self.container, self.codec, self.pixel_format) in _EXACT_IN_DECORD
        return "decord" if exact else "pyav"


def probe(path: Path) -> VideoInfo:
    """Look into a video file without decoding it.

    Raises:
        UnreadableVideoError: if it is no video, has no frames or size, or was cut short: more than 2 %
            (and more than 2) of the frames that its header promises are missing.
    """
    from av.error import FFmpegError

    if is_image(path):
        return _probe_image(path)
    try:
        with _open(path) as container:
            stream = _video_stream(path, container)
            packets = [p for p in container.demux(stream) if p.size > 0 and not p.is_discard]
            info = _describe(path, container, stream, len(packets), _seekable(packets))
            promised = stream.frames
    except (FFmpegError, OSError) as error:
        raise UnreadableVideoError(path, f"cannot be opened as a video ({error})") from error
    if info.frames == 0:
        raise UnreadableVideoError(path, "holds no frames")
    if promised - info.frames > max(2, 0.02 * promised):
        raise UnreadableVideoError(
            path, f"is cut short: its header promises {promised} frames, {info.frames} are there"
        )
    return info


def read_frames(
    path: Path,
    indices: Sequence[int],
    backend: Backend = "auto",
    num_threads: int = 1,
    info: VideoInfo | None = None,
) -> Tensor:
    """Decode the frames with the given numbers.

    The file is opened, read and closed here, in the process that calls: a decoder is never shared, and
    never crosses a fork.

    Args:
        path: the video file.
        indices: frame numbers from 0 in order of display, not negative, in any order, repeats allowed.
        backend: ``"decord"``, ``"pyav"``, or ``"auto"``: decord for 8-bit H.264 and MPEG-4 part 2 in MP4,
            where it is exact and its seeks help, and PyAV for all else (UCF-101's AVI too) and where decord
            fails.
        num_threads: decoder threads; 1 is right inside a data loader's worker.
        info: what :func:`probe` said of this file, to save asking again.

    Returns:
        uint8 ``[T, H, W, 3]``, T = ``len(indices)``, RGB.

    Raises:
        UnreadableVideoError: if the file cannot be decoded or has no such frame.
        ValueError: on an unknown backend, no indices or a negative one, or no thread.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend is {backend!r}; it must be one of {', '.join(get_args(Backend))}")
    if not indices or min(indices) < 0:
        raise ValueError(f"indices are {list(indices)[:5]}; they must be frame numbers from 0, at least one")
    if num_threads < 1:
        raise ValueError(f"num_threads is {num_threads}; it must be 1 or more")
    if is_image(path):
        return _read_image(path, indices)
    if backend == "pyav":
        return _read_pyav(path, indices, num_threads)
    info = info or probe(path)
    if backend == "decord":
        if not info.seekable:
            raise UnreadableVideoError(path, "decord would seek wrongly in it; read it with 'auto' or 'pyav'")
        return _read_decord(path, indices, num_threads)
    if info.backend == "pyav":
        return _read_pyav(path, indices, num_threads)
    try:
        return _read_decord(path, indices, num_threads)
    except UnreadableVideoError:
        return _read_pyav(path, indices, num_threads)  # whatever stops PyAV too is reported


def _probe_image(path: Path) -> VideoInfo:
    try:
        height, width, coding, mode = probe_image(path)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableVideoError(path, f"cannot be opened as an image ({error})") from error
    return VideoInfo(1, 1.0, height, width, "image", coding, mode, seekable=True)


def _read_image(path: Path, indices: Sequence[int]) -> Tensor:
    if max(indices) > 0:
        raise UnreadableVideoError(path, f"is an image, of one frame; frame {max(indices)} was asked for")
    try:
        return read_image(path).expand(len(indices), -1, -1, -1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableVideoError(path, f"cannot be decoded as an image ({error})") from error


def _seekable(packets: "Sequence[Packet[VideoStream]]") -> bool:
    """Whether no packet after a key frame is shown before it; packets in the order of storage."""
    if sum(packet.is_keyframe for packet in packets) <= 1:
        return bool(packets) and packets[0].is_keyframe
    earliest: int | None = None  # of the packets from here to the end
    for packet in reversed(packets):
        if packet.pts is None or (packet.is_keyframe and earliest is not None and earliest <= packet.pts):
            return False
        earliest = packet.pts if earliest is None else min(earliest, packet.pts)
    return packets[0].is_keyframe


def _open(path: Path) -> "InputContainer":
    import av

    # A broken tag must not cost the frames: text in a header is of no use here.
    return av.open(str(path), mode="r", metadata_errors="replace")


def _video_stream(path: Path, container: "InputContainer") -> "VideoStream":
    if not container.streams.video:
        raise UnreadableVideoError(path, "holds no video stream")
    return container.streams.video[0]


def _describe(
    path: Path, container: "InputContainer", stream: "VideoStream", frames: int, seekable: bool
) -> VideoInfo:
    rate = stream.average_rate or stream.guessed_rate
    context = stream.codec_context
    if context is None:
        raise UnreadableVideoError(path, "is in a coding that FFmpeg does not know")
    if not rate or rate <= 0:
        raise UnreadableVideoError(path, f"states no frame rate (it says {rate})")
    if context.width < 1 or context.height < 1 or context.pix_fmt is None:
        raise UnreadableVideoError(
            path, f"states no picture ({context.width}x{context.height}, {context.pix_fmt})"
        )
    return VideoInfo(
        frames=frames,
        fps=float(rate),
        height=context.height,
        width=context.width,
        container=container.format.name.split(",")[0],
        codec=context.name,
        pixel_format=context.pix_fmt,
        seekable=seekable,
    )


def _read_decord(path: Path, indices: Sequence[int], num_threads: int) -> Tensor:
    import decord

    decord.logging.set_level(decord.logging.QUIET)  # failures are raised here, with the file's name
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=num_threads)
        if max(indices) >= len(reader):
            raise UnreadableVideoError(path, f"has {len(reader)} frames, frame {max(indices)} was asked for")
        frames: np.ndarray = reader.get_batch(list(indices)).asnumpy()
    except (decord.DECORDError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        raise UnreadableVideoError(
            path, f"decord cannot decode it ({reason[0] if reason else error})"
        ) from error
    return torch.from_numpy(frames)


def _read_pyav(path: Path, indices: Sequence[int], num_threads: int) -> Tensor:
    """Decode from the first frame on: slower than a seek, and right for every coding."""
    from av.error import FFmpegError
    from av.video.reformatter import VideoReformatter

    wanted, last = set(indices), max(indices)
    found: dict[int, np.ndarray] = {}
    to_rgb = VideoReformatter()  # one for all frames: frame.to_ndarray would build its tables each time
    number = -1
    try:
        with _open(path) as container:
            stream = _video_stream(path, container)
            stream.codec_context.thread_count = num_threads
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted:
                    found[number] = to_rgb.reformat(frame, format="rgb24").to_ndarray()
                if number == last:
                    break
    except (FFmpegError, OSError, MemoryError) as error:
        raise UnreadableVideoError(
            path, f"PyAV cannot decode it after {number + 1} frames ({error})"
        ) from error
    if number < last:
        raise UnreadableVideoError(path, f"has {number + 1} frames, frame {last} was asked for")
    if len({array.shape for array in found.values()}) > 1:
        raise UnreadableVideoError(path, "changes its picture size on the way")
    return torch.from_numpy(np.stack([found[index] for index in indices]))

"""A video file, read by frame number as it is shown: decord where it is exact, PyAV for everything else."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parvideo.datasets.images import image_frames, read_image_frames
from parvideo.datasets.probing import decode, open_video, probe
from parvideo.datasets.video_info import IMAGE, UnreadableVideoError, VideoInfo
from parvideo.files import AnyPath

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.filter import Graph
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Backend = Literal["auto", "decord", "pyav"]

_SEEKS_BY_TIME = {"mov", "matroska"}


def read_frames(
    path: AnyPath,
    indices: Sequence[int],
    backend: Backend = "auto",
    num_threads: int = 1,
    info: VideoInfo | None = None,
) -> Tensor:
    """Decode the frames with the given numbers.

    The file is opened, read and closed here, in the process that calls: a decoder is never shared, and
    never crosses a fork.

    Args:
        path: the video file, or an image.
        indices: frame numbers from 0 in order of display, not negative, in any order, repeats allowed.
        backend: ``"decord"``, ``"pyav"``, or ``"auto"``: decord for 8-bit H.264 and MPEG-4 part 2 in MP4,
            where it is exact and its seeks help, and PyAV for all else (UCF-101's AVI too) and where decord
            fails.
        num_threads: decoder threads; 1 is right inside a data loader's worker.
        info: what :func:`probe` said of this file, to save asking again.

    Returns:
        uint8 ``[T, H, W, 3]``, T = ``len(indices)``, RGB, H and W as the picture is shown.

    Raises:
        UnreadableVideoError: if the file cannot be decoded or has no such frame.
        ValueError: on an unknown backend, no indices or a negative one, or no thread.
    """
    path = Path(path)
    if backend not in get_args(Backend):
        raise ValueError(f"backend is {backend!r}; it must be one of {', '.join(get_args(Backend))}")
    if len(indices) == 0 or min(indices) < 0:
        raise ValueError(f"indices are {list(indices)[:5]}; they must be frame numbers from 0, at least one")
    if num_threads < 1:
        raise ValueError(f"num_threads is {num_threads}; it must be 1 or more")
    info = info or probe(path)
    if info.container == IMAGE:
        return read_image_frames(path, indices)
    if max(indices) >= info.frames:
        raise UnreadableVideoError(path, f"has {info.frames} frames, frame {max(indices)} was asked for")
    if backend == "decord":
        if info.decord_refusal is not None:
            raise UnreadableVideoError(path, f"{info.decord_refusal}; read it with 'auto' or 'pyav'")
        return _read_decord(path, indices, num_threads)
    if backend == "auto" and info.backend == "decord":
        try:
            return _read_decord(path, indices, num_threads)
        except UnreadableVideoError:
            pass  # whatever stops PyAV too is reported
    return _read_pyav(path, indices, num_threads, info)


def read_chunks(
    path: Path, length: int, num_threads: int = 1, info: VideoInfo | None = None
) -> Iterator[Tensor]:
    """All frames of a video from the first to the last in one pass, ``length`` at a time.

    Yields:
        uint8 ``[T, H, W, 3]``, RGB, T = ``length`` or, at the end, fewer.

    Raises:
        UnreadableVideoError: if the file cannot be decoded or ends early.
        ValueError: if ``length`` is below 1.
    """
    if length < 1:
        raise ValueError(f"length is {length}; it must be 1 or more")
    info = info or probe(path)
    frames = (
        image_frames(path)
        if info.container == IMAGE
        else _frames(path, range(info.frames), num_threads, info)
    )
    while chunk := list(islice(frames, length)):
        yield torch.from_numpy(np.stack(chunk))


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


def _read_pyav(path: Path, indices: Sequence[int], num_threads: int, info: VideoInfo) -> Tensor:
    numbers = sorted(set(indices))
    found = dict(zip(numbers, _frames(path, numbers, num_threads, info), strict=True))
    return torch.from_numpy(np.stack([found[index] for index in indices]))


def _frames(
    path: Path, numbers: Sequence[int], num_threads: int, info: VideoInfo
) -> Iterator[NDArray[np.uint8]]:
    """The frames of these rising numbers, as shown: RGB uint8 ``[H, W, 3]``."""
    from av.error import FFmpegError

    pictures = _Pictures(path, info)
    wanted = iter(numbers)
    following: int | None = next(wanted)
    number = -1
    try:
        with open_video(path) as container:
            stream = next(stream for stream in container.streams.video if stream.index == info.stream)
            stream.codec_context.thread_count = num_threads
            _seek(container, stream, numbers[0], info)
            for number, frame in _numbered(container, stream, info):
                if following is None or number > following:
                    break
                if number == following:
                    yield pictures.show(frame)
                    following = next(wanted, None)
                    if following is None:
                        return
    except (FFmpegError, OSError, MemoryError) as error:
        raise UnreadableVideoError(
            path, f"PyAV cannot decode it after {number + 1} frames ({error})"
        ) from error
    if number < numbers[-1]:
        raise UnreadableVideoError(path, f"has {number + 1} frames, frame {numbers[-1]} was asked for")
    raise UnreadableVideoError(path, f"frame {following} cannot be decoded")


def _numbered(
    container: "InputContainer", stream: "VideoStream", info: VideoInfo
) -> "Iterator[tuple[int, VideoFrame]]":
    """Decoded frames with their numbers, known from their times, or where there are none by counting."""
    of_time = {time: number for number, time in enumerate(info.times or ())}
    number = -1
    tick = stream.time_base or Fraction(1)
    shown: VideoFrame | None = None
    for packet in container.demux(stream):
        for frame in decode(packet, shown):
            shown = frame
            if info.first_pts is None:
                number += 1
            elif frame.pts is None:
                continue
            else:
                seconds = float((frame.pts - info.first_pts) * tick)
                number = round(seconds * info.fps) if info.times is None else of_time.get(seconds, -1)
            if number >= 0:
                yield number, frame


def _seek(container: "InputContainer", stream: "VideoStream", number: int, info: VideoInfo) -> None:
    """Go to the key frame at or before a frame, where decoding may begin at any."""
    if number == 0 or not info.seekable or info.container not in _SEEKS_BY_TIME:
        return
    if info.first_pts is not None and stream.time_base is not None:
        ticks = int(info.time(number) / stream.time_base + 0.5)
        container.seek(info.first_pts + ticks, stream=stream)


class _Pictures:
    """Frames as they are shown: in RGB, with square pixels, and turned."""

    def __init__(self, path: Path, info: VideoInfo) -> None:
        from av.video.reformatter import VideoReformatter

        self.path, self.info = path, info
        self._to_rgb = VideoReformatter()  # one for all: frame.to_ndarray would build its tables each time
        self._graphs: dict[str, Graph] = {}
        self._direct: dict[str, bool] = {}  # by format; asking for its components takes 5 % of reading

    def show(self, frame: "VideoFrame") -> NDArray[np.uint8]:
        """RGB uint8 ``[H, W, 3]``."""
        info = self.info
        if frame.height != info.coded_height or frame.width != info.coded_width:
            raise UnreadableVideoError(self.path, "changes its picture size on the way")
        coding = frame.format
        direct = self._direct.get(coding.name)
        if direct is None:
            direct = info.as_stored and all(component.bits <= 8 for component in coding.components)
            self._direct[coding.name] = direct
        if direct:
            return _array(self._to_rgb.reformat(frame, format="rgb24"))
        picture = _array(self._scaled(frame))
        if info.orientation > 4:
            picture = picture.swapaxes(0, 1)
        if info.orientation in (3, 4, 7, 8):
            picture = picture[::-1]
        if info.orientation in (2, 3, 6, 7):
            picture = picture[:, ::-1]
        return picture

    def _scaled(self, frame: "VideoFrame") -> "VideoFrame":
        """In RGB and with square pixels, by the filter of the ffmpeg command.

        It places the colours of 4:2:0 where the reformatter does not, which shows from 9 bits on.
        """
        from av.filter import Graph

        if frame.format.name not in self._graphs:
            across = self.info.orientation > 4
            height, width = (
                (self.info.width, self.info.height) if across else (self.info.height, self.info.width)
            )
            graph = Graph()
            graph.link_nodes(
                graph.add_buffer(
                    width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
                ),
                graph.add("scale", f"{width}:{height}"),
                graph.add("format", "rgb24"),
                graph.add("buffersink"),
            ).configure()
            self._graphs[frame.format.name] = graph
        graph = self._graphs[frame.format.name]
        graph.vpush(frame)
        return graph.vpull()


def _array(frame: "VideoFrame") -> NDArray[np.uint8]:
    return frame.to_ndarray().astype(np.uint8, copy=False)

"""Looking into a video file: which frames are shown, when, and in which form; almost nothing is decoded."""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvideo.datasets.images import is_pillows, probe_image
from parvideo.datasets.truncation import check_length, check_whole, promised
from parvideo.datasets.video_info import UnreadableVideoError, VideoInfo, constant_rate
from parvideo.files import AnyPath

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Files without an index: fields of one frame in two packets, times that begin again where files were joined.
# What is shown in them is only known once they are decoded.
_NO_INDEX = {"mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v"}
_NO_PRESENTATION_TIMES = {"avi"}  # what FFmpeg states there is guessed, and wrong for frames out of order
_DELAY = 3  # frames that a coder holds back, as many as it may store out of order in a row
_WIDEST = 10  # no lens or screen stretches pixels more; a header that says so is wrong


@dataclass(frozen=True)
class _Packet:
    """What counts of a packet."""

    pts: int | None
    dts: int | None
    key: bool
    hidden: bool


def probe(path: AnyPath) -> VideoInfo:
    """Look into a video file. Only its first frame is decoded, or all where there is no index to trust.

    Pictures are described as they are shown: turned by the display matrix, with square pixels (of anamorphic
    ones the height is kept), and counted by presentation time. Cover pictures are no video.

    Raises:
        UnreadableVideoError: if it is no video, has no frames or size, or was cut short: more than 2 %
            (and more than 2) of the frames that its header promises lie beyond the file's end.
    """
    from av.error import FFmpegError

    path = Path(path)
    if is_pillows(path):
        return probe_image(path)
    try:
        with open_video(path) as container:
            if _is_image(container):
                return probe_image(path)
            candidates = _streams(path, container)
            stored = {stream.index: promised(container, stream) for stream in candidates}
            packets: dict[int, list[_Packet]] = {stream.index: [] for stream in candidates}
            first: VideoFrame | None = None
            for packet in container.demux(candidates):
                if first is None and len(candidates) == 1:
                    first = next(iter(decode(packet, None)), None)
                if packet.size > 0 and not _is_invisible(packet):
                    packets[packet.stream.index].append(
                        _Packet(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard)
                    )
            stream = _film(candidates, packets)
            there = packets[stream.index]
            if not there:
                raise UnreadableVideoError(path, "holds no frames")
            check_whole(path, container, stored[stream.index], len(there))
            return _describe(path, container, stream, there, first, len(container.streams.video) == 1)
    except (FFmpegError, OSError, MemoryError) as error:
        raise UnreadableVideoError(path, f"cannot be opened as a video ({error})") from error


def open_video(path: Path) -> "InputContainer":
    """Open a file with PyAV."""
    import av

    # A broken tag must not cost the frames: text in a header is of no use here.
    return av.open(str(path), mode="r", metadata_errors="replace")


def decode(packet: "Packet[Any]", shown: object) -> "list[VideoFrame]":
    """The frames that a packet completes.

    Args:
        packet: as the demuxer gave it. An empty one, AVI's way to say that the last picture stays, gives
            none; a decoder would take it for the end.
        shown: None as long as no frame was shown: what cannot be decoded before, in a file that was cut
            between key frames, is passed over.

    Raises:
        av.error.FFmpegError: if the packet cannot be decoded.
    """
    if packet.size == 0 and packet.dts is not None:
        return []
    try:
        frames: list[VideoFrame] = packet.decode()
        return frames
    except Exception as error:
        from av.error import FFmpegError  # imported here, for with each packet it takes 3 % of reading

        if isinstance(error, FFmpegError) and shown is None and packet.size > 0:
            return []
        raise


def _is_image(container: "InputContainer") -> bool:
    name = container.format.name
    return name.endswith("_pipe") or name in ("gif", "apng", "webp_anim", "image2")


def _streams(path: Path, container: "InputContainer") -> "list[VideoStream]":
    from av.stream import Disposition

    cover = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        only = "only a cover picture" if container.streams.video else "only sound"
        raise UnreadableVideoError(path, f"holds no video stream{f', {only}' if container.streams else ''}")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise UnreadableVideoError(path, "is in a coding that FFmpeg does not know")
    return known


def _film(candidates: "list[VideoStream]", packets: dict[int, list[_Packet]]) -> "VideoStream":
    """The first stream that moves: a single picture beside a film is its cover, whatever it is called."""
    moving = [stream for stream in candidates if len(packets[stream.index]) > 1]
    return (moving or candidates)[0]


def _is_invisible(packet: "Packet[Any]") -> bool:
    """Whether this is a VP8 frame to refer to only, which its header says in one bit (RFC 6386, 9.1)."""
    return packet.stream.codec_context.name in ("vp8", "libvpx") and not bytes(packet)[0] & 0x10


def _describe(
    path: Path,
    container: "InputContainer",
    stream: "VideoStream",
    packets: list[_Packet],
    first: "VideoFrame | None",
    alone: bool,
) -> VideoInfo:
    name = container.format.name.split(",")[0]
    base = stream.time_base or Fraction(1, 90_000)
    rate = stream.average_rate or stream.guessed_rate
    stated = float(rate) if rate and rate > 0 else None
    head = _head(packets)
    counted = name in _NO_PRESENTATION_TIMES
    if (
        name in _NO_INDEX
        or (counted and head)
        or (not counted and any(p.pts is None for p in packets[head:]))
    ):
        ticks, first, counted = _decoded_times(path, stream.index, base, stated, counted)
    elif counted:  # pictures are stored at even steps and shown in another order: the steps stay
        ticks = sorted(p.dts for p in packets if p.dts is not None)
        if len(ticks) > 2 and 1 < ticks[1] - ticks[0] <= _DELAY + 1:
            # Empty chunks right after the first picture are a coder's delay and no time: so begin 124 of the
            # 731 clips of six classes of UCF-101, and nothing moves further there than afterwards.
            ticks[0] = ticks[1] - 1
    else:
        ticks, first = _presentation_times(path, stream, packets, head, first)
    first = first or next(_decoded(path, stream.index), None)
    if first is None or not ticks:
        raise UnreadableVideoError(path, "holds no frame that can be decoded")
    times = [float((tick - ticks[0]) * base) for tick in ticks]
    rises = all(a < b for a, b in pairwise(times))
    if not rises:  # two frames at one time: they can only be counted, and spread evenly
        if stated is None:
            raise UnreadableVideoError(path, "states no frame rate, and its times do not rise")
        times = [k / stated for k in range(len(times))]
    check_length(path, container, times[-1] + (1 / stated if stated else 0.0))
    constant = constant_rate(times, stated, float(base))
    height, width, orientation = _shown_form(path, stream, first)
    return VideoInfo(
        frames=len(times),
        fps=constant or (len(times) - 1) / times[-1],
        height=height,
        width=width,
        container=name,
        codec=stream.codec_context.name,
        pixel_format=first.format.name,
        seekable=_seekable(packets) and not counted and rises,
        stream=stream.index,
        coded_height=first.height,
        coded_width=first.width,
        orientation=orientation,
        first_pts=ticks[0] if rises and not counted else None,
        times=None if constant else tuple(times),
        plain=alone and len(ticks) == len(packets),
    )


def _head(packets: list[_Packet]) -> int:
    """How many packets may refer to what was cut off: those before the first key frame and its leading ones.

    Leading pictures follow their key frame directly and are shown before it.
    """
    key = next((number for number, packet in enumerate(packets) if packet.key), len(packets))
    end = key + 1
    while end < len(packets) and not packets[end].key:
        pts, start = packets[end].pts, packets[key].pts
        if pts is not None and start is not None and pts > start:
            break
        end += 1
    return 0 if end == 1 else min(end, len(packets))


def _presentation_times(
    path: Path,
    stream: "VideoStream",
    packets: list[_Packet],
    head: int,
    first: "VideoFrame | None",
) -> "tuple[list[int], VideoFrame | None]":
    """Rising ticks at which frames are shown, without those that lack what they refer to, and the first."""
    shown = sorted(p.pts for p in packets if p.pts is not None and not p.hidden)
    if head and shown:  # look which of these come out
        limit = max((p.pts for p in packets[:head] if p.pts is not None), default=shown[0])
        come: set[int] = set()
        first = None
        for frame in _decoded(path, stream.index):
            first = first or frame
            if frame.pts is not None:
                come.add(frame.pts)
                if frame.pts > limit:
                    break
        shown = [pts for pts in shown if pts in come or pts > limit]
    if first is not None and first.pts is not None:
        shown = [pts for pts in shown if pts >= first.pts]
    return shown, first


def _decoded_times(
    path: Path, index: int, base: Fraction, stated: float | None, by_storage: bool
) -> "tuple[list[int], VideoFrame | None, bool]":
    """Ticks of all frames by decoding, the first frame, and whether they can only be counted.

    Times that begin anew, where files were joined, go on from the ones before, as the ffmpeg command has it.
    """
    first: VideoFrame | None = None
    ticks: list[int] = []
    offset, counted = 0, by_storage
    step = max(1, round(1 / (base * Fraction(stated)))) if stated else 1
    for frame in _decoded(path, index):
        first = first or frame
        stamp = frame.dts if by_storage or frame.pts is None else frame.pts
        follows = ticks[-1] + step if ticks else 0
        at = follows if stamp is None else stamp + offset
        if stamp is None or (ticks and (at <= ticks[-1] or (at - ticks[-1]) * base > 10)):
            counted = True
            offset += follows - at
            at = follows
        ticks.append(at)
    return ticks, first, counted


def _decoded(path: Path, index: int) -> "Iterator[VideoFrame]":
    shown: VideoFrame | None = None
    with open_video(path) as container:
        for packet in container.demux(container.streams[index]):
            for frame in decode(packet, shown):
                shown = frame
                yield frame


def _seekable(packets: list[_Packet]) -> bool:
    """Whether no packet after a key frame is shown before it; packets in the order of storage."""
    if sum(packet.key for packet in packets) <= 1:
        return bool(packets) and packets[0].key
    earliest: int | None = None  # of the packets from here to the end
    for packet in reversed(packets):
        if packet.pts is None or (packet.key and earliest is not None and earliest <= packet.pts):
            return False
        earliest = packet.pts if earliest is None else min(earliest, packet.pts)
    return packets[0].key


def _shown_form(path: Path, stream: "VideoStream", frame: "VideoFrame") -> tuple[int, int, int]:
    """Height and width in square pixels and as turned, and the turn in EXIF's numbers."""
    if frame.height < 1 or frame.width < 1:
        raise UnreadableVideoError(path, f"states no picture ({frame.width}x{frame.height})")
    aspect = float(stream.sample_aspect_ratio or 1)  # the container's word goes before the coding's
    if aspect <= 0 or not math.isfinite(aspect):
        aspect = 1.0
    if not 1 / _WIDEST <= aspect <= _WIDEST:
        raise UnreadableVideoError(
            path, f"states pixels {aspect:g} times as wide as high; up to {_WIDEST} is believed"
        )
    width = frame.width
    # Scaling to whole, even pixels leaves such as 128:129; a picture is not resampled for what nobody sees.
    if abs(aspect - 1) > min(0.01, 1 / frame.width + 1 / frame.height):
        width = max(1, int(width * aspect + 0.5))
    orientation = _orientation(path, frame)
    return (width, frame.height, orientation) if orientation > 4 else (frame.height, width, orientation)


def _orientation(path: Path, frame: "VideoFrame") -> int:
    """The display matrix as one of the eight turns; x' = a x + c y and y' = b x + d y, y downwards."""
    from av.sidedata.sidedata import SideData

    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix)[:36])
    straight, across = max(abs(a), abs(d)), max(abs(b), abs(c))
    if straight == across == 0:
        return 1
    if min(straight, across) > 0.02 * max(straight, across):
        angle = math.degrees(math.atan2(b, a))
        raise UnreadableVideoError(path, f"is turned by {angle:.0f} degrees; right angles can be shown")
    if straight > across:
        return {(False, False): 1, (True, False): 2, (True, True): 3, (False, True): 4}[(a < 0, d < 0)]
    return {(False, False): 5, (True, False): 6, (True, True): 7, (False, True): 8}[(c < 0, b < 0)]

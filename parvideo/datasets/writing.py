"""Clips written to files: MP4 to look at, AVI in UCF-101's coding, lossless arrays, contact sheets."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from parvideo.files import AnyPath, atomic_path
from parvideo.pixels import TensorLike, check_clips


def write_video(path: AnyPath, clips: TensorLike, fps: float | None) -> None:
    """Write clips as one file that plays: a single clip as it is, several side by side.

    Args:
        path: ends in ``.mp4`` (H.264), ``.avi`` (as UCF-101's own files), ``.webp`` (animated, lossless) or
            ``.gif`` (animated, 256 colours); replaced in one step.
        clips: uint8 ``[T, H, W, 3]``, or ``[B, T, H, W, 3]`` as `VideoPipeline.generate` returns them.
        fps: frames a second, above 0, such as `VideoPipeline.fps`.

    Raises:
        ValueError: on another form of clips, no clips, an fps that is None or not positive, or another
            suffix.
    """
    path, clips = Path(path), check_clips(clips)
    if clips.ndim not in (4, 5) or 0 in clips.shape:
        raise ValueError(
            f"clips must be [T, H, W, 3] or [B, T, H, W, 3] and not empty, got {list(clips.shape)}"
        )
    if path.suffix not in _WRITERS:
        raise ValueError(f"{path} must end in {', '.join(_WRITERS)}")
    if fps is None:
        raise ValueError("fps is None: the model does not say how fast its clips play; give a number")
    frames = clips.cpu().numpy()
    if clips.ndim == 5:
        frames = _side_by_side(frames, ceil(sqrt(len(frames)))) if len(frames) > 1 else frames[0]
    _WRITERS[path.suffix](path, frames, fps)


def write_mp4(path: AnyPath, clip: TensorLike, fps: float, crf: int = 16) -> None:
    """Write one clip as H.264 in MP4 (yuv420p: plays everywhere, browsers included).

    An odd height or width, which yuv420p cannot hold, gets its last row or column once more.

    Args:
        path: ends in ``.mp4``; replaced in one step.
        clip: uint8 ``[T, H, W, 3]``.
        fps: frames a second, above 0.
        crf: quality, 0 (best) to 51.

    Raises:
        ValueError: on another form of clip, an fps that is not positive, or another suffix.
    """
    # x264's look-ahead reads memory that nothing wrote: with it the same clip gives other bytes now and then.
    steady = "mbtree=0:rc-lookahead=0"
    options = {"crf": str(crf), "preset": "medium", "movflags": "+faststart", "x264-params": steady}
    _write(path, ".mp4", clip, fps, "libx264", options)


def write_avi(path: AnyPath, clip: TensorLike, fps: float, quality: int = 3) -> None:
    """Write one clip as MPEG-4 part 2 in AVI, the coding of UCF-101's own files.

    Args:
        path: ends in ``.avi``; replaced in one step.
        clip: uint8 ``[T, H, W, 3]``; odd sides as in :func:`write_mp4`.
        fps: frames a second, above 0.
        quality: the quantizer's scale, 1 (best) to 31.

    Raises:
        ValueError: on another form of clip, an fps that is not positive, or another suffix.
    """
    options = {"qmin": str(quality), "qmax": str(quality), "bf": "2", "g": "12"}
    _write(path, ".avi", clip, fps, "mpeg4", options)


def write_contact_sheet(
    path: AnyPath,
    clips: TensorLike,
    fps: float,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    scale: int = 1,
) -> None:
    """Write all clips playing side by side, for ever, as one animated picture.

    Args:
        path: ends in ``.webp`` (lossless, full colour) or ``.gif`` (256 colours); replaced in one step.
        clips: uint8 ``[B, T, H, W, 3]``.
        fps: frames a second, above 0.
        columns: clips in a row; by default as near to a square as possible.
        labels: one line of text above each clip, ``B`` of them.
        scale: whole-number enlargement without smoothing, so that small clips can be seen.

    Raises:
        ValueError: on another form of clips, no clips, a count of labels other than B, or another suffix.
    """
    path, clips = Path(path), check_clips(clips)
    if clips.ndim != 5 or 0 in clips.shape:
        raise ValueError(f"clips must be [B, T, H, W, 3] and not empty, got {list(clips.shape)}")
    if path.suffix not in (".webp", ".gif"):
        raise ValueError(f"{path} must end in .webp or .gif")
    if labels is not None and len(labels) != len(clips):
        raise ValueError(f"labels has {len(labels)} entries for {len(clips)} clips; give one for each")
    if scale < 1 or (columns is not None and columns < 1):
        raise ValueError(f"scale is {scale} and columns {columns}; both must be 1 or more")
    columns = columns or ceil(sqrt(len(clips)))
    frames = _side_by_side(clips.cpu().numpy(), min(columns, len(clips)), labels, scale)
    _write_animation(path, frames, fps)


def _write_animation(path: Path, clip: np.ndarray, fps: float) -> None:
    _check_fps(fps)
    options: dict[str, Any] = {"lossless": True, "method": 3} if path.suffix == ".webp" else {"disposal": 1}
    first, *others = [Image.fromarray(frame) for frame in clip]
    with atomic_path(path) as temporary:
        first.save(
            temporary, save_all=True, append_images=others, duration=round(1000 / fps), loop=0, **options
        )


def _side_by_side(
    clips: np.ndarray,
    columns: int,
    labels: Sequence[str] | None = None,
    scale: int = 1,
    gap: int = 2,
    text: int = 12,
) -> np.ndarray:
    """Frames that show all clips: uint8 ``[B, T, H, W, 3]`` to ``[T, H', W', 3]``."""
    count, length, height, width, _ = clips.shape
    height, width, head = height * scale, width * scale, text if labels is not None else 0
    rows = -(-count // columns)
    sheet = Image.new(
        "RGB", (columns * (width + gap) + gap, rows * (height + head + gap) + gap), (24, 24, 24)
    )
    corners = [
        (gap + (i % columns) * (width + gap), gap + head + (i // columns) * (height + head + gap))
        for i in range(count)
    ]
    if labels is not None:
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
        for (left, top), label in zip(corners, labels, strict=True):
            while len(label) > 1 and draw.textlength(label, font=font) > width:
                label = label[:-1]
            draw.text((left, top - head), label, fill=(230, 230, 230), font=font)
    frames = []
    for time in range(length):
        frame = sheet.copy()
        for clip, corner in zip(clips, corners, strict=True):
            picture = Image.fromarray(clip[time])
            frame.paste(picture.resize((width, height), Image.Resampling.NEAREST), corner)
        frames.append(np.asarray(frame))
    return np.stack(frames)


def _write(
    path: AnyPath, suffix: str, clip: TensorLike, fps: float, codec: str, options: dict[str, str]
) -> None:
    import av
    from av.video.stream import VideoStream

    path, clip = Path(path), check_clips(clip)
    if clip.ndim != 4 or 0 in clip.shape:
        raise ValueError(f"clip must be [T, H, W, 3] and not empty, got {list(clip.shape)}")
    _check_suffix(path, suffix)
    _check_fps(fps)
    frames = clip.cpu().numpy()
    odd_height, odd_width = frames.shape[1] % 2, frames.shape[2] % 2
    if odd_height or odd_width:
        frames = np.pad(frames, ((0, 0), (0, odd_height), (0, odd_width), (0, 0)), mode="edge")
    with atomic_path(path) as temporary, av.open(str(temporary), mode="w", format=suffix[1:]) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
            )
        container.mux(stream.encode(None))


def _check_suffix(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise ValueError(f"{path} must end in {suffix}")


def _check_fps(fps: float) -> None:
    if not 0 < fps <= 1000:
        raise ValueError(f"fps is {fps}; it must be above 0 and at most 1000 frames a second")


_WRITERS = {".mp4": write_mp4, ".avi": write_avi, ".webp": _write_animation, ".gif": _write_animation}
"""What `write_video` writes a file by."""

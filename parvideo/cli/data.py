"""`parvideo data`: check a data set on disk, unpack it, write its manifest."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from parvideo.checks import at_least, positive

if TYPE_CHECKING:
    from parvideo.datasets import ucf101


def data(
    name: Literal["ucf101"],
    /,
    root: Path,
    unpack: list[Path] | None = None,
    annotations: Path | None = None,
    manifest: Path | None = None,
    frames: int = 17,
    fps: float = 8.0,
    decode: bool = False,
    workers: int = 4,
    cache: Path | None = None,
    size: int = 128,
) -> None:
    """Verify UCF-101, or any set in its layout: counts, class index, splits, unreadable and short files.

    Args:
        name: the data set.
        root: the folder of its class folders.
        unpack: an archive (.rar of videos or .zip of lists) to unpack into root first; may be repeated.
        annotations: the folder of classInd.txt and the split lists, if it is neither in nor beside root.
        manifest: where to write what was found, with checksums, as JSON; by default manifest.json in root.
        frames: frames of the clips that are to be cut.
        fps: frames a second of those clips.
        decode: decode every frame, which finds damage inside a file; slow.
        workers: files looked into at once.
        cache: a folder to keep all videos in as small decoded frames, for faster reading; large.
        size: pixels of the cached frames, a square.
    """
    from parvideo.datasets import ucf101

    at_least(1, frames=frames, workers=workers, size=size)
    positive(fps=fps)
    del name  # one data set by now; the argument keeps the command line open for others
    for archive in unpack or []:
        print(f"unpacking {archive} into {root}")
        ucf101.unpack(archive, root)
    if not root.is_dir():
        raise ValueError(f"{root} is no folder.\n{ucf101.WHERE_TO_GET_IT}")
    if manifest is not None:
        from parvideo.files import check_target

        check_target(manifest)
    found = ucf101.verify(root, annotations, frames, fps, decode, workers, show_progress=True)
    target = manifest or root / "manifest.json"
    print(summary(found))  # first: a root that cannot be written to was checked all the same
    ucf101.write_manifest(target, found)
    print(f"manifest: {target} (data {found.hash[:12]})")
    if cache is not None:
        from parvideo.datasets import build_cache, load_videos

        videos = load_videos(root, "all", annotations=found.annotations, recorded=False)
        lacking = build_cache(cache, videos, size, workers, show_progress=True)
        print(f"cache: {cache} holds {len(videos) - len(lacking)} videos at {size}x{size}")
    if found.problems:
        raise ValueError(f"{root} has problems: {'; '.join(found.problems)}")


def summary(found: "ucf101.Verification") -> str:
    """What was found, a line a fact."""
    infos = [video.info for video in found.videos.values()]
    counts = sorted(found.per_class.values())
    lines = [
        f"{sum(counts)} videos of {len(found.per_class)} of {len(found.class_names)} classes, "
        f"{counts[0]} to {counts[-1]} a class",
        *(f"{name}: {count} videos" for name, count in found.splits.items()),
        f"missing: {len(found.missing)}; in no list: {len(found.unlisted)}",
        f"unreadable: {len(found.unreadable)}",
        f"too short for the clips asked for: {len(found.too_short)}",
    ]
    if infos:
        gigabytes = sum(video.bytes for video in found.videos.values()) / 1e9
        sizes = sorted({f"{info.width}x{info.height}" for info in infos})
        rates = sorted({f"{info.fps:.5g}" for info in infos})
        lengths = sorted(info.frames for info in infos)
        lines.append(
            f"readable: {len(infos)}; {', '.join(sizes[:4])} pixels; {', '.join(rates[:4])} frames a second; "
            f"{lengths[0]} to {lengths[-1]} frames; {gigabytes:.2f} GB"
        )
    lines += [
        f"left out: {len(names)} {reason}, such as {names[0]}" for reason, names in found.left_out.items()
    ]
    lines += [f"  too short: {name} {reason}" for name, reason in list(found.too_short.items())[:5]]
    return "\n".join(lines)

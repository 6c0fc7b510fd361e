"""What is left out of a data set, said by count with an example; and classes left without samples."""

from collections.abc import Sequence

from parvideo.datasets.clips import ClipDataset
from parvideo.datasets.videos import VideoList


def listing_lines(videos: VideoList) -> list[str]:
    """How a list was made, and what it leaves out and why, a line each.

    The first line says the number of videos and classes, the layout and where the split comes from.
    """
    where = (
        f"lists in {videos.annotations}, split {videos.split_index}"
        if videos.annotations is not None
        else "class folders"
    )
    lines = [f"{len(videos)} videos of {len(videos.class_names)} classes ({where}, {videos.split})"]
    lines += videos.notes
    lines += [
        f"left out: {len(names)} {reason}, such as {names[0]}" for reason, names in videos.left_out.items()
    ]
    return lines


def clip_lines(videos: VideoList, clips: ClipDataset) -> list[str]:
    """Which of the listed videos give no clip and why, and which classes this split lacks, a line each."""
    lines = []
    if clips.skipped:
        record, reason = clips.skipped[0]
        lines.append(
            f"left out: {len(clips.skipped)} videos too short or too slow, such as {record.id} ({reason})"
        )
    if clips.quarantined:
        bad = clips.quarantined
        lines.append(f"left out: {len(bad)} videos that cannot be read, such as {bad[0].id}")
    absent = _absent(videos.class_names, [record.label for record in videos.records])
    if absent:
        lines.append(f"no video of {len(absent)} classes is in the {videos.split} split, such as {absent[0]}")
    return lines


def check_classes(videos: VideoList, clips: ClipDataset) -> None:
    """Refuse a data set in which a class is left without samples.

    A class of one scene has nothing in the test split of class folders; only where it is listed and every
    video of it gives no clip is that an error there. In training, a class without any video is one too.

    Raises:
        ValueError: naming such classes, and why.
    """
    listed = [record.label for record in videos.records]
    empty = _absent(videos.class_names, [record.label for record, _ in clips.places()])
    unlisted = _absent(videos.class_names, listed)
    if videos.split == "train" and unlisted:
        raise ValueError(
            f"{len(unlisted)} of {len(videos.class_names)} classes have no video to train on: "
            f"{_some(unlisted)}; add some, or take the classes out of the lists or folders"
        )
    lost = [name for name in empty if name not in unlisted]
    if lost:
        reasons = [
            f"{record.id} {reason}"
            for record, reason in clips.skipped
            if videos.class_names[record.label] == lost[0]
        ]
        why = reasons[0] if reasons else f"its videos cannot be read: {clips.quarantined[0].path}"
        raise ValueError(
            f"{len(lost)} of {len(videos.class_names)} classes are left without a clip: {_some(lost)} "
            f"({why}); ask for shorter clips, or take the classes out of the data"
        )


def _absent(names: Sequence[str], labels: Sequence[int]) -> list[str]:
    there = set(labels)
    return [name for label, name in enumerate(names) if label not in there]


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")

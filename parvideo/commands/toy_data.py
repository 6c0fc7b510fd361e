"""`parvideo toy-data`: write a toy set of video files to try everything on."""

from pathlib import Path


def toy_data(
    out: Path,
    num_classes: int = 8,
    groups: int = 8,
    clips_per_group: int = 6,
    height: int = 48,
    width: int = 64,
    frames: int = 40,
    fps: float = 25.0,
    seed: int = 0,
) -> None:
    """Write drawn clips of coloured shapes in motion as AVI files in UCF-101's layout; resumes by itself.

    Args:
        out: folder to write to: class folders and ucfTrainTestlist/, as in UCF-101.
        num_classes: number of classes, 1 to 512.
        groups: scenes of each class, 2 to 99; the first 28 % (at least one) are the test split.
        clips_per_group: clips of each scene, 1 to 99.
        height: pixels, an even number.
        width: pixels, an even number.
        frames: frames of each clip.
        fps: frames a second.
        seed: another seed draws other scenes and clips.
    """
    from parvideo.datasets.toy import ToySettings, write_toy_data

    settings = ToySettings(num_classes, groups, clips_per_group, height, width, frames, fps, seed)
    write_toy_data(out, settings, show_progress=True)
    print(f"{num_classes * groups * clips_per_group} videos of {num_classes} classes in {out}")

"""What lies in a class folder: each thing is taken, or counted for its reason."""

import os
from pathlib import Path

from parvideo.datasets import load_videos
from parvideo.datasets.folders import (
    BESIDE_VIDEOS,
    DEEPER,
    HIDDEN,
    NO_CLASS,
    NO_FILE,
    NO_LABEL,
    OTHER,
    VIDEO_SUFFIXES,
    is_video,
)
from parvideo.datasets.skipped import listing_lines
from tests.datasets.cases import names, touch


def test_phones_cameras_and_screen_recorders_are_read() -> None:
    for name in ("a.3gp", "a.TS", "a.wmv", "a.gif", "a.MTS", "a.m2ts", "a.flv", "a.ogv", "a.mxf", "a.VOB"):
        assert is_video(Path(name)), name
    assert not is_video(Path("a.txt"))
    assert not is_video(Path(".a.mp4"))


def test_suffixes_are_those_that_ffmpeg_names() -> None:
    import av

    known = set()
    for name in av.formats_available:
        form = av.ContainerFormat(name)
        known |= {f".{suffix}" for suffix in form.extensions}
    # Of the list, FFmpeg names no suffix for these, and tells them by their content.
    by_content = {
        ".divx",
        ".m2v",
        ".m2t",
        ".mod",
        ".mpe",
        ".mpv",
        ".mts",
        ".qt",
        ".rmvb",
        ".tod",
        ".dv",
        ".ogm",
    }
    by_content |= {
        ".m1v",
        ".mpg",
        ".mpeg",
        ".vob",
        ".ts",
        ".m2ts",
        ".f4v",
        ".3g2",
        ".asf",
        ".wmv",
        ".y4m",
        ".wtv",
    }
    assert VIDEO_SUFFIXES - known <= by_content


def test_each_thing_in_a_class_folder_is_counted_for_its_reason(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *("Run/a.mp4", "Run/B.MOV", "Run/._a.mp4", "Run/.half.avi", "Run/x.xyz", "Run/a.txt", "Run/a.jpg"),
        *("Run/part/c.mp4", "Run/part/deep/d.mp4", "Run/Thumbs.db", "Run/.DS_Store", "Run/desktop.ini"),
        *("Walk/1.mp4", "loose.mp4", "README.md", ".hidden/x.mp4", "notes/todo.txt"),
    )
    os.mkfifo(tmp_path / "Run/pipe.mp4")
    (tmp_path / "Run/folder.mp4").mkdir()
    videos = load_videos(tmp_path, "all")
    assert names(videos) == ["Run/B", "Run/a", "Walk/1"]
    assert videos.left_out == {
        HIDDEN: ["Run/._a.mp4", "Run/.half.avi"],
        OTHER: ["Run/a.txt", "Run/x.xyz"],
        BESIDE_VIDEOS: ["Run/a.jpg"],
        DEEPER: ["Run/part/c.mp4", "Run/part/deep/d.mp4"],
        NO_FILE: ["Run/pipe.mp4"],
        NO_LABEL: ["loose.mp4"],
        NO_CLASS: ["notes"],
    }
    text = "\n".join(listing_lines(videos))
    assert "3 videos of 2 classes (class folders, all)" in text
    assert f"left out: 2 {HIDDEN}, such as Run/._a.mp4" in text
    assert text.count("left out:") == 7

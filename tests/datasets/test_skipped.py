"""Nothing is left out in silence: whatever a listing does not take is counted with an example, or refused."""

import os
from pathlib import Path

import pytest

from parvideo.datasets import ClipDataset, UnreadableVideoError, VideoInfo, VideoList, load_videos
from parvideo.datasets import folders as module
from parvideo.datasets.folders import (
    NO_LABEL,
    OTHER,
    SYSTEM,
)
from parvideo.datasets.skipped import check_classes, clip_lines, listing_lines
from parvideo.datasets.videos import MISSING, NOT_LISTED
from parvideo.training.data import split_videos
from tests.datasets.cases import annotate, names, touch


def test_a_folder_of_the_system_is_passed_over_and_what_is_in_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "Run/a.mp4", "Walk/b.mp4", "$RECYCLE.BIN/old.mp4", "lost+found/#123")
    scan = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(module.os, "scandir", scandir)
    videos = load_videos(tmp_path, "all")
    assert names(videos) == ["Run/a", "Walk/b"]
    assert videos.left_out[SYSTEM] == ["$RECYCLE.BIN/old.mp4"]
    assert videos.left_out[module.UNREADABLE_FOLDER] == ["lost+found"]


def test_a_class_folder_that_may_not_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "Run/a.mp4", "Walk/b.mp4")
    scan = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "Walk":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(module.os, "scandir", scandir)
    with pytest.raises(ValueError, match=r"Walk cannot be read \(Permission denied\)"):
        load_videos(tmp_path, "all")


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ([], "Jump holds no video or image: a class without samples"),
        (["Jump/a.xyz"], r"Jump holds no video or image \(but a\.xyz\)"),
        (["Jump/._a.mp4"], r"Jump holds no video or image \(but \._a\.mp4\)"),
        (["Jump/day1/a.mp4", "Jump/day2/b.mp4"], r"2 lie deeper, such as (train/)?Jump/day1/a\.mp4"),
    ],
)
@pytest.mark.parametrize("part", ["", "train/"])
def test_a_class_folder_without_videos_is_an_error(
    tmp_path: Path, inside: list[str], message: str, part: str
) -> None:
    touch(tmp_path, f"{part}Run/a.mp4", f"{part}Run/b.mp4", *(part + name for name in inside))
    (tmp_path / f"{part}Jump").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=message):
        load_videos(tmp_path, "train")


def test_where_no_folder_is_a_class_the_error_says_where_videos_are(tmp_path: Path) -> None:
    touch(tmp_path, "videos/Run/a.mp4", "top.mp4")
    with pytest.raises(ValueError, match=r"1 lie deeper, such as videos/Run/a\.mp4.*such as top\.mp4"):
        load_videos(tmp_path, "all")


@pytest.mark.parametrize("other", ["val", "validation", "valid", "extra"])
def test_a_part_that_is_neither_train_nor_test_is_said(tmp_path: Path, other: str) -> None:
    touch(tmp_path, "train/a/1.mp4", f"{other}/a/2.mp4", f"{other}/a/3.mp4", "train/loose.mp4")
    train = load_videos(tmp_path, "train")
    assert names(train) == ["train/a/1"]
    reason = f"videos or images in {other}/, which is neither train/ nor test/"
    assert train.left_out == {reason: [f"{other}/a/2.mp4", f"{other}/a/3.mp4"], NO_LABEL: ["train/loose.mp4"]}
    with pytest.raises(ValueError, match=f"test split.*would be empty.*in {other}/"):
        load_videos(tmp_path, "test")
    touch(tmp_path, "test/a/4.mp4")
    assert names(load_videos(tmp_path, "test")) == ["test/a/4"]


def test_a_class_called_train_is_a_class_unless_it_is_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.mp4", "plane/1.mp4")
    assert load_videos(tmp_path, "all").class_names == ["plane", "train"]
    touch(tmp_path, "train/steam/2.mp4")
    with pytest.raises(ValueError, match="is train a class or a part of the data"):
        load_videos(tmp_path, "all")


def test_links_are_followed_and_a_broken_one_is_a_video_that_cannot_be_read(tmp_path: Path) -> None:
    touch(tmp_path / "store", "Run/a.mp4", "b.mp4")
    (tmp_path / "d/Walk").mkdir(parents=True)
    (tmp_path / "d/Run").symlink_to(tmp_path / "store/Run")
    (tmp_path / "d/Walk/b.mp4").symlink_to(tmp_path / "store/b.mp4")
    (tmp_path / "d/Walk/gone.mp4").symlink_to(tmp_path / "store/gone.mp4")
    (tmp_path / "d/Walk/up").symlink_to(tmp_path / "d")  # a loop
    (tmp_path / "d/Walk/self.mp4").symlink_to(tmp_path / "d/Walk/self.mp4")
    (tmp_path / "d/Walk/note").symlink_to(tmp_path / "d/Walk/note")
    videos = load_videos(tmp_path / "d", "all")
    assert names(videos) == ["Run/a", "Walk/b", "Walk/gone", "Walk/self"]
    assert videos.left_out[OTHER] == ["Walk/note"]
    assert not videos.records[2].path.exists()


def test_videos_that_no_list_names_are_said(tmp_path: Path) -> None:
    root = tmp_path / "UCF-101"
    touch(root, "Run/v_Run_g01_c01.avi", "Run/v_Run_g02_c01.avi", "Run/new.avi", "Run/x.srt", "other/y.avi")
    lists = tmp_path / "lists"
    annotate(lists, ["Run"], ["Run/v_Run_g02_c01.avi 1"], ["Run/v_Run_g01_c01.avi"])
    train = load_videos(root, "train", annotations=lists)
    assert names(train) == ["Run/v_Run_g02_c01"]
    assert train.left_out == {OTHER: ["Run/x.srt"], NOT_LISTED: ["Run/new.avi", "other/y.avi"]}
    assert f"(lists in {lists}, split 1, train)" in listing_lines(train)[0]
    annotate(lists, ["Run"], ["Run/v_Run_g02_c01.avi 1", "Run/v_Run_g09_c01.avi 1"], [])
    allowed = load_videos(root, "train", annotations=lists, allow_missing=True)
    assert allowed.left_out[MISSING] == ["Run/v_Run_g09_c01.avi"]


def test_the_split_that_is_asked_for_is_the_split_that_is_taken(tmp_path: Path) -> None:
    root = tmp_path / "UCF-101"
    touch(root, *(f"Run/v_Run_g0{g}_c01.avi" for g in (1, 2, 3)))
    lists = root / "ucfTrainTestlist"
    for number in (1, 2, 3):
        part = [f"Run/v_Run_g0{g}_c01.avi" for g in (1, 2, 3)]
        held_out = [part.pop(number - 1)]
        annotate(lists, ["Run"], [f"{name} 1" for name in part], held_out, number)
    for number in (1, 2, 3):
        test = load_videos(root, "test", number)
        assert names(test) == [f"Run/v_Run_g0{number}_c01"]
        assert test.description["split_index"] == number
        assert set(test.lists) == {"classInd.txt", f"trainlist0{number}.txt", f"testlist0{number}.txt"}


def test_a_split_index_without_lists_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/2.mp4")
    with pytest.raises(ValueError, match="split_index is 2, but .* has no ucfTrainTestlist/"):
        load_videos(tmp_path, "train", 2)
    with pytest.raises(ValueError, match=r"split_index is 2 and held_out_time 0\.2"):
        split_videos(tmp_path, "train", 2, 0.2)
    for value in (0.0, 1.0, -0.5, 7.0):
        with pytest.raises(ValueError, match=f"held_out_time is {value}"):
            split_videos(tmp_path, "train", 1, value)


def test_lists_beside_the_target_of_a_link_count(tmp_path: Path) -> None:
    root = tmp_path / "nfs/UCF-101"
    touch(root, "b/1.avi", "a/1.avi")
    annotate(tmp_path / "nfs/ucfTrainTestlist", ["b", "a"], ["b/1.avi 1"], ["a/1.avi"])
    (tmp_path / "home").mkdir()
    (tmp_path / "home/data").symlink_to(root)
    videos = load_videos(tmp_path / "home/data", "train")
    assert (videos.layout, videos.class_names, names(videos)) == ("ucf101", ["b", "a"], ["b/1"])


def test_lists_that_are_not_used_are_said(tmp_path: Path) -> None:
    root = tmp_path / "UCF-101"
    touch(root, "a/1.avi", "a/2.avi", "extra/1.avi")
    annotate(tmp_path / "ucfTrainTestlist", ["a"], ["a/1.avi 1"], ["a/2.avi"])
    videos = load_videos(root, "train")
    assert videos.layout == "class folders"
    assert "ucfTrainTestlist are not used: they do not name the class folders extra" in videos.notes[0]


def info(frames: int) -> VideoInfo:
    from dataclasses import MISSING as NO_DEFAULT
    from dataclasses import fields

    known = {"frames": frames, "fps": 25.0, "height": 8, "width": 8, "container": "mov", "codec": "h264"}
    known |= {"pixel_format": "yuv420p", "seekable": True}
    needed = {
        f.name for f in fields(VideoInfo) if f.default is NO_DEFAULT and f.default_factory is NO_DEFAULT
    }
    assert needed <= known.keys()
    return VideoInfo(**known)


def clips_of(videos: VideoList, frames: dict[str, int]) -> ClipDataset:
    infos = {record.id: info(frames[record.id]) for record in videos.records}
    return ClipDataset(videos, 9, 8, stride=1, infos=infos)


def test_a_class_whose_videos_are_all_too_short_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "long/1.mp4", "long/2.mp4", "short/1.mp4", "short/2.mp4")
    videos = load_videos(tmp_path, "all")
    lengths = {"long/1": 20, "long/2": 8, "short/1": 8, "short/2": 9}
    clips = clips_of(videos, lengths)
    check_classes(videos, clips)
    assert clip_lines(videos, clips)[0].startswith(
        "left out: 2 videos too short or too slow, such as long/2 ("
    )
    clips = clips_of(videos, lengths | {"short/2": 3})
    with pytest.raises(
        ValueError, match=r"1 of 2 classes are left without a clip: short \(short/1 has 8 frames"
    ):
        check_classes(videos, clips)


def test_a_class_of_one_scene_may_lack_in_the_test_split_but_not_in_training(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.mp4", "test/a/2.mp4", "test/b/3.mp4")
    train, test = load_videos(tmp_path, "train"), load_videos(tmp_path, "test")
    with pytest.raises(ValueError, match="1 of 2 classes have no video to train on: b"):
        check_classes(train, clips_of(train, {"train/a/1": 20}))
    check_classes(test, clips_of(test, {"test/a/2": 20, "test/b/3": 20}))
    touch(tmp_path / "one", "a/1.mp4", "b/1.mp4", "b/2.mp4")
    test = load_videos(tmp_path / "one", "test")
    clips = clips_of(test, {"b/1": 20})
    check_classes(test, clips)
    assert clip_lines(test, clips) == ["no video of 1 classes is in the test split, such as a"]


def test_a_class_whose_videos_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "b/1.mp4")
    videos = load_videos(tmp_path, "all")
    clips = ClipDataset(videos, 9, 8, stride=1, infos={"a/1": info(20)}, max_bad=0.5)
    with pytest.raises(ValueError, match=r"left without a clip: b \(its videos cannot be read: .*b/1\.mp4"):
        check_classes(videos, clips)
    assert isinstance(UnreadableVideoError(tmp_path, "x"), ValueError)

"""The list of videos: labels, splits and groups as UCF-101 has them, and class folders."""

from collections import Counter
from pathlib import Path

import pytest

from parvideo.datasets.annotations import read_class_index, read_split_list
from parvideo.datasets.videos import load_videos
from tests.datasets.cases import OFFICIAL, touch


def test_the_official_split_1_never_cuts_a_group(tmp_path: Path) -> None:
    """On three classes whose labels or names are traps; the lists' counts are tested above."""
    names = read_class_index(OFFICIAL / "classInd.txt")
    for part in ("train", "test"):
        listed = read_split_list(OFFICIAL / f"{part}list01.txt", names)
        touch(tmp_path, *(name for name in listed if name.startswith(("Hammer", "HandstandPushups"))))
    train, test, both = (
        load_videos(tmp_path, split, annotations=OFFICIAL, allow_missing=True)  # type: ignore[arg-type]
        for split in ("train", "test", "all")
    )
    assert len(train) + len(test) == len(both) == 140 + 150 + 128
    assert not {r.group for r in train.records} & {r.group for r in test.records}
    assert len({r.group for r in both.records}) == 3 * 25
    labels = {r.id: r.label for r in both.records}
    assert labels["Hammering/v_Hammering_g01_c01"] == 34
    assert labels["HammerThrow/v_HammerThrow_g01_c01"] == 35
    assert labels["HandstandPushups/v_HandStandPushups_g01_c01"] == 36
    assert all(labels[r.id] == r.label for r in [*train.records, *test.records])


def test_labels_come_from_the_class_index_and_not_from_sorting(ucf: Path) -> None:
    """The lists lie beside the root here; lines end with CR LF as in the official archive."""
    train = load_videos(ucf, "train")
    assert train.class_names == ["Hammering", "HammerThrow", "HandstandPushups"] != sorted(train.class_names)
    assert [record.label for record in train.records] == [0, 1, 2, 2]
    assert train.records[2].id == "HandstandPushups/v_HandStandPushups_g08_c01"
    assert train.records[2].group == train.records[3].group == "HandstandPushups/g08"
    assert [record.label for record in load_videos(ucf, "test").records] == [0, 2]
    assert len(load_videos(ucf, "all")) == 6


def test_missing_videos_are_an_error_unless_allowed(ucf: Path) -> None:
    (ucf / "HammerThrow/v_HammerThrow_g08_c01.avi").unlink()
    with pytest.raises(ValueError, match=r"1 of the 4 videos.*HammerThrow/v_HammerThrow_g08_c01\.avi"):
        load_videos(ucf, "train")
    assert [record.label for record in load_videos(ucf, "train", allow_missing=True).records] == [0, 2, 2]


def test_other_errors_say_what_would_be_right(ucf: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ((ucf, "val"), "split is 'val'"),
        ((ucf, "train", 2), r"split_index is 2.*trainlist01\.txt"),
        ((tmp_path / "absent",), "is no folder"),
    ):
        with pytest.raises(ValueError, match=message):
            load_videos(*arguments)  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no videos"):
        load_videos(tmp_path / "empty")


def test_lists_beside_a_folder_of_other_classes_do_not_count(shared_folder: Path) -> None:
    videos = load_videos(shared_folder / "data/real_clips", "all")
    assert videos.layout == "class folders"
    assert videos.class_names == ["ApplyEyeMakeup", "ArmWrestling", "PoolCleaning"]
    with pytest.raises(ValueError, match="test split of .* would be empty.*span"):
        load_videos(shared_folder / "data/real_clips", "test")


def test_class_folders_hold_out_whole_groups(tmp_path: Path) -> None:
    touch(tmp_path, *(f"Walk/v_Walk_g{g:02d}_c{c:02d}.avi" for g in range(1, 9) for c in (1, 2, 3)))
    touch(
        tmp_path, *(f"Run/{name}.mp4" for name in "abcde"), "Sit/only.MP4", "Sit/.half.avi", "Sit/notes.txt"
    )
    train, test, both = (load_videos(tmp_path, split) for split in ("train", "test", "all"))  # type: ignore[arg-type]
    assert train.class_names == test.class_names == ["Run", "Sit", "Walk"]
    assert {r.group for r in test.records} == {"Walk/g01", "Walk/g05", "Run/a", "Run/e"}
    assert Counter([*train.records, *test.records]) == Counter(both.records)
    assert len(both) == 24 + 5 + 1


def test_train_and_test_folders_share_one_list_of_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/b/1.mp4", "train/c/1.mp4", "test/a/1.mp4", "test/c/2.mp4")
    train, test = load_videos(tmp_path, "train"), load_videos(tmp_path, "test")
    assert train.class_names == test.class_names == ["a", "b", "c"]
    assert [(r.id, r.label) for r in train.records] == [("train/b/1", 1), ("train/c/1", 2)]
    assert [(r.id, r.label) for r in test.records] == [("test/a/1", 0), ("test/c/2", 2)]


def test_two_files_with_one_id_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/1.avi")
    with pytest.raises(ValueError, match=r"1\.avi and .*1\.mp4 have the same id 'a/1'"):
        load_videos(tmp_path, "all")

"""Verification of UCF-101's layout: everything that is wrong is counted and named."""

import shutil
import zipfile
from pathlib import Path

import pytest

from parvideo.datasets.clips import ClipDataset
from parvideo.datasets.ucf101 import unpack, verify, write_manifest
from parvideo.datasets.videos import load_videos
from parvideo.synthetic.shapes import ShapesSettings, write_shapes_data
from tests.datasets.cases import OFFICIAL


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_shapes_data(tmp_path / "toy", ShapesSettings(2, 3, 2, frames=26))
    return tmp_path / "toy"


def test_a_whole_set_has_no_problems(root: Path) -> None:
    found = verify(root, frames=9)
    assert found.problems == []
    assert found.per_class == {"RedSquareRight": 6, "GreenDiscLeft": 6}
    assert found.splits == {"testlist01": 4, "trainlist01": 8}
    assert (len(found.videos), found.too_short, found.is_ucf101) == (12, {}, False)
    assert verify(root, frames=9, workers=1, decode=True) == found


def test_whatever_is_wrong_is_named(root: Path) -> None:
    whole = verify(root, frames=9)
    folder = root / "RedSquareRight"
    (folder / "v_RedSquareRight_g01_c01.avi").write_bytes(b"broken")
    (folder / "v_RedSquareRight_g02_c01.avi").unlink()
    (folder / "v_RedSquareRight_g03_c01.avi").rename(folder / "v_RedSquareRight_g04_c01.avi")
    found = verify(root, frames=10)
    assert list(found.unreadable) == ["RedSquareRight/v_RedSquareRight_g01_c01"]
    assert found.missing == [f"RedSquareRight/v_RedSquareRight_g0{group}_c01.avi" for group in (2, 3)]
    assert found.unlisted == ["RedSquareRight/v_RedSquareRight_g04_c01"]
    assert len(found.too_short) == 10  # 26 frames last 1.00 s, 10 frames at 8 take 1.125
    assert [problem.split(":")[0] for problem in found.problems] == [
        "2 listed videos are missing",
        "1 videos cannot be read",
        "1 videos are in no list",
    ]
    assert found.hash != whole.hash


def test_too_short_is_what_the_clip_data_set_skips(root: Path) -> None:
    videos = load_videos(root, "all")
    for frames in (8, 9, 10):
        skipped = verify(root, frames=frames).too_short
        if len(skipped) < len(videos):
            clips = ClipDataset(videos, frames, 16, fps=8)
            assert {record.id for record, _ in clips.skipped} == skipped.keys()
        else:
            with pytest.raises(ValueError, match="no video is long enough"):
                ClipDataset(videos, frames, 16, fps=8)


def test_ucf101s_own_counts_are_demanded(shared_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ApplyEyeMakeup"
    folder.mkdir()
    name = "v_ApplyEyeMakeup_g01_c01.avi"
    (folder / name).symlink_to(shared_folder / "data/real_clips/ApplyEyeMakeup" / name)
    found = verify(tmp_path, annotations=OFFICIAL)
    assert found.is_ucf101
    assert found.problems[0].startswith("100 classes have no videos: ApplyLipstick, Archery")
    assert found.problems[1] == "1 videos are there, UCF-101 has 13320"
    assert found.problems[2].startswith("13319 listed videos are missing")
    assert found.videos["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01"].info.frames == 164


def test_archives_are_unpacked_whole_or_not_at_all(root: Path, tmp_path: Path) -> None:
    for name, inside, folders in (
        ("videos.zip", "UCF-101", ["RedSquareRight", "GreenDiscLeft"]),
        ("lists.zip", ".", ["ucfTrainTestlist"]),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for path in (path for folder in folders for path in (root / folder).iterdir()):
                archive.write(path, str(Path(inside) / path.relative_to(root)))
    out = tmp_path / "out"
    unpack(tmp_path / "videos.zip", out)
    unpack(tmp_path / "lists.zip", out)
    assert verify(out, frames=9) == verify(root, frames=9)
    with pytest.raises(ValueError, match="is there already"):
        unpack(tmp_path / "videos.zip", out)
    (tmp_path / "half.zip").write_bytes((tmp_path / "videos.zip").read_bytes()[:5000])
    (tmp_path / "half.rar").write_bytes(b"Rar!")
    (tmp_path / "videos.tgz").touch()
    for name in ("half.zip", "half.rar", "videos.tgz", "absent.rar"):
        with pytest.raises(ValueError, match=name):
            unpack(tmp_path / name, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_without_lists_the_error_says_where_they_go(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(ValueError, match="has no ucfTrainTestlist/"):
        verify(tmp_path / "data")


def test_a_checked_folder_is_listed_with_the_lists_it_was_checked_with(root: Path, tmp_path: Path) -> None:
    (root / "ucfTrainTestlist").rename(tmp_path / "lists")
    assert load_videos(root, "all").layout == "class folders"
    found = verify(root, tmp_path / "lists", frames=9)
    write_manifest(root / "manifest.json", found)
    videos = load_videos(root, "train")
    assert (videos.layout, videos.annotations) == ("ucf101", tmp_path / "lists")
    assert videos.class_names == ["RedSquareRight", "GreenDiscLeft"]
    changed = tmp_path / "changed"
    shutil.copytree(tmp_path / "lists", changed)
    (changed / "trainlist01.txt").write_text("RedSquareRight/v_RedSquareRight_g02_c01.avi 1\n")
    with pytest.raises(ValueError, match=r"manifest\.json says .* and .*changed/trainlist01\.txt is another"):
        load_videos(root, "train", annotations=changed)
    (tmp_path / "lists").rename(tmp_path / "away")
    with pytest.raises(ValueError, match="checked with the lists in .*lists, which are not there; give"):
        load_videos(root, "train")
    assert len(load_videos(root, "train", annotations=tmp_path / "away")) == 8
    write_manifest(root / "manifest.json", verify(root, changed, frames=9))  # which is always possible
    assert len(load_videos(root, "train", annotations=changed)) == 1


def test_another_programs_manifest_means_nothing(root: Path) -> None:
    for text in ("{}", "[1]", "not json", '{"format": 1, "lists": ["a"]}'):
        (root / "manifest.json").write_text(text)
        assert len(load_videos(root, "train")) == 8


def test_what_lies_beside_the_videos_is_said(root: Path) -> None:
    (root / "RedSquareRight/notes.xyz").touch()
    found = verify(root, frames=9)
    assert list(found.left_out.values()) == [["RedSquareRight/notes.xyz"]]
    assert found.problems == []

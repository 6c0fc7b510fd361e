"""Clips: the right frames, the same for the same seed whoever loads them; bad files named and replaced."""

import logging
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from parvideo.datasets.clips import ClipDataset, TooManyUnreadableError
from parvideo.datasets.probing import probe
from parvideo.datasets.videos import VideoRecord
from parvideo.datasets.writing import write_avi


def write_counting_video(path: Path, frames: int, fps: float = 25) -> VideoRecord:
    """Frame k is grey at level 4 k, so that a clip's frames tell where they came from."""
    levels = torch.arange(frames, dtype=torch.uint8) * 4
    write_avi(path, levels[:, None, None, None].expand(-1, 16, 16, 3).contiguous(), fps, quality=1)
    return VideoRecord(path, 0, path.stem, path.stem)


def frame_numbers(clip: torch.Tensor) -> list[int]:
    return (clip.float().mean((1, 2, 3)) / 4).round().int().tolist()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[VideoRecord]:
    folder = tmp_path_factory.mktemp("counting")
    return [write_counting_video(folder / f"v{number}.avi", 60) for number in range(6)]


def test_frame_rate_takes_the_nearest_source_frames(records: list[VideoRecord]) -> None:
    clip = ClipDataset(records, frames=5, size=16, fps=8, policy="all")[0]["clip"]
    assert frame_numbers(clip) == [0, 3, 6, 9, 13]  # times 0, 1/8, ... at 25 frames a second: 3.125 each
    assert frame_numbers(ClipDataset(records, 4, 16, stride=7, policy="all")[1]["clip"]) == [22, 29, 36, 43]


def test_policies(records: list[VideoRecord]) -> None:
    assert len(ClipDataset(records, 10, 16, stride=2)) == 6
    center = ClipDataset(records, 10, 16, stride=2, policy="center")
    assert frame_numbers(center[3]["clip"]) == list(range(20, 40, 2))  # 20 frames before, 21 after
    windows = ClipDataset(records, 10, 16, stride=2, policy="all")
    assert len(windows) == 6 * 3  # 19 frames each, of 60
    seen = [number for index in range(3) for number in frame_numbers(windows[index]["clip"])]
    assert seen == [*range(0, 19, 2), *range(19, 38, 2), *range(38, 57, 2)]
    assert [windows[index]["id"] for index in (2, 3)] == ["v0", "v1"]


def test_spans_share_no_frame(records: list[VideoRecord]) -> None:
    parts = [ClipDataset(records, 8, 16, stride=1, span=span) for span in ((0, 0.8), (0.8, 1))]
    seen: list[set[int]] = [set(), set()]
    for epoch in range(12):
        for part, numbers in zip(parts, seen, strict=True):
            numbers.update(frame_numbers(part.clip_at(epoch, 0)["clip"]))
    assert max(seen[0]) < 48 <= min(seen[1])
    assert len(seen[0]) > 30


def test_random_clips_follow_seed_and_epoch_alone(records: list[VideoRecord]) -> None:
    def starts(seed: int, epoch: int, order: range = range(6)) -> dict[int, int]:
        clips = ClipDataset(records, 4, 16, stride=1, seed=seed)
        clips.set_epoch(epoch)
        return {index: frame_numbers(clips[index]["clip"])[0] for index in order}

    assert starts(0, 0) == starts(0, 0, range(5, -1, -1))
    assert starts(0, 0) != starts(0, 1) != starts(1, 1)
    assert len(set(starts(0, 0).values())) > 2
    clips = ClipDataset(records, 4, 16, stride=1)
    assert torch.equal(clips.clip_at(3, 2)["clip"], clips.clip_at(3, 2)["clip"])
    clips.set_epoch(3)
    assert torch.equal(clips.clip_at(3, 2)["clip"], clips[2]["clip"])


def test_workers_change_nothing_and_see_new_epochs(records: list[VideoRecord]) -> None:
    clips = ClipDataset(records, 4, 16, stride=1, flip=True)
    loader = DataLoader(clips, batch_size=2, num_workers=2, persistent_workers=True)
    epochs = []
    for epoch in range(2):
        clips.set_epoch(epoch)
        epochs.append(torch.cat([batch["clip"] for batch in loader]))
        assert torch.equal(epochs[-1], torch.stack([clips[index]["clip"] for index in range(6)]))
    assert not torch.equal(*epochs)


def test_flip_mirrors_about_half_of_the_clips(tmp_path: Path) -> None:
    picture = torch.zeros(4, 16, 16, 3, dtype=torch.uint8)
    picture[:, :, 8:] = 200
    write_avi(tmp_path / "a.avi", picture, 25)
    clips = ClipDataset([VideoRecord(tmp_path / "a.avi", 0, "a", "a")], 4, 16, stride=1, flip=True)
    mirrored = [
        bool((item["clip"][:, :, :8] > 100).all()) for item in (clips.clip_at(e, 0) for e in range(40))
    ]
    assert 8 < sum(mirrored) < 32


def test_short_videos_are_listed_and_left_out(records: list[VideoRecord], tmp_path: Path) -> None:
    short = write_counting_video(tmp_path / "short.avi", 20)
    slow = write_counting_video(tmp_path / "slow.avi", 60, fps=5)
    clips = ClipDataset([short, *records, slow], 9, 16, fps=8)
    assert len(clips) == 6
    assert [record for record, _ in clips.skipped] == [short, slow]
    assert clips.skipped[0][1] == "has 20 frames to draw from, a clip takes 26"
    assert "5 frames a second" in clips.skipped[1][1]
    with pytest.raises(ValueError, match=r"no video is long enough.*short\.avi"):
        ClipDataset([short], 9, 16, fps=8)


def test_an_unreadable_file_is_named_and_replaced(
    records: list[VideoRecord], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file breaks after the data set has looked into it; another clip takes its place, always the same."""
    bad = write_counting_video(tmp_path / "bad.avi", 60)
    infos = {"bad": probe(bad.path)}
    bad.path.write_bytes(b"broken")
    results = []
    for workers in (0, 2):
        clips = ClipDataset([*records[:2], bad, *records[2:]], 4, 16, stride=1, max_bad=0.2, infos=infos)
        assert clips.quarantined == []
        with caplog.at_level(logging.WARNING):
            batches = list(DataLoader(clips, batch_size=1, num_workers=workers))
        assert [batch["id"][0] for batch in batches if batch["id"][0] == "bad"] == []
        assert clips.quarantined == [bad]  # seen here, whoever found it
        results.append(torch.cat([batch["clip"] for batch in batches]))
    assert torch.equal(*results)
    assert results[0].shape[0] == 7
    assert f"left out unreadable video {bad.path}: PyAV cannot decode it after 0 frames" in caplog.text


def test_too_many_unreadable_files_are_an_error(records: list[VideoRecord], tmp_path: Path) -> None:
    bad = VideoRecord(tmp_path / "bad.avi", 0, "bad", "bad")
    bad.path.write_bytes(b"broken")
    with pytest.raises(
        TooManyUnreadableError, match=r"1 of 7 videos cannot be read, more than 1\.0%.*bad\.avi"
    ):
        ClipDataset([*records, bad], 4, 16, stride=1)
    assert ClipDataset([*records, bad], 4, 16, stride=1, max_bad=0.2).quarantined == [bad]


def test_bad_arguments_are_named(records: list[VideoRecord]) -> None:
    for arguments, word in (
        ({}, "exactly one"),
        ({"fps": 8, "stride": 1}, "exactly one"),
        ({"fps": -1}, "fps is -1"),
        ({"stride": 0}, "stride is 0"),
        ({"stride": 1, "policy": "middle"}, "policy is 'middle'"),
        ({"stride": 1, "policy": "center", "flip": True}, "flip"),
        ({"stride": 1, "span": (0.5, 0.5)}, "span"),
        ({"stride": 1, "seed": -1}, "seed is -1"),
    ):
        with pytest.raises(ValueError, match=word):
            ClipDataset(records, 4, 16, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="videos is empty"):
        ClipDataset([], 4, 16, stride=1)
    with pytest.raises(IndexError):
        ClipDataset(records, 4, 16, stride=1)[6]


def test_real_clips(shared_folder: Path) -> None:
    from parvideo.datasets.videos import load_videos

    videos = load_videos(shared_folder / "data/real_clips", "all")
    clips = ClipDataset(videos, 17, 128, fps=8, policy="center")
    assert [clip["label"] for clip in clips] == [0, 1, 2]  # type: ignore[attr-defined]
    assert all(clips[index]["clip"].shape == (17, 128, 128, 3) for index in range(3))
    assert clips.class_names == videos.class_names

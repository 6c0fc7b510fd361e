"""Evaluating on the shapes set, from files to the report."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from parvideo.datasets import load_videos
from parvideo.metrics.extractors.small_i3d import SmallI3DExtractor
from tests.jobs.cases import keep_statistics, score


def test_report_of_saved_clips(world: Path, tmp_path: Path) -> None:
    report = score(world, tmp_path / "r.json")
    assert report == json.loads((tmp_path / "r.json").read_text())
    row = report["repeats"][0]
    assert row["real_count"] == 16  # 2 classes x 2 training scenes x 2 videos x 2 clips of 17 of 40 frames
    assert row["fake_count"] == 6
    assert report["classes_covered"] == {"real": 2, "generated": 2, "of": 2}
    assert report["protocol"]["name"] == "custom"
    assert not report["comparable_with_published"]
    assert "not comparable with any published FVD" in (tmp_path / "r.txt").read_text()


def test_a_report_that_cannot_be_written_is_told_before_anything_is_scored(
    world: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.json").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "s.txt").mkdir()  # where the table beside the report would go
    for out in ("r.json", "file/r.json", "s.json"):
        with pytest.raises((IsADirectoryError, NotADirectoryError)):
            score(world, tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "r.json", "s.txt"]


def test_goes_on_where_it_was_and_gives_the_same(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = score(world, tmp_path / "r.json")["fvd"]
    monkeypatch.setattr("parvideo.jobs.extract_features._SHARD", 2)
    assert score(world, tmp_path / "s.json", batch_size=1)["fvd"] == pytest.approx(whole, rel=1e-4)
    shards = sorted((tmp_path / "s-features").rglob("shard-*.npz"))
    assert len(shards) > 6
    for shard in shards[::2]:
        shard.unlink()
    seen = []
    original = SmallI3DExtractor.__call__

    def counting(self: SmallI3DExtractor, clips: Tensor) -> Tensor:
        seen.append(len(clips))
        return original(self, clips)

    monkeypatch.setattr(SmallI3DExtractor, "__call__", counting)
    assert score(world, tmp_path / "s.json")["fvd"] == pytest.approx(whole, rel=1e-4)
    assert 0 < sum(seen) < 22
    seen.clear()
    score(world, tmp_path / "s.json")
    assert seen == []
    with pytest.raises(ValueError, match="features made with another"):
        score(world, tmp_path / "s.json", size=16)


def test_generates_the_labels_of_the_real_clips(world: Path, tmp_path: Path) -> None:
    report = score(world, tmp_path / "r.json", model=world / "model", fake_count=8, seed=3)
    assert report["classes_covered"]["generated"] == 2
    assert report["generated"]["sampling"]["seed"] == 3
    again = score(world, tmp_path / "again.json", model=world / "model", fake_count=8, seed=3, batch_size=3)
    assert again["fvd"] == pytest.approx(report["fvd"], rel=1e-4)


def test_reconstructions_are_paired_with_their_originals(world: Path, tmp_path: Path) -> None:
    report = score(world, tmp_path / "r.json", tokenizer=world / "tokenizer")
    assert report["metric"] == "rFVD"
    assert report["repeats"][0]["fake_count"] == report["repeats"][0]["real_count"] == 16


def test_held_out_clips_stand_beside_the_training_split(world: Path, tmp_path: Path) -> None:
    plain = score(world, tmp_path / "p.json", model=world / "model")
    assert plain["held_out"] is plain["class_accuracy"] is None
    assert [row["class"] for row in plain["classes"]] == load_videos(world / "toy").class_names
    report = score(world, tmp_path / "r.json", model=world / "model", held_out="yes")
    assert report["fvd"] == plain["fvd"]
    held = report["held_out"]
    assert held["real_count"] == 8  # 2 classes x 1 held-out scene x 2 videos x 2 clips
    assert held["fake_count"] == 6
    assert 0 <= report["class_accuracy"]["held_out"]["accuracy"] <= 1
    assert "held-out split" in (tmp_path / "r.txt").read_text()
    keep_statistics(world, tmp_path / "test.npz", split="test")
    again = score(world, tmp_path / "s.json", model=world / "model", held_out_reference=tmp_path / "test.npz")
    assert again["held_out"]["fvd"] == pytest.approx(held["fvd"], rel=1e-6)
    assert not (tmp_path / "s-features/held-out").exists()


def test_held_out_reconstructions_are_of_held_out_clips(world: Path, tmp_path: Path) -> None:
    report = score(world, tmp_path / "r.json", tokenizer=world / "tokenizer", held_out="yes")
    assert report["held_out"]["real_count"] == report["held_out"]["fake_count"] == 8


def test_held_out_asks_for_the_training_split(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split is test"):
        score(world, tmp_path / "r.json", held_out="yes", split="test")
    with pytest.raises(ValueError, match="leave out one"):
        score(world, tmp_path / "r.json", held_out="no", held_out_reference=tmp_path / "x.npz")


@pytest.mark.parametrize("level", [0, 7, 255])
def test_clips_of_one_colour_get_a_number(world: Path, tmp_path: Path, level: int) -> None:
    (tmp_path / "clips").mkdir()
    np.save(tmp_path / "clips/a.npy", np.full((6, 9, 32, 32, 3), level, np.uint8))
    report = score(world, tmp_path / "r.json", clips=tmp_path / "clips")
    assert math.isfinite(report["fvd"])
    assert report["fvd"] > 0
    assert report["repeats"][0]["fake_rank"] <= 1
    assert report == json.loads((tmp_path / "r.json").read_text())


def test_longer_clips_are_cut_and_it_is_said(world: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    clips = np.random.default_rng(0).integers(0, 256, (4, 11, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "x/a.npy", clips)
    report = score(world, tmp_path / "r.json", clips=tmp_path / "x")
    assert any("11 frames; only the first 9" in note for note in report["warnings"] + report["notes"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips": None}, "exactly one of --model, --clips and --tokenizer"),
        ({"i3d": Path("i3d.safetensors")}, "give one of them"),
        ({"protocol": "fvd"}, "protocol is 'fvd'"),
        ({"frames": 8}, "frames is 8"),
        ({"devices": 0}, "devices is 0"),
    ],
)
def test_refuses_bad_requests(world: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(world, tmp_path / "r.json", **options)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"workers": -1}, {"real_count": -1}, {"repeats": 0}, {"stride": 0}]
)
def test_zero_is_not_the_default(world: Path, tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} is"):
        score(world, tmp_path / "r.json", **options)

"""What is scored: clips that fit the real ones, a model as it samples; anything else is refused at once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from parvideo.datasets import write_mp4
from parvideo.pipeline import VideoPipeline
from tests.jobs.cases import score


def test_a_model_of_other_clips_is_refused_before_work(world: Path, tmp_path: Path) -> None:
    for name, change in {"rate": {"fps": 8.0}, "size": {"size": 64}}.items():
        shutil.copytree(world / "model", tmp_path / name)
        config = json.loads((tmp_path / name / "config.json").read_text())
        (tmp_path / name / "config.json").write_text(json.dumps({**config, "clip_format": change}))
        with pytest.raises(ValueError, match=f"--{'fps 8' if name == 'rate' else 'size 64'}"):
            score(world, tmp_path / "r.json", model=tmp_path / name)
    assert not (tmp_path / "r-features").exists()
    shutil.copytree(world / "clips", tmp_path / "clips")
    (tmp_path / "clips" / "clips.json").write_text(json.dumps({"class_names": ["x", "y"]}))
    with pytest.raises(ValueError, match="lists of classes differ"):
        score(world, tmp_path / "r.json", clips=tmp_path / "clips")


@pytest.mark.parametrize("source", ["clips", "model", "tokenizer"])
def test_what_cannot_be_scored_is_refused_before_the_real_clips_are(
    world: Path, tmp_path: Path, source: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match="absent"):
        score(world, tmp_path / "r.json", **{source: tmp_path / "absent"})
    assert list(tmp_path.iterdir()) == []


def test_a_model_scores_as_it_samples(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option of generating, and each counts; the model is loaded once for all repetitions."""
    loaded = []
    load = VideoPipeline.from_pretrained.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        VideoPipeline,
        "from_pretrained",
        classmethod(lambda *given, **more: loaded.append(given) or load(*given, **more)),
    )
    base = {"model": world / "model", "fake_count": 4, "repeats": 2}
    plain = score(world, tmp_path / "plain.json", **base)
    assert len(loaded) == 1
    assert len({row["fvd"] for row in plain["repeats"]}) == 2  # the next seed
    hashes = {plain["generated"]["hash"]}
    for name, options in {
        "interval": {"guidance_scale": 3.0, "guidance_interval": "0,0.5"},
        "schedule": {"guidance_scale": 3.0, "guidance_schedule": "linear"},
        "longer": {"latent_frames": 4, "overlap": 2},
        "free": {"unconditional": True},
        "cold": {"temperature": 0.5, "top_k": 7},
    }.items():
        report = score(world, tmp_path / f"{name}.json", **base | {"repeats": 1}, **options)
        hashes.add(report["generated"]["hash"])
        if name == "free":
            assert report["classes_covered"]["generated"] == 0
    assert len(hashes) == 6
    main = score(world, tmp_path / "main.json", **base | {"repeats": 1}, regions="1,2,2")
    assert main["generated"]["hash"] in hashes  # the main order by its name is the main order
    with pytest.raises(ValueError, match="the seed of the last repetition is 18446744073709551616"):
        score(world, tmp_path / "r.json", **base, seed=2**64 - 1)
    with pytest.raises(ValueError, match=r"regions is \(1, 1, 2\)"):
        score(world, tmp_path / "r.json", **base, regions="1,1,2")
    with pytest.raises(ValueError, match="seed, guidance_scale are about generating"):
        score(world, tmp_path / "r.json", seed=1, guidance_scale=2.0)


def saved(folder: Path, name: str, array: np.ndarray) -> Path:
    folder.mkdir()
    np.save(folder / name, array)
    return folder


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((3, 8, 32, 32, 3), 9, np.uint8), "8 frames"),
        (np.full((3, 9, 16, 16, 3), 9, np.uint8), "--size 16"),
        (np.full((3, 9, 32, 32, 3), 0.5, np.float32), "uint8"),
        (np.ones((3, 9, 32, 32, 3), np.uint8), "no pixel above 1"),
    ],
)
def test_refuses_clips_that_do_not_fit(world: Path, tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(world, tmp_path / "r.json", clips=saved(tmp_path / "x", "a.npy", array))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_clips_of_two_lengths_are_refused_whatever_the_batch_size(
    world: Path, tmp_path: Path, batch_size: int
) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "videos").mkdir()
    for frames in (9, 12):
        clips = np.full((2, frames, 32, 32, 3), 99, np.uint8)
        np.save(tmp_path / f"clips/{frames}.npy", clips)
        write_mp4(tmp_path / f"videos/{frames}.mp4", torch.from_numpy(clips[0]), 8.0)
    for name in ("clips", "videos"):
        with pytest.raises(ValueError, match="generated clips differ in shape"):
            score(world, tmp_path / "r.json", clips=tmp_path / name, allow_lossy=True, batch_size=batch_size)
    assert not (tmp_path / "r-features").exists()


def test_lossy_video_only_when_allowed_and_said(world: Path, tmp_path: Path) -> None:
    clips = torch.from_numpy(np.load(world / "clips/clips-00000.npz")["clips"])
    (tmp_path / "videos").mkdir()
    for k, clip in enumerate(clips):
        write_mp4(tmp_path / f"videos/{k}.mp4", clip, 8)
    with pytest.raises(ValueError, match="--allow-lossy"):
        score(world, tmp_path / "r.json", clips=tmp_path / "videos")
    report = score(world, tmp_path / "r.json", clips=tmp_path / "videos", allow_lossy=True)
    assert any("compressed video" in note for note in report["warnings"])
    assert report["repeats"][0]["fake_count"] == 3


def test_files_beside_the_arrays_are_said(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "clips", tmp_path / "clips")
    (tmp_path / "clips/old.mp4").touch()
    notes = score(world, tmp_path / "r.json", clips=tmp_path / "clips")["notes"]
    assert "generated clips: left out: 1 files that are no arrays, such as old.mp4" in notes


def test_floats_cast_to_bytes_are_told(world: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    clips = np.random.default_rng(0).random((6, 9, 32, 32, 3)) * 1.01
    np.savez(tmp_path / "clips/a.npz", clips=clips.astype(np.uint8))
    with pytest.raises(ValueError, match=r"looks like \[0, 1\] floats"):
        score(world, tmp_path / "r.json", clips=tmp_path / "clips")


def test_refuses_repeated_indices(world: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.npz").write_bytes((world / "clips/clips-00000.npz").read_bytes())
    with pytest.raises(ValueError, match="repeats index 0"):
        score(world, tmp_path / "r.json", clips=tmp_path)

"""`parvideo evaluate`, `fvd-stats` and `compare-reports` on the shapes set, from files to the report."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from parvideo.cli.compare_reports import compare_reports
from parvideo.cli.evaluate import evaluate
from parvideo.cli.fvd_stats import fvd_stats
from parvideo.datasets import load_videos, write_mp4
from parvideo.evaluation.feature_store import FeatureSet
from parvideo.evaluation.protocols import LARP_10K
from parvideo.evaluation.sources import RealClips, SavedClips, copied_labels, uniform_labels
from parvideo.metrics import known_clips
from parvideo.metrics.extractors.inception_i3d import InceptionI3d
from parvideo.metrics.extractors.small_i3d import SmallI3D, SmallI3DExtractor
from parvideo.order import regions
from parvideo.pipeline import VideoPipeline
from parvideo.pretrained.folder import save_generator, save_tokenizer
from parvideo.synthetic.shapes import ShapesSettings, write_shapes_data
from parvideo.tokenizer import CausalVideoTokenizer
from parvideo.tokenizer.presets import PRESETS
from parvideo.transformer import VideoTransformer
from tests.cli.flat import call

SMALL: dict[str, Any] = {"frames": 9, "size": 32, "stride": 2, "real_count": 0, "fake_count": 6, "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shapes set of two classes, a feature network, saved clips, a tokenizer and a generator."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("evaluate")
    write_shapes_data(folder / "toy", ShapesSettings(2, 3, 2, frames=40))
    SmallI3DExtractor(SmallI3D(2, width=1), frames=9, size=32).save(folder / "net")
    (folder / "clips").mkdir()
    clips = np.random.default_rng(0).integers(0, 256, (6, 9, 32, 32, 3), dtype=np.uint8)
    for k in range(2):
        rows = slice(3 * k, 3 * k + 3)
        np.savez(
            folder / f"clips/clips-{k:05d}.npz",
            clips=clips[rows],
            labels=np.arange(6)[rows] % 2,
            indices=np.arange(6)[rows],
        )
    tokenizer = CausalVideoTokenizer(**PRESETS["tiny"])
    save_tokenizer(folder / "tokenizer", tokenizer)
    order = regions(tokenizer.latent_grid((9, 32, 32)), (1, 2, 2))
    shape = {"dim": 16, "num_layers": 1, "num_heads": 2, "num_transitions": order.num_transitions}
    transformer = VideoTransformer(order.grid, tokenizer.codebook_size, 2, **shape)
    names = load_videos(folder / "toy").class_names
    save_generator(folder / "model", transformer, names, folder / "tokenizer", [order])
    return folder


def run(folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    source = {} if options.keys() & {"model", "tokenizer"} else {"clips": folder / "clips"}
    given = {"features": folder / "net", **SMALL, **source, **options}
    report: dict[str, Any] = call(evaluate, folder / "toy", out, **given)
    return report


def test_report_of_saved_clips(folder: Path, tmp_path: Path) -> None:
    report = run(folder, tmp_path / "r.json")
    assert report == json.loads((tmp_path / "r.json").read_text())
    row = report["repeats"][0]
    assert row["real_count"] == 16  # 2 classes x 2 training scenes x 2 videos x 2 clips of 17 of 40 frames
    assert row["fake_count"] == 6
    assert report["classes_covered"] == {"real": 2, "generated": 2, "of": 2}
    assert report["protocol"]["name"] == "custom"
    assert not report["comparable_with_published"]
    assert "not comparable with any published FVD" in (tmp_path / "r.txt").read_text()


def test_a_report_that_cannot_be_written_is_told_before_anything_is_scored(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.json").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "s.txt").mkdir()  # where the table beside the report would go
    for out in ("r.json", "file/r.json", "s.json"):
        with pytest.raises((IsADirectoryError, NotADirectoryError)):
            run(folder, tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "r.json", "s.txt"]


def test_goes_on_where_it_was_and_gives_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(folder, tmp_path / "r.json")["fvd"]
    monkeypatch.setattr("parvideo.jobs.extract_features._SHARD", 2)
    assert run(folder, tmp_path / "s.json", batch_size=1)["fvd"] == pytest.approx(whole, rel=1e-4)
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
    assert run(folder, tmp_path / "s.json")["fvd"] == pytest.approx(whole, rel=1e-4)
    assert 0 < sum(seen) < 22
    seen.clear()
    run(folder, tmp_path / "s.json")
    assert seen == []
    with pytest.raises(ValueError, match="features made with another"):
        run(folder, tmp_path / "s.json", size=16)


def test_generates_the_labels_of_the_real_clips(folder: Path, tmp_path: Path) -> None:
    report = run(folder, tmp_path / "r.json", model=folder / "model", fake_count=8, seed=3)
    assert report["classes_covered"]["generated"] == 2
    assert report["generated"]["sampling"]["seed"] == 3
    again = run(folder, tmp_path / "again.json", model=folder / "model", fake_count=8, seed=3, batch_size=3)
    assert again["fvd"] == pytest.approx(report["fvd"], rel=1e-4)


def test_reconstructions_are_paired_with_their_originals(folder: Path, tmp_path: Path) -> None:
    report = run(folder, tmp_path / "r.json", tokenizer=folder / "tokenizer")
    assert report["metric"] == "rFVD"
    assert report["repeats"][0]["fake_count"] == report["repeats"][0]["real_count"] == 16


def test_held_out_clips_stand_beside_the_training_split(folder: Path, tmp_path: Path) -> None:
    plain = run(folder, tmp_path / "p.json", model=folder / "model")
    assert plain["held_out"] is plain["class_accuracy"] is None
    assert [row["class"] for row in plain["classes"]] == load_videos(folder / "toy").class_names
    report = run(folder, tmp_path / "r.json", model=folder / "model", held_out="yes")
    assert report["fvd"] == plain["fvd"]
    held = report["held_out"]
    assert held["real_count"] == 8  # 2 classes x 1 held-out scene x 2 videos x 2 clips
    assert held["fake_count"] == 6
    assert 0 <= report["class_accuracy"]["held_out"]["accuracy"] <= 1
    assert "held-out split" in (tmp_path / "r.txt").read_text()
    call(fvd_stats, folder / "toy", tmp_path / "test.npz", features=folder / "net", split="test", **SMALL)
    again = run(folder, tmp_path / "s.json", model=folder / "model", held_out_reference=tmp_path / "test.npz")
    assert again["held_out"]["fvd"] == pytest.approx(held["fvd"], rel=1e-6)
    assert not (tmp_path / "s-features/held-out").exists()


def test_held_out_reconstructions_are_of_held_out_clips(folder: Path, tmp_path: Path) -> None:
    report = run(folder, tmp_path / "r.json", tokenizer=folder / "tokenizer", held_out="yes")
    assert report["held_out"]["real_count"] == report["held_out"]["fake_count"] == 8


def test_held_out_asks_for_the_training_split(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split is test"):
        run(folder, tmp_path / "r.json", held_out="yes", split="test")
    with pytest.raises(ValueError, match="leave out one"):
        run(folder, tmp_path / "r.json", held_out="no", held_out_reference=tmp_path / "x.npz")


def test_a_model_of_other_clips_is_refused_before_work(folder: Path, tmp_path: Path) -> None:
    for name, change in {"rate": {"fps": 8.0}, "size": {"size": 64}}.items():
        shutil.copytree(folder / "model", tmp_path / name)
        config = json.loads((tmp_path / name / "config.json").read_text())
        (tmp_path / name / "config.json").write_text(json.dumps({**config, "extra": change}))
        with pytest.raises(ValueError, match=f"--{'fps 8' if name == 'rate' else 'size 64'}"):
            run(folder, tmp_path / "r.json", model=tmp_path / name)
    assert not (tmp_path / "r-features").exists()
    shutil.copytree(folder / "clips", tmp_path / "clips")
    (tmp_path / "clips" / "clips.json").write_text(json.dumps({"class_names": ["x", "y"]}))
    with pytest.raises(ValueError, match="lists of classes differ"):
        run(folder, tmp_path / "r.json", clips=tmp_path / "clips")


def test_a_window_is_cut_to_its_first_frames(folder: Path) -> None:
    small = LARP_10K.customized(frames=9, size=32, stride=2, clip_policy="center", window=11)
    source = RealClips(load_videos(folder / "toy", "train"), small)
    whole = RealClips(load_videos(folder / "toy", "train"), small.customized(frames=11))
    ((a,), (b,)) = (list(s.batches(s.ids[:2], 2)) for s in (source, whole))
    assert torch.equal(a.clips, b.clips)


def test_self_test_names_the_command_without_weights() -> None:
    with pytest.raises(FileNotFoundError, match="parvideo weights i3d"):
        call(evaluate, self_test=True)
    with pytest.raises(ValueError, match="give --real"):
        call(evaluate)


def test_self_test_refuses_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = known_clips.expected()
    state = InceptionI3d().state_dict()
    torch.save(state, tmp_path / "other.pt")
    for shift, passes in ((0.0, True), (1.0, False)):
        known = known_clips.from_logits(wanted.logits + shift)
        monkeypatch.setattr(known_clips, "measure", lambda extractor, known=known: known)
        if passes:
            assert call(evaluate, i3d=tmp_path / "other.pt", self_test=True)["fvd"] == pytest.approx(
                wanted.fvd
            )
        else:
            with pytest.raises(ValueError, match="does not give the known answers"):
                call(evaluate, i3d=tmp_path / "other.pt", self_test=True)


def test_cached_reference_gives_the_same_and_is_refused_elsewhere(folder: Path, tmp_path: Path) -> None:
    call(fvd_stats, folder / "toy", tmp_path / "ref.npz", features=folder / "net", **SMALL)
    cached = run(folder, tmp_path / "r.json", reference=tmp_path / "ref.npz")
    assert not (tmp_path / "r-features/real-0").exists()
    assert cached["fvd"] == pytest.approx(run(folder, tmp_path / "s.json")["fvd"], rel=1e-6)
    with pytest.raises(ValueError, match="another protocol"):
        run(folder, tmp_path / "t.json", reference=tmp_path / "ref.npz", stride=1)


def test_a_reference_serves_a_protocol_of_several_repeats(folder: Path, tmp_path: Path) -> None:
    several = {"repeats": 2, "clip_policy": "random", "label_policy": "uniform"}
    call(fvd_stats, folder / "toy", tmp_path / "ref.npz", features=folder / "net", **SMALL, **several)
    options = {"model": folder / "model", "fake_count": 6, **several}
    cached = run(folder, tmp_path / "r.json", reference=tmp_path / "ref.npz", **options)
    plain = run(folder, tmp_path / "s.json", **options)
    assert [row["fvd"] for row in cached["repeats"]] == pytest.approx(
        [row["fvd"] for row in plain["repeats"]], rel=1e-6
    )
    assert len({row["fvd"] for row in cached["repeats"]}) == 2
    # Saved clips are one repeat; the file serves them too.
    assert run(folder, tmp_path / "t.json", reference=tmp_path / "ref.npz", **several)["fvd"] > 0


@pytest.mark.parametrize("protocol", ["magvit-10k", "videogpt-256"])
def test_the_statistics_of_a_protocol_have_its_repeats(folder: Path, tmp_path: Path, protocol: str) -> None:
    small = {"split": "train", "frames": 9, "size": 32, "real_count": 4, "fake_count": 6}
    counts = {"features": folder / "net", "protocol": protocol, "workers": 0, **small}
    call(fvd_stats, folder / "toy", tmp_path / "ref.npz", **counts)
    report = call(
        evaluate,
        folder / "toy",
        tmp_path / "r.json",
        clips=folder / "clips",
        reference=tmp_path / "ref.npz",
        **counts,
    )
    assert report["protocol"]["repeats"] == 4


@pytest.mark.parametrize("level", [0, 7, 255])
def test_clips_of_one_colour_get_a_number(folder: Path, tmp_path: Path, level: int) -> None:
    (tmp_path / "clips").mkdir()
    np.save(tmp_path / "clips/a.npy", np.full((6, 9, 32, 32, 3), level, np.uint8))
    report = run(folder, tmp_path / "r.json", clips=tmp_path / "clips")
    assert math.isfinite(report["fvd"])
    assert report["fvd"] > 0
    assert report["repeats"][0]["fake_rank"] <= 1
    assert report == json.loads((tmp_path / "r.json").read_text())


def test_floats_cast_to_bytes_are_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    clips = np.random.default_rng(0).random((6, 9, 32, 32, 3)) * 1.01
    np.savez(tmp_path / "clips/a.npz", clips=clips.astype(np.uint8))
    with pytest.raises(ValueError, match=r"looks like \[0, 1\] floats"):
        run(folder, tmp_path / "r.json", clips=tmp_path / "clips")


@pytest.mark.parametrize("how", [{"source_resize": "tf1"}, {"quantization": "truncate"}])
def test_other_resize_chains_start_from_source_pixels(folder: Path, how: dict[str, str]) -> None:
    videos = load_videos(folder / "toy", "train")
    small = LARP_10K.customized(frames=9, size=32, stride=2)
    plain, other = RealClips(videos, small), RealClips(videos, small.customized(**how))
    ((a,), (b,)) = (list(source.batches(source.ids[:2], 2)) for source in (plain, other))
    assert a.clips.shape == b.clips.shape == (2, 9, 32, 32, 3)
    assert 0 < (a.clips.float() - b.clips.float()).abs().mean() < 8


def test_random_starts_give_more_clips_than_videos(folder: Path) -> None:
    videos = load_videos(folder / "toy", "train")
    protocol = LARP_10K.customized(frames=9, size=32, clip_policy="random", real_count=20)
    source, again = RealClips(videos, protocol), RealClips(videos, protocol, workers=1)
    assert len(videos) == 8
    assert len(source.ids) == len(set(source.ids)) == 20
    batches, repeated = (list(s.batches(s.ids, 3)) for s in (source, again))
    ids, clips = (torch.cat([getattr(b, name) for b in batches]) for name in ("ids", "clips"))
    assert ids.tolist() == source.ids
    assert len({clip.numpy().tobytes() for clip in clips}) > 12  # 8 videos: second and third draws differ
    assert torch.equal(clips, torch.cat([b.clips for b in repeated]))
    assert RealClips(videos, protocol, repeat=1).manifest != source.manifest


def test_copied_labels_cover_the_classes() -> None:
    ids = np.arange(1000)
    real = FeatureSet(np.zeros((1000, 1), np.float32), ids, ids, ids // 100)
    assert len(set(copied_labels(real, 100, seed=0))) == 10
    assert np.bincount(copied_labels(real, 2000, seed=0)).tolist() == [200] * 10
    assert np.bincount(uniform_labels(10, 4)).tolist() == [3, 3, 2, 2]


def test_unequal_lengths_are_refused(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, frames in (("a", 9), ("b", 11)):
        np.save(tmp_path / f"{name}.npy", rng.integers(0, 256, (2, frames, 32, 32, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="differ in shape"):
        run(folder, tmp_path / "r.json", clips=tmp_path)


def test_compares_reports(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, tmp_path / "a.json")
    run(folder, tmp_path / "b.json", model=folder / "model")
    run(folder, tmp_path / "c.json", stride=1)
    capsys.readouterr()
    compare_reports([tmp_path / "a.json", tmp_path / "b.json"])
    assert "a.json" in capsys.readouterr().out
    with pytest.raises(ValueError, match="protocols differ"):
        compare_reports([tmp_path / "a.json", tmp_path / "c.json"])


def saved(folder: Path, name: str, array: np.ndarray) -> Path:
    folder.mkdir()
    np.save(folder / name, array)
    return folder


def test_lossy_video_only_when_allowed_and_said(folder: Path, tmp_path: Path) -> None:
    clips = torch.from_numpy(np.load(folder / "clips/clips-00000.npz")["clips"])
    (tmp_path / "videos").mkdir()
    for k, clip in enumerate(clips):
        write_mp4(tmp_path / f"videos/{k}.mp4", clip, 8)
    with pytest.raises(ValueError, match="--allow-lossy"):
        run(folder, tmp_path / "r.json", clips=tmp_path / "videos")
    report = run(folder, tmp_path / "r.json", clips=tmp_path / "videos", allow_lossy=True)
    assert any("compressed video" in note for note in report["warnings"])
    assert report["repeats"][0]["fake_count"] == 3


def test_longer_clips_are_cut_and_it_is_said(folder: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (4, 11, 32, 32, 3), dtype=np.uint8)
    report = run(folder, tmp_path / "r.json", clips=saved(tmp_path / "x", "a.npy", array))
    assert any("11 frames; only the first 9" in note for note in report["warnings"] + report["notes"])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((3, 8, 32, 32, 3), 9, np.uint8), "8 frames"),
        (np.full((3, 9, 16, 16, 3), 9, np.uint8), "--size 16"),
        (np.full((3, 9, 32, 32, 3), 0.5, np.float32), "uint8"),
        (np.ones((3, 9, 32, 32, 3), np.uint8), "no pixel above 1"),
    ],
)
def test_refuses_clips_that_do_not_fit(folder: Path, tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(folder, tmp_path / "r.json", clips=saved(tmp_path / "x", "a.npy", array))


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
def test_refuses_bad_requests(folder: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(folder, tmp_path / "r.json", **options)


def test_refuses_repeated_indices(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.npz").write_bytes((folder / "clips/clips-00000.npz").read_bytes())
    with pytest.raises(ValueError, match="repeats index 0"):
        run(folder, tmp_path / "r.json", clips=tmp_path)


def test_what_a_killed_sample_left_half_written_is_not_read(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "clips", tmp_path / "clips")
    (tmp_path / "clips" / ".clips-00002-x1y2.npz").write_bytes(b"PK half a file")
    whole, killed = SavedClips(folder / "clips"), SavedClips(tmp_path / "clips")
    assert (killed.ids, killed.manifest) == (whole.ids, whole.manifest)


def test_a_model_scores_as_it_samples(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option of generating, and each counts; the model is loaded once for all repetitions."""
    loaded = []
    load = VideoPipeline.from_pretrained.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        VideoPipeline, "from_pretrained", classmethod(lambda *given: loaded.append(given) or load(*given))
    )
    base = {"model": folder / "model", "fake_count": 4, "repeats": 2}
    plain = run(folder, tmp_path / "plain.json", **base)
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
        report = run(folder, tmp_path / f"{name}.json", **base | {"repeats": 1}, **options)
        hashes.add(report["generated"]["hash"])
        if name == "free":
            assert report["classes_covered"]["generated"] == 0
    assert len(hashes) == 6
    main = run(folder, tmp_path / "main.json", **base | {"repeats": 1}, regions="1,2,2")
    assert main["generated"]["hash"] in hashes  # the main order by its name is the main order
    with pytest.raises(ValueError, match="the seed of the last repetition is 18446744073709551616"):
        run(folder, tmp_path / "r.json", **base, seed=2**64 - 1)
    with pytest.raises(ValueError, match=r"regions is \(1, 1, 2\)"):
        run(folder, tmp_path / "r.json", **base, regions="1,1,2")
    with pytest.raises(ValueError, match="seed, guidance_scale are about generating"):
        run(folder, tmp_path / "r.json", seed=1, guidance_scale=2.0)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"workers": -1}, {"real_count": -1}, {"repeats": 0}, {"stride": 0}]
)
def test_zero_is_not_the_default(folder: Path, tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} is"):
        run(folder, tmp_path / "r.json", **options)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_clips_of_two_lengths_are_refused_whatever_the_batch_size(
    folder: Path, tmp_path: Path, batch_size: int
) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "videos").mkdir()
    for frames in (9, 12):
        clips = np.full((2, frames, 32, 32, 3), 99, np.uint8)
        np.save(tmp_path / f"clips/{frames}.npy", clips)
        write_mp4(tmp_path / f"videos/{frames}.mp4", torch.from_numpy(clips[0]), 8.0)
    for name in ("clips", "videos"):
        with pytest.raises(ValueError, match="generated clips differ in shape"):
            run(folder, tmp_path / "r.json", clips=tmp_path / name, allow_lossy=True, batch_size=batch_size)
    assert not (tmp_path / "r-features").exists()


@pytest.mark.parametrize("source", ["clips", "model", "tokenizer"])
def test_what_cannot_be_scored_is_refused_before_the_real_clips_are(
    folder: Path, tmp_path: Path, source: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match="absent"):
        run(folder, tmp_path / "r.json", **{source: tmp_path / "absent"})
    assert list(tmp_path.iterdir()) == []


def test_files_beside_the_arrays_are_said(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "clips", tmp_path / "clips")
    (tmp_path / "clips/old.mp4").touch()
    notes = run(folder, tmp_path / "r.json", clips=tmp_path / "clips")["notes"]
    assert "generated clips: left out: 1 files that are no arrays, such as old.mp4" in notes

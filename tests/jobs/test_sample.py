"""Sampling: which clips are made, once each, and what the folder says of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from parvideo.datasets import ClipDataset, VideoRecord
from parvideo.datasets.clip_format import ClipFormat
from parvideo.engine.memory import decode_bytes
from parvideo.evaluation.clip_formats import read_format
from parvideo.files import read_json, write_json
from parvideo.jobs.sample import choose_batch_size, choose_subjects
from parvideo.order import OrderSpec
from parvideo.pipeline import VideoPipeline
from parvideo.pixels import to_float, to_uint8
from parvideo.pretrained.folder import save_generator
from parvideo.sampling import SamplingConfig
from parvideo.transformer import VideoTransformer
from tests.jobs.cases import arrays, contents, sample


def test_finished_files_are_not_made_again_and_missing_ones_are(
    generator_folder: Path, tmp_path: Path
) -> None:
    for folder in ("whole", "part"):
        sample(generator_folder, tmp_path / folder, num=2, batch_size=2, clips_per_file=2, top_k=5)
    whole, part = tmp_path / "whole", tmp_path / "part"
    (part / "clips-00001.npz").unlink()
    kept = (part / "clips-00000.npz").stat().st_mtime_ns
    sample(generator_folder, part, num=2, batch_size=2, clips_per_file=2, top_k=5)
    assert (part / "clips-00000.npz").stat().st_mtime_ns == kept
    for one, other in zip(arrays(whole), arrays(part), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"num": 3}, {"guidance_scale": 2.0}, {"class_": ["Bowling"]}, {"dtype": "bfloat16"}],
)
def test_other_settings_need_another_folder(
    generator_folder: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    settings: dict[str, object] = {"class_": ["Archery"], "num": 2}
    sample(generator_folder, tmp_path, **settings)
    with pytest.raises(ValueError, match="made with another"):
        sample(generator_folder, tmp_path, **{**settings, **change})


def test_an_engine_makes_the_same_clips_and_goes_on_with_anothers(
    generator_folder: Path, tmp_path: Path
) -> None:
    for engine in ("plain", "cpu"):
        sample(generator_folder, tmp_path / engine, num=2, engine=engine, dtype="float32")
        sample(generator_folder, tmp_path / engine, num=2)  # nothing is to be made, and nothing refused
    for one, other in zip(arrays(tmp_path / "plain"), arrays(tmp_path / "cpu"), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_words_are_names_and_indices_are_asked_for_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    def chosen(names: list[str], *asked: Any) -> list[int]:
        return [subject.label for subject in choose_subjects(names, *asked)]

    digits = ["1", "10", "2", "3"]
    assert chosen(digits, ["10", "1"], [0, 3]) == [1, 0, 0, 3]
    assert chosen(digits, None, None) == chosen(["a", "a", "b", "c"], None, None) == [0, 1, 2, 3]
    for word in ("0", "4"):
        with pytest.raises(ValueError, match=f"there is no class '{word}'"):
            chosen(digits, [word], None)
    assert capsys.readouterr().err == ""
    words = ["Archery", "null", "[x]", "#tag"]
    assert chosen(words, ["#tag", "[x]", "null"], None) == [3, 2, 1]
    # Where no class is called by a number, a number can only be an index; it is said.
    assert chosen(words, ["2"], None) == [2]
    assert "no class is called 2: taken as --class-index 2, [x]" in capsys.readouterr().err
    with pytest.raises(ValueError, match="class index 4 is out of range"):
        chosen(words, ["4"], None)
    for word in ("01", "-1", "1.0", "²"):
        with pytest.raises(ValueError, match="there is no class"):
            chosen(words, [word], None)


def test_clips_without_a_class(generator_folder: Path, tmp_path: Path) -> None:
    sample(generator_folder, tmp_path / "free", num=2, unconditional=True, seed=3)
    (made,) = arrays(tmp_path / "free")
    assert made["labels"].tolist() == [-1, -1]
    expected = VideoPipeline.from_pretrained(generator_folder).generate([None], 2, seed=3)
    assert torch.equal(torch.from_numpy(made["clips"]), expected)
    assert read_json(tmp_path / "free/sample.json")["classes"] == [None]
    with pytest.raises(ValueError, match="unconditional clips have no class"):
        sample(generator_folder, tmp_path / "none", ["Archery"], unconditional=True)
    with pytest.raises(ValueError, match="guidance_scale is 2.0"):
        sample(generator_folder, tmp_path / "none", unconditional=True, guidance_scale=2.0)


def test_a_folder_begun_before_labels_were_recorded_goes_on(generator_folder: Path, tmp_path: Path) -> None:
    sample(generator_folder, tmp_path, num=1)
    settings = read_json(tmp_path / "sample.json")
    del settings["labels"]
    write_json(tmp_path / "sample.json", settings)
    sample(generator_folder, tmp_path, num=1)
    with pytest.raises(ValueError, match="another classes"):
        sample(generator_folder, tmp_path, ["Bowling"], num=1)


@pytest.mark.parametrize(
    "settings",
    [
        {"num": 0},
        {"fps": 0.0},
        {"fps": -5.0},
        {"fps": float("nan")},
        {"batch_size": -1},
        {"overlap": 0},
        {"latent_frames": -1},
        {"seed": 2**64},
        {"seed": -1},
        {"top_k": -1},
        {"top_p": float("nan")},
        {"temperature": float("inf")},
        {"batch_size": 0},
        {"clips_per_file": 0},
        {"previews": -1},
        {"temperature": -1.0},
        {"top_p": 2.0},
        {"guidance_interval": "0.5"},
        {"guidance_interval": "0.5,0.2"},
        {"regions": "2,2"},
        {"regions": "1,4,4"},
        {"given_frames": 3},
        {"latent_frames": 0},
        {"overlap": 3, "latent_frames": 5},
    ],
)
def test_wrong_settings_are_named(generator_folder: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        sample(generator_folder, tmp_path / "none", **settings)
    assert not (tmp_path / "none").exists()


BATCHED: dict[str, Any] = {"num": 3, "clips_per_file": 4, "top_k": 5, "guidance_scale": 1.5}


@pytest.fixture(scope="module")
def file_by_file(generator_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips made in batches that are files."""
    folder = tmp_path_factory.mktemp("batched")
    sample(generator_folder, folder, **BATCHED, batch_size=4)
    return folder


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_files_do_not_depend_on_the_batch_size(
    generator_folder: Path, file_by_file: Path, tmp_path: Path, batch_size: int | None
) -> None:
    """Batches smaller than a file, across files, and as large as memory allows."""
    sample(generator_folder, tmp_path, **BATCHED, batch_size=batch_size)
    for a, b in zip(arrays(file_by_file), arrays(tmp_path), strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)
    assert contents(file_by_file) == contents(tmp_path)


def test_a_folder_of_an_earlier_version_is_refused(generator_folder: Path, tmp_path: Path) -> None:
    sample(generator_folder, tmp_path)
    settings = read_json(tmp_path / "sample.json")
    del settings["clips_per_file"]
    write_json(tmp_path / "sample.json", {**settings, "batch_size": 16})
    with pytest.raises(ValueError, match="earlier parvideo"):
        sample(generator_folder, tmp_path)


def test_the_batch_is_what_half_of_the_free_memory_holds(
    generator_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = VideoPipeline.from_pretrained(generator_folder)
    order, config = pipeline.orders[0], SamplingConfig(guidance_scale=2.0)
    fits = decode_bytes(pipeline.transformer, order, 5)
    for free, processes, size in ((2 * fits, 1, 4), (6 * fits, 3, 4), (1 << 40, 1, 16)):
        monkeypatch.setattr("parvideo.jobs.sample.available_memory", lambda device, n=free: n)
        assert choose_batch_size(pipeline, order, config, processes) == size
    monkeypatch.setattr("parvideo.jobs.sample.available_memory", lambda device: 1000)
    with pytest.raises(ValueError, match="--batch-size 1"):
        choose_batch_size(pipeline, order, config)


def test_clips_go_on_from_first_frames(generator_folder: Path, toy_folder: Path, tmp_path: Path) -> None:
    videos = sorted(toy_folder.rglob("*.avi"))[:2]
    (tmp_path / "given").mkdir()
    for video in videos:
        (tmp_path / "given" / video.name).write_bytes(video.read_bytes())
    given: dict[str, Any] = {"first_frames": tmp_path / "given", "given_frames": 3, "num": 2}
    for batch_size in (1, 4):
        out = tmp_path / str(batch_size)
        sample(
            generator_folder,
            out,
            ["Surfing", "Archery"],
            **given,
            latent_frames=7,
            overlap=2,
            batch_size=batch_size,
        )
    one, other = (arrays(tmp_path / name)[0] for name in ("1", "4"))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert one["labels"].tolist() == [2, 2, 0, 0]
    clips = torch.from_numpy(one["clips"])
    assert clips.shape == (4, 13, 16, 16, 3)
    pipeline = VideoPipeline.from_pretrained(generator_folder)
    dataset = ClipDataset([VideoRecord(v, 0, v.stem, "") for v in videos], 3, 16, fps=12.5, policy="all")
    first = {item["id"]: item["clip"] for item in reversed([dataset[k] for k in range(len(dataset))])}
    begun = torch.stack([first[video.stem] for video in videos for _ in range(2)])
    with torch.inference_mode():
        decoded = to_uint8(pipeline.tokenizer.decode(pipeline.tokenizer.encode(to_float(begun))))
    assert torch.equal(clips[:, :3], decoded)
    assert not torch.equal(clips[0], clips[1])
    (tmp_path / "given" / videos[0].name).write_bytes(videos[1].read_bytes())
    with pytest.raises(ValueError, match="another first_frames"):
        sample(generator_folder, tmp_path / "1", ["Surfing", "Archery"], **given, latent_frames=7, overlap=2)


def test_an_image_is_one_first_frame(generator_folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 24), (200, 30, 30)).save(tmp_path / "red.png")
    sample(generator_folder, tmp_path / "out", ["Bowling"], num=2, first_frames=tmp_path / "red.png")
    assert arrays(tmp_path / "out")[0]["clips"].shape == (2, 5, 16, 16, 3)
    with pytest.raises(ValueError, match="1 frames, 3 are needed|frames a second"):
        sample(
            generator_folder,
            tmp_path / "more",
            ["Bowling"],
            first_frames=tmp_path / "red.png",
            given_frames=3,
        )


def test_first_frames_that_do_not_fit_are_refused(
    generator_folder: Path, toy_folder: Path, tmp_path: Path
) -> None:
    video = sorted(toy_folder.rglob("*.avi"))[0]
    for settings, message in (
        ({}, "one class for all"),
        ({"class_": ["Archery", "Bowling"]}, "1 files and class 2 values"),
        ({"class_": ["Archery"], "given_frames": 2}, "1 \\+ k"),
        ({"class_": ["Archery"], "given_frames": 5}, "more than the 3 that the clips have"),
        ({"class_": ["Archery"], "first_frames": tmp_path}, "holds no video or image"),
    ):
        with pytest.raises(ValueError, match=message):
            sample(generator_folder, tmp_path / "none", **{"first_frames": video, **settings})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        sample(generator_folder, tmp_path / "none", ["Archery"], first_frames=tmp_path / "nowhere")
    assert not (tmp_path / "none").exists()


def test_the_regions_are_chosen_and_recorded(tokenizer_folder: Path, tmp_path: Path) -> None:
    specs = [OrderSpec(regions=(1, 2, 2)), OrderSpec(regions=(1, 4, 4))]
    orders = [spec.build((3, 4, 4)) for spec in specs]
    torch.manual_seed(0)
    more = {"target_position_embedding": True, "num_transitions": 15}
    transformer = VideoTransformer((3, 4, 4), 9, 2, dim=16, num_layers=1, num_heads=2, **more)
    save_generator(tmp_path / "model", transformer, ["a", "b"], tokenizer_folder, orders)
    for regions in (None, "1,2,2", "1,4,4"):
        sample(tmp_path / "model", tmp_path / str(regions), num=2, regions=regions)
    own, same, other = (arrays(tmp_path / name)[0]["clips"] for name in ("None", "1,2,2", "1,4,4"))
    assert np.array_equal(own, same)
    assert not np.array_equal(own, other)
    assert read_json(tmp_path / "1,4,4/sample.json")["regions"] == [1, 4, 4]
    with pytest.raises(ValueError, match="another regions"):
        sample(tmp_path / "model", tmp_path / "1,4,4", num=2, regions="1,2,2")
    with pytest.raises(ValueError, match="this model was trained in 1x2x2, 1x4x4"):
        sample(tmp_path / "model", tmp_path / "none", regions="1,1,1")
    sample(tmp_path / "model", tmp_path / "named", num=2, order="1x4x4")
    assert np.array_equal(arrays(tmp_path / "named")[0]["clips"], other)
    assert read_json(tmp_path / "named" / "sample.json")["order"] == "1x4x4"


def test_the_folder_says_what_its_clips_are(generator_folder: Path, tmp_path: Path) -> None:
    sample(generator_folder, tmp_path, class_=["Archery"], num=1, batch_size=1, previews=0)
    clip_format, names = read_format(tmp_path)
    assert clip_format == ClipFormat(fps=12.5, size=16)  # the size by its tokenizer
    assert names == ["Archery", "Bowling", "Surfing"]

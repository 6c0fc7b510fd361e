"""Commands that list videos: by the lists given, saying what is left out, knowing files by content."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parvideo.cli.demo import demo
from parvideo.cli.evaluate import evaluate
from parvideo.cli.fvd_stats import fvd_stats
from parvideo.cli.tokenize import tokenize
from parvideo.datasets import TokenDataset, write_avi
from parvideo.datasets.tokens import CHECKSUMS, MANIFEST
from parvideo.files import config_folder, read_json, sha256_json, write_json
from parvideo.metrics.extractors.small_i3d import SmallI3D, SmallI3DExtractor
from parvideo.training.cli import fit
from parvideo.training.data import ClipDataModule, TokenDataModule
from tests.flat import call

FORM: dict[str, Any] = {"frames": 5, "size": 16, "fps": 12.5}


@pytest.fixture
def data(toy_folder: Path, tmp_path: Path) -> Path:
    """A copy of the shapes set with its lists somewhere else: eight videos to train on, four to test."""
    shutil.copytree(toy_folder, tmp_path / "data/videos")
    (tmp_path / "data/videos/ucfTrainTestlist").rename(tmp_path / "data/lists")
    return tmp_path / "data/videos"


def lists_of(data: Path) -> Path:
    return data.parent / "lists"


def repair(data: Path) -> Path:
    """Put another clip in a video's place: of equal size, with the old time."""
    one, other = sorted(data.glob("GreenDiscLeft/*_g02_*.avi"))
    size = max(one.stat().st_size, other.stat().st_size)
    old = one.stat()
    content = other.read_bytes().ljust(size, b"\0")
    one.write_bytes(content)
    os.utime(one, ns=(old.st_atime_ns, old.st_mtime_ns))
    return one


def level(data: Path) -> None:
    """Give both videos of a scene one size, so that one may take the other's place unseen."""
    paths = sorted(data.glob("GreenDiscLeft/*_g02_*.avi"))
    size = max(path.stat().st_size for path in paths)
    for path in paths:
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))


def short_video(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    write_avi(path, torch.zeros(3, 16, 20, 3, dtype=torch.uint8), 25.0)


def test_the_lists_that_are_given_decide_and_are_recorded(
    data: Path, tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = lists_of(data)
    call(tokenize, tokenizer_folder, data, tmp_path / "t", annotations=lists)
    train, test = (TokenDataset(tmp_path / "t" / split).manifest for split in ("train", "test"))
    assert train.class_names == ["RedSquareRight", "GreenDiscLeft"]  # by name it is the other way round
    assert (len(train.ids), len(test.ids)) == (8, 4)
    assert train.listing is not None
    assert train.listing["annotations"] == str(lists)
    assert set(train.listing["lists"]) == {"classInd.txt", "trainlist01.txt", "testlist01.txt"}
    assert f"8 videos of 2 classes (lists in {lists}, split 1, train)" in capsys.readouterr().err
    call(tokenize, tokenizer_folder, data, tmp_path / "t", annotations=lists)  # and again
    with pytest.raises(ValueError, match="another .*class_names"):
        call(tokenize, tokenizer_folder, data, tmp_path / "t")
    module = ClipDataModule(data, annotations=lists, **FORM)
    module.setup("fit")
    assert module.class_names == train.class_names
    assert len(module.train_clips) == 8


def test_a_changed_list_is_another_data_set(data: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    lists = lists_of(data)
    call(tokenize, tokenizer_folder, data, tmp_path / "t", annotations=lists, splits=["test"])
    path = lists / "trainlist01.txt"
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    with pytest.raises(ValueError, match="made with another lists"):
        call(tokenize, tokenizer_folder, data, tmp_path / "t", annotations=lists, splits=["test"])
    # A copy of the same lists is the same.
    shutil.copytree(lists, tmp_path / "copy")
    call(tokenize, tokenizer_folder, data, tmp_path / "u", annotations=lists)
    call(tokenize, tokenizer_folder, data, tmp_path / "u", annotations=tmp_path / "copy")


def test_train_and_test_of_two_listings_are_refused(
    data: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    lists = lists_of(data)
    call(tokenize, tokenizer_folder, data, tmp_path / "t", annotations=lists, splits=["train"])
    path = lists / "testlist01.txt"
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    call(tokenize, tokenizer_folder, data, tmp_path / "t", annotations=lists, splits=["test"])
    with pytest.raises(ValueError, match=r"t/train and .*t/test were made with another testlist01\.txt"):
        TokenDataModule(tmp_path / "t").setup("fit")


def test_tokens_of_before_listings_were_recorded_still_load(
    data: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    call(tokenize, tokenizer_folder, data, tmp_path / "t", annotations=lists_of(data))
    for split in ("train", "test"):
        folder = tmp_path / "t" / split
        manifest = {name: value for name, value in read_json(folder / MANIFEST).items() if name != "listing"}
        write_json(folder / MANIFEST, manifest)
        write_json(folder / CHECKSUMS, {**read_json(folder / CHECKSUMS), "plan": sha256_json(manifest)})
    module = TokenDataModule(tmp_path / "t")
    module.setup("fit")
    assert len(module.train_tokens) == 8


def test_a_repaired_video_is_other_data(data: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    level(data)
    lists = lists_of(data)
    call(tokenize, tokenizer_folder, data, tmp_path / "t", annotations=lists)
    before = (tmp_path / "t/train/shard-000000.npy").read_bytes()
    repair(data)
    with pytest.raises(ValueError, match="holds tokens of other data"):
        call(tokenize, tokenizer_folder, data, tmp_path / "t", annotations=lists)
    assert (tmp_path / "t/train/shard-000000.npy").read_bytes() == before
    call(tokenize, tokenizer_folder, data, tmp_path / "u", annotations=lists)
    assert (tmp_path / "u/train/shard-000000.npy").read_bytes() != before


def test_statistics_of_a_repaired_video_are_refused(data: Path, tmp_path: Path) -> None:
    level(data)
    SmallI3DExtractor(SmallI3D(2, width=1), frames=9, size=32).save(tmp_path / "net")
    (tmp_path / "clips").mkdir()
    clips = np.random.default_rng(0).integers(0, 256, (4, 9, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "clips/a.npz", clips=clips)
    options: dict[str, Any] = {
        "features": tmp_path / "net",
        "frames": 9,
        "size": 32,
        "stride": 2,
        "real_count": 0,
        "fake_count": 4,
        "workers": 0,
        "annotations": lists_of(data),
    }
    out, reference = tmp_path / "r.json", tmp_path / "reference.npz"
    call(fvd_stats, data, reference, **options)
    report = call(evaluate, data, out, clips=tmp_path / "clips", reference=reference, **options)
    assert report["real"]["lists"].keys() == {"classInd.txt", "trainlist01.txt", "testlist01.txt"}
    assert report["real"]["annotations"] == str(lists_of(data))
    call(evaluate, data, out, clips=tmp_path / "clips", **options)
    repair(data)
    with pytest.raises(ValueError, match="made with another dataset"):
        call(evaluate, data, out, clips=tmp_path / "clips", reference=reference, **options)
    with pytest.raises(ValueError, match="features made with another dataset"):
        call(evaluate, data, out, clips=tmp_path / "clips", **options)


def test_what_gives_no_clip_is_said_and_a_class_without_any_refused(
    data: Path, tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short_video(data / "GreenDiscLeft/short.avi")
    (data / "GreenDiscLeft/notes.xyz").touch()
    call(tokenize, tokenizer_folder, data, tmp_path / "t")
    err = capsys.readouterr().err
    assert "left out: 1 videos too short or too slow, such as GreenDiscLeft/short (" in err
    assert "such as GreenDiscLeft/notes.xyz" in err
    ClipDataModule(data, **FORM).setup("fit")
    assert "such as GreenDiscLeft/short (" in capsys.readouterr().err
    for number in range(2):
        short_video(data / f"Jump/{number}.avi")
    for begin in (
        lambda: call(tokenize, tokenizer_folder, data, tmp_path / "u"),
        lambda: ClipDataModule(data, **FORM).setup("fit"),
        lambda: demo(tmp_path / "u", data),
    ):
        with pytest.raises(ValueError, match="1 of 3 classes are left without a clip: Jump"):
            begin()
    assert not (tmp_path / "u").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 4}, "frames"),
        ({"split_index": 7}, "split_index is 7"),
        ({"annotations": Path("/absent")}, "/absent/classInd.txt cannot be read"),
        ({"data": Path("/absent")}, "/absent is no folder"),
        ({"held_out_time": 1.5}, r"held_out_time is 1\.5"),
        ({"frames": 99}, "frames|no video is long enough"),
    ],
)
def test_a_refused_tokenize_claims_no_folder(
    data: Path, tokenizer_folder: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    given = {"data": data, "annotations": lists_of(data), **options}
    with pytest.raises(ValueError, match=message):
        call(tokenize, tokenizer_folder, out=tmp_path / "t", **given)
    assert not (tmp_path / "t").exists()


def test_a_demo_refused_for_its_videos_can_be_begun_with_others(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no videos"):
        demo(tmp_path / "demo", tmp_path / "empty")
    with pytest.raises(ValueError, match=r"absent/classInd\.txt cannot be read"):
        demo(tmp_path / "demo", data, annotations=tmp_path / "absent")
    with pytest.raises(ValueError, match="but there is no data"):
        demo(tmp_path / "demo", annotations=lists_of(data))
    assert not (tmp_path / "demo").exists()


def test_a_demo_of_repaired_videos_is_another(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr("parvideo.demo.run.make_toy_data", stop)
    level(data)
    for _ in range(2):
        with pytest.raises(Stopped):
            demo(tmp_path / "demo", data, annotations=lists_of(data))
    repair(data)
    with pytest.raises(ValueError, match="made with another videos"):
        demo(tmp_path / "demo", data, annotations=lists_of(data))
    assert "videos" in json.loads((tmp_path / "demo/state.json").read_text())["data"]["settings"]


def fit_arguments(kind: str, out: Path, *options: str) -> list[str]:
    """A training of a tokenizer on clips or of a generator on tokens."""
    common = ["--trainer.max_steps=2", "--trainer.accelerator=cpu", f"--out={out}", *options]
    if kind == "clips":
        return ["--config", str(config_folder() / "tokenizer/toy.yaml"), *common]
    return [
        *("--model", "parvideo.training.GeneratorModule"),
        *("--data", "parvideo.training.TokenDataModule"),
        *("--model.order.regions=[1,2,2]", "--model.dim=16", "--model.num_layers=1", "--model.num_heads=2"),
        *common,
    ]


def test_a_refused_training_claims_no_folder(data: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    call(tokenize, tokenizer_folder, data, tmp_path / "t")  # 3 x 4 x 4
    out = tmp_path / "run"
    for arguments, message in (
        (fit_arguments("clips", out, "--data.root=/absent"), "/absent is no folder"),
        (
            fit_arguments("clips", out, f"--data.root={data}", "--data.annotations=/absent"),
            "/absent/classInd",
        ),
        (fit_arguments("clips", out, f"--data.root={data}", "--data.frames=999"), "no video is long enough"),
        (fit_arguments("tokens", out, "--data.tokens=/absent"), "/absent"),
        (
            fit_arguments("tokens", out, f"--data.tokens={tmp_path / 't'}", "--model.order.regions=[1,3,2]"),
            "3",
        ),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            fit(arguments)
        assert not out.exists(), message
    fit(fit_arguments("tokens", out, f"--data.tokens={tmp_path / 't'}"))
    assert (out / "config.yaml").is_file()

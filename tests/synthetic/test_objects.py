"""The objects set: UCF-101's layout, fixed by its seed, and laws of motion that hold and can be fitted."""

from pathlib import Path

import numpy as np
import pytest
import torch

from parvideo.cli.toy_data import toy_data
from parvideo.datasets.clips import ClipDataset
from parvideo.datasets.probing import probe
from parvideo.datasets.videos import load_videos
from parvideo.synthetic.folder import SyntheticVideo
from parvideo.synthetic.motion import LAWS
from parvideo.synthetic.objects import (
    CLASSES,
    ObjectsSettings,
    objects_scene,
    read_objects_settings,
    render_objects_clip,
    write_objects_data,
)
from parvideo.synthetic.shapes import ShapesSettings, write_shapes_data

SETTINGS = ObjectsSettings(num_classes=3, groups=4, clips_per_group=2, frames=20)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "bench"
    write_objects_data(path, SETTINGS)
    return path


def test_it_is_ucf101s_layout(root: Path) -> None:
    train, test = load_videos(root, "train"), load_videos(root, "test")
    assert train.layout == "ucf101"
    assert train.class_names == ["BounceRedDisc", "FallYellowTriangle", "OrbitBlueSquare"]
    assert (len(train), len(test)) == (3 * 3 * 2, 3 * 1 * 2)
    assert not {r.group for r in train.records} & {r.group for r in test.records}
    info = probe(test.records[0].path)
    assert (info.codec, info.frames, info.fps, info.height, info.width) == ("mpeg4", 20, 16.0, 64, 64)
    assert ClipDataset(train, frames=17, size=64, fps=16)[0]["clip"].shape == (17, 64, 64, 3)
    assert read_objects_settings(root) == SETTINGS


def test_an_interrupted_folder_is_completed_and_a_foreign_one_refused(root: Path, tmp_path: Path) -> None:
    name = list(SETTINGS.videos())[4]
    there = (root / name).read_bytes()
    (root / name).unlink()
    write_objects_data(root, SETTINGS)
    assert (root / name).read_bytes() == there
    with pytest.raises(ValueError, match=r"another seed \(0, now 1\)"):
        write_objects_data(
            root, ObjectsSettings(num_classes=3, groups=4, clips_per_group=2, frames=20, seed=1)
        )
    demo = ShapesSettings(num_classes=1, groups=2, clips_per_group=1, frames=2)
    with pytest.raises(ValueError, match="preset .*bench.*, now null"):
        write_shapes_data(root, demo)
    write_shapes_data(tmp_path, demo)
    with pytest.raises(ValueError, match="not of an objects set"):
        read_objects_settings(tmp_path)


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_data(tmp_path / "b", "bench", num_classes=2, groups=2, clips_per_group=1, frames=3, height=32)
    assert capsys.readouterr().out == f"4 videos of 2 classes in {tmp_path / 'b'}\n"
    assert read_objects_settings(tmp_path / "b") == ObjectsSettings(2, 2, 1, size=32, frames=3)
    with pytest.raises(ValueError, match="square"):
        toy_data(tmp_path / "c", "bench", height=32, width=64)


def test_the_seed_fixes_a_clip_and_a_group_shares_its_scene() -> None:
    video = SyntheticVideo(4, 2, 3)
    clip = render_objects_clip(SETTINGS, video)
    assert torch.equal(clip, render_objects_clip(SETTINGS, video))
    mate, stranger = (objects_scene(SETTINGS, SyntheticVideo(4, *one)) for one in ((2, 4), (3, 3)))
    scene = objects_scene(SETTINGS, video)
    assert scene.radius == mate.radius != stranger.radius
    assert np.array_equal(scene.backdrop, mate.backdrop)
    assert not np.array_equal(scene.backdrop, stranger.backdrop)
    for one in (mate, stranger):
        assert not np.allclose(scene.actors[0].track, one.actors[0].track)


def test_classes_are_told_apart_by_more_than_colours() -> None:
    assert len({one.name for one in CLASSES}) == len(CLASSES) == 24
    assert {one.motion for one in CLASSES[:8]} == set(LAWS)
    colours = [frozenset(look.colour for look in one.looks) for one in CLASSES]
    assert all(len(set_) == len(one.looks) for set_, one in zip(colours, CLASSES, strict=True))
    assert sum(colours.count(one) > 1 for one in colours) >= 18


def test_the_background_moves_with_the_camera_alone() -> None:
    still = render_objects_clip(SETTINGS, SyntheticVideo(0, 1, 1)).double()
    corners = still[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.std(0).max() < 1e-9
    sway = render_objects_clip(SETTINGS, SyntheticVideo(7, 1, 1)).double()
    assert sway[:, [0, 0, -1, -1], [0, -1, 0, -1]].std(0).max() > 1


@pytest.mark.parametrize("bad", [{"num_classes": 25}, {"groups": 1}, {"size": 30}, {"size": 65}])
def test_bad_settings_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))} is {next(iter(bad.values()))}"):
        ObjectsSettings(**bad)

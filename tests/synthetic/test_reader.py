"""The objects set's reader: right about clean clips, and it names what is wrong with damaged ones."""

from pathlib import Path
from types import ModuleType

import pytest
import torch

from parvideo.files import read_json
from parvideo.pixels import to_float
from parvideo.synthetic.corruptions import damage_clip
from parvideo.synthetic.folder import SyntheticVideo
from parvideo.synthetic.objects import (
    CLASSES,
    ObjectsSettings,
    objects_scene,
    render_objects_clip,
    write_objects_data,
)
from parvideo.synthetic.reader import analyse_clip, analyse_clips, violation_rate
from tests.synthetic.cases import LEAST, SETTINGS

SHORT = ObjectsSettings(frames=17)
LABELS = {one.name: label for label, one in enumerate(CLASSES)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "bench"
    write_objects_data(path, SETTINGS)
    return path


@pytest.mark.parametrize("change", ["_same", "_mirror", "_blur"])
def test_clips_from_files_are_read_as_what_they_are(tool: ModuleType, root: Path, change: str) -> None:
    items = tool.file_clips(root, SETTINGS, 64, getattr(tool, change), 24, 0)
    row = tool.measure("files", SETTINGS, items)
    assert row.class_read == 1
    assert row.violations == 0
    assert row.motion_error < 0.5


@pytest.mark.slow
def test_the_tool_shows_the_figures_on_many_clips(
    tool: ModuleType, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool.main(root, clips=240, json=tmp_path / "rows.json")
    table = capsys.readouterr().out.splitlines()
    rows = read_json(tmp_path / "rows.json")["rows"]
    assert [line.split("  ")[0] for line in table[1:]] == [row["name"] for row in rows]
    for row in rows:
        if row["named"] is None:
            assert row["class_read"] >= 0.99
            assert row["violations"] < 0.01
        else:
            assert row["violations"] >= LEAST[row["name"]][0]
            assert row["named"] >= LEAST[row["name"]][1]


@pytest.mark.parametrize(
    "name", ["CollideBlueDiscRedDisc", "HideGreenSquare", "PanYellowCrossCyanRingPinkDisc"]
)
@pytest.mark.parametrize("size", [32, 64, 96])
def test_tracks_are_where_the_objects_are(name: str, size: int) -> None:
    settings, video = ObjectsSettings(frames=17, size=size), SyntheticVideo(LABELS[name], 3, 1)
    reading = analyse_clip(render_objects_clip(settings, video))
    assert reading.class_name == name
    for track, actor in zip(reading.tracks, objects_scene(settings, video).actors, strict=True):
        assert track.name == str(actor.look)
        truth = torch.from_numpy((actor.track + 0.5) * size - 0.5)
        assert (torch.from_numpy(track.expected) - truth).abs().max() < size / 64
        whole = torch.from_numpy(track.visible) > 0.98
        assert (torch.from_numpy(track.seen) - truth)[whole].abs().max() < 1.5 * size / 64
        assert track.visible.min() == 0 if "Hide" in name else track.visible.min() > 0.9


def test_float_clips_read_as_uint8_ones() -> None:
    clips = torch.stack([render_objects_clip(SHORT, SyntheticVideo(label, 1, 1)) for label in (0, 12)])
    for a, b in zip(analyse_clips(clips), analyse_clips(to_float(clips)), strict=True):
        assert (a.label, a.violations, a.motion_error) == (b.label, b.violations, b.motion_error)


def test_noise_is_read_without_an_error() -> None:
    readings = analyse_clips(torch.randint(0, 256, (3, 17, 64, 64, 3), dtype=torch.uint8))
    assert violation_rate(readings) == 1


def test_classes_can_be_limited() -> None:
    clip = render_objects_clip(SHORT, SyntheticVideo(8, 1, 1))
    assert analyse_clip(clip).class_name == "BounceRedCross"
    assert analyse_clip(clip, num_classes=8).class_name == "BounceRedDisc"


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="size, size"):
        analyse_clip(torch.zeros(17, 64, 48, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="T >= 5"):
        analyse_clip(torch.zeros(4, 64, 64, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="num_classes is 25"):
        analyse_clip(torch.zeros(17, 64, 64, 3, dtype=torch.uint8), num_classes=25)
    with pytest.raises(ValueError, match="clips must be"):
        analyse_clips(torch.zeros(17, 64, 64, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="readings is empty"):
        violation_rate([])
    with pytest.raises(ValueError, match="has no pillar"):
        damage_clip(SHORT, SyntheticVideo(0, 1, 1), "unhide")
    with pytest.raises(ValueError, match="damage is 'burn'"):
        damage_clip(SHORT, SyntheticVideo(0, 1, 1), "burn")

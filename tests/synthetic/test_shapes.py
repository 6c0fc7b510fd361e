"""The shapes set: UCF-101's layout, the same for the same seed, completed after an interruption."""

from pathlib import Path

import pytest
import torch

from parvideo.datasets.clips import ClipDataset
from parvideo.datasets.probing import probe
from parvideo.datasets.reading import read_frames
from parvideo.datasets.videos import load_videos
from parvideo.synthetic.shapes import (
    ShapesSettings,
    SyntheticVideo,
    render_shapes_clip,
    write_shapes_data,
)

SETTINGS = ShapesSettings(num_classes=3, groups=4, clips_per_group=2, frames=30)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "toy"
    write_shapes_data(path, SETTINGS)
    return path


def test_it_is_ucf101s_layout(root: Path) -> None:
    train, test = load_videos(root, "train"), load_videos(root, "test")
    assert train.layout == "ucf101"
    assert train.class_names == ["RedSquareRight", "GreenDiscLeft", "BlueTriangleUp"]
    assert (len(train), len(test)) == (3 * 3 * 2, 3 * 1 * 2)
    assert not {r.group for r in train.records} & {r.group for r in test.records}
    info = probe(test.records[0].path)
    assert (info.container, info.codec, info.frames, info.fps) == ("avi", "mpeg4", 30, 25.0)
    assert ClipDataset(train, frames=9, size=32, fps=8)[0]["clip"].shape == (9, 32, 32, 3)


def test_files_hold_the_drawn_clips(root: Path) -> None:
    name, video = list(SETTINGS.videos().items())[13]
    assert name == "GreenDiscLeft/v_GreenDiscLeft_g03_c02.avi"
    drawn = render_shapes_clip(SETTINGS, video)
    assert (read_frames(root / name, range(30)).float() - drawn.float()).abs().mean() < 6


def test_drawing_is_fixed_by_the_seed() -> None:
    video = SyntheticVideo(1, 2, 3)
    assert torch.equal(render_shapes_clip(SETTINGS, video), render_shapes_clip(SETTINGS, video))
    others = [
        (ShapesSettings(seed=1, frames=30), video),
        (SETTINGS, SyntheticVideo(1, 2, 4)),
        (SETTINGS, SyntheticVideo(1, 3, 3)),
    ]
    for settings, other in others:
        assert not torch.equal(render_shapes_clip(SETTINGS, video), render_shapes_clip(settings, other))


def test_copying_the_first_frame_predicts_badly() -> None:
    """Object and background both move: below 20 dB over the 9 frames that the demo looks at."""
    for label in range(8):
        clip = render_shapes_clip(ShapesSettings(), SyntheticVideo(label, 1, 1))[:27:3].double()
        error = ((clip[1:] - clip[:1]) ** 2).mean()
        assert 10 * torch.log10(255**2 / error) < 20
        corner = clip[:, :6, :6]  # never reached by the object in most frames: the background
        assert (corner[1:] - corner[:1]).abs().mean() > 2


def test_the_shapes_move_as_they_are_called() -> None:
    settings = ShapesSettings(height=64, width=64)
    colours = torch.tensor([[235, 40, 35], [40, 215, 60], [50, 90, 255], [250, 225, 40]]).double()
    steps = {0: (1, 0), 1: (-1, 0), 2: (0, -1), 3: (0, 1)}
    for label, (right, down) in steps.items():
        clip = render_shapes_clip(settings, SyntheticVideo(label, 2, 1)).double()
        mask = ((clip - colours[label]).abs().sum(-1) < 40).double()
        for axis, sign in ((2, right), (1, down)):
            phase = torch.angle(
                (mask.sum(3 - axis) * torch.exp(2j * torch.pi * torch.arange(64) / 64)).sum(-1)
            )  # position on the circle that the wrapped axis is
            moved = torch.angle(torch.exp(1j * phase.diff())) * 64 / (2 * torch.pi)
            if sign:
                assert (moved * sign > 0.5).all()
            else:
                assert moved.abs().max() < 0.5


def test_all_512_classes_differ() -> None:
    assert len(set(ShapesSettings(num_classes=512).class_names)) == 512

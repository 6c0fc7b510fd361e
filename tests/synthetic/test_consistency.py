"""Consistency: a violation tells what, when and which object."""

import torch

from parvideo.synthetic.corruptions import damage_clip
from parvideo.synthetic.folder import SyntheticVideo
from parvideo.synthetic.objects import (
    CLASSES,
    ObjectsSettings,
    objects_scene,
    render_objects_clip,
)
from parvideo.synthetic.reader import analyse_clip

SETTINGS = ObjectsSettings(groups=2, clips_per_group=1)


SHORT = ObjectsSettings(frames=17)


LABELS = {one.name: label for label, one in enumerate(CLASSES)}


def test_a_violation_tells_when_and_which_object() -> None:
    video = SyntheticVideo(LABELS["OrbitBlueDiscRedDisc"], 5, 1)
    (violation,) = analyse_clip(damage_clip(SHORT, video, "remove", seed=1)).violations
    scene = objects_scene(SHORT, video)
    assert violation.kind == "vanish"
    assert violation.frame == 8
    assert violation.object is not None
    assert str(scene.actors[violation.object].look) in violation.detail
    clip = damage_clip(SHORT, video, "remove", seed=1)[10]
    track = analyse_clip(render_objects_clip(SHORT, video)).tracks[violation.object]
    x, y = track.expected[10].round().astype(int)
    assert clip[y, x].double().std() < 15  # grey: the background is all that is there


def test_one_bad_frame_is_let_pass_and_two_are_not() -> None:
    clip = render_objects_clip(SHORT, SyntheticVideo(0, 1, 1))
    for last, kinds in ((8, set()), (9, {"vanish"})):
        holed = clip.clone()
        holed[8 : last + 1] = 80
        found = {violation.kind for violation in analyse_clip(holed).violations}
        assert found - {"backdrop"} == kinds


def test_a_clip_without_objects_is_nothing() -> None:
    reading = analyse_clip(torch.full((17, 64, 64, 3), 90, dtype=torch.uint8))
    assert reading.label is None
    assert reading.class_name == "nothing"
    assert [violation.kind for violation in reading.violations] == ["vanish"]

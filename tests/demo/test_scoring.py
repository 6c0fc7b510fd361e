"""The demo's figures: the exact reader's of its own world, and which clips it reads."""

import dataclasses
from pathlib import Path

import torch

from parvideo.demo.scoring import in_turn, options, read_exactly
from parvideo.demo.steps import ORDERS, PRESETS, Demo
from parvideo.synthetic.folder import SyntheticVideo
from parvideo.synthetic.objects import ObjectsSettings, render_objects_clip


def test_clips_are_read_a_class_in_turn() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 1])
    assert labels[in_turn(labels)].tolist() == [0, 1, 2, 0, 1, 0, 1]
    assert sorted(in_turn(labels).tolist()) == list(range(7))


def test_the_exact_reader_finds_the_demos_own_clips_whole_and_broken_ones_broken(tmp_path: Path) -> None:
    preset = dataclasses.replace(PRESETS["smoke"], read_clips=4)
    demo = Demo(tmp_path, None, None, preset, 0)
    settings = ObjectsSettings(**preset.toy)
    labels = torch.arange(4)
    videos = [SyntheticVideo(label=int(label), group=1, clip=1) for label in labels]
    clips = torch.stack([render_objects_clip(settings, video)[: demo.form["frames"]] for video in videos])
    assert read_exactly(demo, clips, labels) == {"read_accuracy": 1.0, "whole": 1.0, "clips_read": 4.0}
    ground = clips[0, 0, 0, 0]
    clips[0, 3:6] = ground  # the object vanishes
    clips[1] = clips[2]  # another class
    found = read_exactly(demo, clips, labels)
    assert (found["whole"], found["read_accuracy"]) == (0.75, 0.75)
    own = Demo(tmp_path, tmp_path, None, preset, 0)
    assert read_exactly(own, clips, labels) == {}  # it knows no other videos


def test_every_order_is_generated_alike_but_for_the_order(tmp_path: Path) -> None:
    demo = Demo(tmp_path, None, None, PRESETS["small"], 5)
    made = [options(demo, shown) for shown in ORDERS]
    assert [one.order for one in made] == list(ORDERS.values())
    assert len({dataclasses.replace(one, order=None) for one in made}) == 1
